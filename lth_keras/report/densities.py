"""Accuracy at chosen densities: a row per branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray
from rich import box
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement

from lth_keras.analysis import at_the_end, shown_factor, spread
from lth_keras.system import Table

NEAR = 0.1  # largest relative difference between a level's density and the requested one


@dataclass(frozen=True)
class DensitiesTable:
    """Cells by branch and density; printed as several tables if they are too wide for the console.

    Attributes:
        title: Of the whole table.
        branches: Names of the rows.
        columns: For each density its name and a cell per branch.
    """

    title: str
    branches: Sequence[str]
    columns: Sequence[tuple[str, Sequence[str]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The tables. Numbers are never truncated."""
        unlimited, start = options.update(width=10_000), 0
        while start < len(self.columns):
            for stop in range(len(self.columns), start, -1):
                table = self._table(start, stop)
                if Measurement.get(console, unlimited, table).maximum <= options.max_width:
                    break
            yield table
            start = stop

    def _table(self, start: int, stop: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, title_style="bold", title_justify="left", padding=(0, 1, 0, 0))
        table.title = None if start else self.title
        table.add_column("branch", no_wrap=True)
        for head, _ in self.columns[start:stop]:
            table.add_column(head, justify="right", no_wrap=True)
        for row in zip(self.branches, *(cells for _, cells in self.columns[start:stop]), strict=True):
            table.add_row(*row)
        return table


def densities_table(dataset: xarray.Dataset, densities: Sequence[float], variable: str | None = None) -> DensitiesTable:
    """A variable (shares in percent) at chosen densities: each branch's nearest level, mean over trials.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        densities: in (0, 1]. The cell of a branch without a level within 10% is empty.
        variable: (trial, branch, level); by default the metric after the last step.

    Raises:
        ValueError: There are no densities, or some are not in (0, 1].
    """
    if not densities or not all(0 < density <= 1 for density in densities):
        raise ValueError(f"Expected: densities in (0, 1]. Received: {list(densities)}")
    variable = at_the_end(dataset) if variable is None else variable
    factor = shown_factor(dataset[variable])
    trials = dataset.sizes["trial"]
    over = "1 trial" if trials == 1 else f"mean over {trials} trials, ± the farthest of them"
    title = f"{dataset[variable].attrs['long_name']}{', %' if factor == 100 else ''}, by density; {over}"
    branches = [str(branch) for branch in dataset.branch.values]
    runs = [dataset.sel(branch=branch) for branch in branches]
    columns = [(f"{100 * one:.3g}%", [_cell(run, one, variable, factor) for run in runs]) for one in densities]
    return DensitiesTable(title, branches, columns)


def _cell(dataset: xarray.Dataset, wanted: float, variable: str, factor: float) -> str:
    means = spread(dataset.density).mean
    far = np.abs(means / wanted - 1)
    if not (far <= NEAR).any():
        return "-"
    values = spread(factor * dataset[variable].isel(level=int(np.nanargmin(far))))
    if not values.trials:
        return "-"
    some = f" ({values.trials}/{dataset.sizes['trial']})" if values.trials < dataset.sizes["trial"] else ""
    far = max(values.high - values.mean, values.mean - values.low)
    return f"{values.mean:.2f}{some}" + (f"\n±{far:.2f}" if values.trials > 1 else "")
