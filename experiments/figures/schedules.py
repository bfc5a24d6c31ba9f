"""Criteria and composites beside the winning ticket, by schedule: accuracy, overlap of masks, densities of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from itertools import chain

import numpy as np
import xarray
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lth_keras.analysis import (
    BRANCH_ORDER,
    DENSE,
    OTHER,
    OVERLAP,
    PAIRS,
    SCHEDULES,
    at_early_stop,
    chance_overlap,
    schedules_of,
    shown_factor,
)
from lth_keras.plots import (
    DASH_DOT,
    BranchStyle,
    Draw,
    add_legend,
    as_text,
    axis_label,
    branch_style,
    branch_styles,
    draw_over_density,
    line_width,
    mark_unfinished,
    new_figure,
    set_density_axis,
)

BASELINE = "winning_ticket"
_LINEAR = 1.0  # points: below, the axis of differences is linear; above, logarithmic
_TICKS = (-80, -40, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20)


def figures(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw | None]:
    """`relative_accuracy`, `accuracy_below_dense`, `layers` and, with a baseline that is a branch, `overlaps`.

    Raises:
        ValueError: There is no such baseline.
    """
    if not schedules_of(dataset):
        return {}
    against = baseline_of(dataset, baseline)
    found: dict[str, Draw | None] = {"relative_accuracy": partial(relative_accuracy_figure, dataset, against)}
    if against != DENSE:
        found["accuracy_below_dense"] = partial(relative_accuracy_figure, dataset, DENSE)
    found["layers"] = partial(layers_figure, dataset)
    if (OVERLAP if against == BASELINE else PAIRS) in dataset and against != DENSE:
        found["overlaps"] = partial(overlaps_figure, dataset, against)
    return mark_unfinished(dataset, found)


def baseline_of(dataset: xarray.Dataset, asked: str | None = None) -> str:
    """The baseline: the one asked for, else the winning ticket if the run has it, else `dense`.

    Raises:
        ValueError: `asked` is neither a branch of the run nor `dense`.
    """
    branches = [str(branch) for branch in dataset.branch.values]
    if asked is not None and asked not in (*branches, DENSE):
        raise ValueError(f"Expected: a baseline among {', '.join((*branches, DENSE))}. Received: {asked!r}")
    return asked or (BASELINE if BASELINE in branches else DENSE)


def relative_accuracy_figure(dataset: xarray.Dataset, baseline: str | None = None) -> Figure:
    """Test accuracy at early stop minus a baseline's in the same trial and level, in points.

    A panel for each schedule, with the winning ticket in each. Mean over trials, against density. The y axis is linear
    up to one point and logarithmic beyond.

    Args:
        dataset: A run with schedules along `branch`, as `lth_keras.storage.open_run` gives it.
        baseline: A branch, or `dense` for the dense network of the same trial; default as in `baseline_of`.

    Raises:
        ValueError: The run has no such branches, or no such baseline.
    """
    against = baseline_of(dataset, baseline)
    variable = dataset[at_early_stop(dataset)]
    factor = shown_factor(variable)
    accuracy = factor * variable
    reference = _dense(accuracy) if against == DENSE else accuracy.sel(branch=against, drop=True)
    dataset = dataset.assign(difference=accuracy - reference)
    figure, panels = _panels(dataset, against)
    for axes, branches in panels:
        axes.axhline(0, color="#666666", linestyle=DASH_DOT, linewidth=line_width(0.6))
        _draw(axes, dataset, "difference", branches)
        axes.set_yscale("symlog", linthresh=_LINEAR)
        axes.set_yticks(_TICKS)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    finite = dataset.difference.mean("trial").values
    finite = finite[np.isfinite(finite)]
    if finite.size:
        panels[0][0].set_ylim(1.3 * min(finite.min(), -1), 1.3 * max(finite.max(), 1))
    panels[0][0].set_ylabel(f"{axis_label(variable)},\n{'points ' if factor == 100 else ''}above the {_named(against)}")
    return figure


def overlaps_figure(dataset: xarray.Dataset, baseline: str = BASELINE) -> Figure:
    """Jaccard index of each branch's mask with a baseline's, and of random masks; a panel for each schedule.

    Args:
        dataset: As in `relative_accuracy_figure`, with overlaps.
        baseline: A branch. Any but the winning ticket needs overlaps of pairs.

    Raises:
        ValueError: The run has no overlaps.
    """
    if baseline != BASELINE:
        if PAIRS not in dataset or baseline not in dataset[OTHER].values:
            raise ValueError(f"Expected: a run with overlaps of pairs, {baseline} among them. Received: none")
        dataset = dataset.assign({OVERLAP: dataset[PAIRS].sel({OTHER: baseline}, drop=True)})
    figure, panels = _panels(dataset, baseline)
    for axes, branches in panels:
        density = np.geomspace(max(float(dataset.density.min()), 1e-5), 1, 100)
        axes.plot(
            density,
            [chance_overlap(float(d)) for d in density],
            color="#666666",
            linestyle=":",
            linewidth=line_width(0.7),
        )
        _draw(axes, dataset, OVERLAP, branches)
        axes.set_yscale("log")
    panels[0][0].set_ylabel(f"Jaccard index with the mask of\nthe {_named(baseline)} (dotted: by chance)")
    return figure


def layers_figure(dataset: xarray.Dataset) -> Figure:
    """Density of each layer (columns) against the network's, for each schedule (rows).

    Crosses at the bottom are layers without any weight.

    Args:
        dataset: As in `relative_accuracy_figure`.

    Raises:
        ValueError: The run has no such branches.
    """
    found = _checked(dataset)
    styles = _styles_in_panels(dataset)
    weights = [str(weight) for weight in dataset.weight.values]
    density = dataset.weight_density
    floor = 100 * float(density.where(density > 0).min()) / 2
    figure = new_figure(wide=True, height=0.4 + 0.6 * len(found))
    rows = figure.subplots(len(found), len(weights), sharex=True, sharey=True, squeeze=False)
    for (schedule, branches), row in zip(found.items(), rows, strict=True):
        for axes, weight in zip(row, weights, strict=True):
            own = density.sel(weight=weight)
            shown = dataset.assign(shown=own.where(own > 0))
            _draw(axes, shown, "shown", [BASELINE, *branches], factor=100)
            for branch in branches:
                x = dataset.density.where(own == 0).sel(branch=branch).values.ravel()
                x = x[np.isfinite(x)]
                look = {"color": styles[branch].colour, "marker": "x", "linestyle": "none"}
                axes.plot(x, np.full(x.shape, floor), **look)
            axes.set_yscale("log")
        row[0].set_ylabel(SCHEDULES[schedule])
        row[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes, weight in zip(rows[0], weights, strict=True):
        axes.set_title(as_text(weight))
    for axes in rows[:-1].flat:
        axes.set_xlabel("")
    figure.supylabel("percent of the layer's weights remaining (crosses: none)", size=rcParams["axes.labelsize"])
    _add_legend(figure, dataset, chain([BASELINE], *found.values()))
    return figure


def _dense(accuracy: xarray.DataArray) -> xarray.DataArray:
    """Accuracy of the first branch's dense network, which branches that differ only in masks share."""
    return accuracy.sel(level=0).isel(branch=0, drop=True)


def _checked(dataset: xarray.Dataset) -> dict[str, list[str]]:
    found = schedules_of(dataset)
    if not found:
        raise ValueError(
            f"Expected: a run that says the schedule of its branches. Received: {list(dataset.branch.values)} without"
        )
    return found


def _named(baseline: str) -> str:
    if baseline == DENSE:
        return "dense network"
    return branch_style(baseline).label if baseline == BASELINE else f"branch {branch_style(baseline).label}"


def _panels(dataset: xarray.Dataset, baseline: str) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """A panel for each schedule of the run, its branches without the baseline, and one legend above."""
    everywhere = [name for name in (BASELINE,) if name in dataset.branch.values]
    found = {
        schedule: [branch for branch in (*everywhere, *branches) if branch != baseline]
        for schedule, branches in _checked(dataset).items()
    }
    figure = new_figure(wide=len(found) > 1, height=1.5)
    drawn = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, schedule in zip(drawn, found, strict=True):
        axes.set_title(SCHEDULES[schedule])
    _add_legend(figure, dataset, chain.from_iterable(found.values()))
    return figure, list(zip(drawn, found.values(), strict=True))


def _add_legend(figure: Figure, dataset: xarray.Dataset, branches: Iterable[str]) -> None:
    styles = _styles_in_panels(dataset)
    add_legend(figure, dict.fromkeys(styles[branch] for branch in branches if branch in styles), None)


def _styles_in_panels(dataset: xarray.Dataset) -> dict[str, BranchStyle]:
    """Styles of branches: `snip_uss` and `snip_ims` share one, since panels state the schedule."""
    names = {str(branch): _name(dataset.sel(branch=branch)) for branch in dataset.branch.values}
    styles = branch_styles(names.values())
    return {branch: styles[name] for branch, name in names.items()}


def _name(branch: xarray.Dataset) -> str:
    """A branch without its schedule: `weights_snip_synflow` for masks by `synflow` of weights by `snip`."""
    if str(branch.branch.values) in BRANCH_ORDER:
        return str(branch.branch.values)
    of_weights = str(branch.initialise.values).replace("scores_as_weights", "weights")
    criterion = str(branch.branch_criterion.values).replace(".npz", "")
    name = re.sub(r"[(),_]+", "_", f"{of_weights}_{criterion}").strip("_")
    return f"{name}_drawn" if branch.masks_of_drawn > 0 else name


def _draw(axes: Axes, dataset: xarray.Dataset, variable: str, branches: list[str], factor: float = 1) -> None:
    styles = _styles_in_panels(dataset)
    for branch in branches:
        if branch in styles:
            draw_over_density(axes, dataset, variable, branch, styles[branch], factor)
    set_density_axis(axes, dataset)
