"""The table printed after a run: means and ranges over trials by branch and level."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray
from rich import box

from lth_keras.analysis import DENSE, Spread, at_early_stop, at_the_end, explained, metric_of, shown_factor, spread
from lth_keras.system import Table, plain

_LONG = 15  # longest label of a metric that fits into a line of a column's head


class _Column(NamedTuple):
    title: str
    variable: str
    shown: Callable[[float], str]


def summary_table(dataset: xarray.Dataset) -> Table:
    """Density, early-stop step and test accuracy (or the run's metric) by branch and level; 80 characters wide.

    Each cell is the mean over trials, followed by min-max if trials differ. The dense level, which all branches but
    variants share, appears once. A level that only 2 of 3 trials have finished is marked (2/3).

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
    trials = dataset.sizes["trial"]
    comment = dataset.early_stop_step.attrs.get("comment")  # without a validation split
    counted = "1 trial" if trials == 1 else f"mean and min-max over {trials} trials"
    table = Table(
        title=f"{dataset.attrs['experiment']}, {counted}",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_style="bold",
        caption="\n".join(filter(None, [comment and f"early stop: {comment}", explained(dataset)])) or None,
    )
    table.add_column("level", overflow="fold")
    table.add_column("density\n%", justify="right", no_wrap=True)
    columns = _columns(dataset)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    own = json.loads(dataset.attrs["own_dense"])
    levels = dataset.level.values.tolist()
    for branch in [branch for branch in dataset.branch.values if branch not in own][:1]:
        _add_section(table, dataset, columns, branch, [level for level in levels if level == 0], DENSE)
    for branch in dataset.branch.values:
        shown = levels if branch in own else [level for level in levels if level > 0]
        _add_section(table, dataset, columns, branch, shown, str(branch))
    return table


def _columns(dataset: xarray.Dataset) -> list[_Column]:
    """Columns beside level and density: shares in percent, others unchanged."""
    label, early, final = metric_of(dataset).label, at_early_stop(dataset), at_the_end(dataset)
    factor = shown_factor(dataset[early])
    unit = ", %" if factor == 100 else ""

    def shown(value: float) -> str:
        return f"{factor * value:.2f}" if factor == 100 else f"{value:.4g}"

    head = f"test {label} at" if len(label) < _LONG else f"test\n{label} at"
    return [
        _Column("early-stop\nstep", "early_stop_step", lambda value: f"{value:.0f}"),
        _Column(f"{head}\nearly stop{unit}", early, shown),
        _Column(f"{head}\nthe end{unit}", final, shown),
    ]


def _add_section(
    table: Table, dataset: xarray.Dataset, columns: Sequence[_Column], branch: str, levels: Sequence[int], title: str
) -> None:
    rows = [_row(dataset.sel(branch=branch, level=level), columns, level) for level in levels]
    rows = [row for row in rows if row]
    if rows:
        table.add_section()
        table.add_row(plain(title, style="bold"))
        for row in rows:
            table.add_row(*row)


def _row(cell: xarray.Dataset, columns: Sequence[_Column], level: int) -> list[str]:
    """Cells of one level, empty if no trial has finished it."""
    density = spread(cell.density)
    if density.trials == 0:
        return []
    missing = density.trials < cell.sizes["trial"]
    label = f"{level:>5}" + (f" ({density.trials}/{cell.sizes['trial']})" if missing else "")
    cells = [_cell(spread(cell[column.variable]), column.shown) for column in columns]
    return [label, percent(float(density.mean)), *cells]


def percent(density: float) -> str:
    """A density in percent, with two digits where it is small."""
    return f"{100 * density:.1f}" if density >= 0.0095 else f"{100 * density:.2g}"


def _cell(values: Spread, shown: Callable[[float], str]) -> str:
    if not np.isfinite(values.mean):
        return "-"
    mean, low, high = (shown(float(v)) for v in (values.mean, values.low, values.high))
    return mean if values.trials == 1 else f"{mean} {low}-{high}"
