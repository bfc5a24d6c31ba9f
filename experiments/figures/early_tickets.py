"""Figure of early tickets: accuracy and overlap of masks against the epoch whose weights give the masks."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.figures import published_points
from lth_keras.analysis import OVERLAP, at_early_stop, chance_overlap, shown_factor, spread
from lth_keras.plots import (
    COORDINATE,
    DASHED,
    BranchStyle,
    Draw,
    branch_style,
    draw_mean,
    early_branches,
    epochs_of,
    line_width,
    mark_unfinished,
    new_figure,
    percent,
    shown_label,
)

DENSITIES = (0.1, 0.036)
"""About a tenth of the weights, and the last of the experiment's 15 levels."""
LOOKS = (BranchStyle("#08357a", "solid", "o", ""), BranchStyle("#d1541b", DASHED, "s", ""))
_NEAR = 1.2  # largest ratio of a level's density to the wanted density


def figures(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw | None]:
    """`early_tickets` and figures with published points; `early_tickets_accuracy` replaces `accuracy`."""
    found = published_points.figures(dataset)
    if not early_branches(dataset):
        return found
    own: dict[str, Draw | None] = {"early_tickets": partial(early_tickets_figure, dataset)}
    if "accuracy" in found:
        found["early_tickets_accuracy"], found["accuracy"] = found["accuracy"], None
    return {**found, **mark_unfinished(dataset, own)}


def early_tickets_figure(dataset: xarray.Dataset) -> Figure:
    """Test accuracy (percent) at early stop and overlap of masks against the epoch: mean over trials, min-max bands.

    One panel of accuracy for each of `DENSITIES`, at the nearest level, with horizontal lines for the winning ticket
    (masks of the trained weights) and the dense network. If the run has overlaps, another panel shows the overlap with
    the winning ticket's mask and the overlap by chance. A panel without a near level says so.

    Args:
        dataset: A run with the coordinate `score_at`, as `lth_keras.storage.open_run` gives it.

    Raises:
        ValueError: No branch has the step of its masks.
    """
    branches = early_branches(dataset)
    if not branches:
        raise ValueError(f"Expected: a run whose branches have a number `{COORDINATE}`. Received: none")
    early = dataset.sel(branch=branches)
    variable = at_early_stop(dataset)
    factor = shown_factor(dataset[variable])
    epochs = np.array(list(epochs_of(dataset).values()))
    levels = [_nearest_level(early, density) for density in DENSITIES]
    reached = [level for level in levels if level is not None]
    overlaps = OVERLAP in dataset and np.isfinite(early[OVERLAP].sel(level=reached).values).any()
    figure = new_figure(wide=True)
    panels = figure.subplots(1, len(DENSITIES) + overlaps, squeeze=False)[0]
    for axes, wanted, level, look in zip(panels, DENSITIES, levels, LOOKS, strict=False):
        axes.sharey(panels[0])
        if level is None:
            _say_none(axes, wanted)
            continue
        values = spread(factor * early[variable].sel(level=level))
        draw_mean(axes, epochs, values, look._replace(label="masks of epoch n"))
        _line(axes, dataset, level, "winning_ticket", branch_style("winning_ticket")._replace(label="masks of the end"))
        _line(axes, dataset, 0, branches[0], branch_style("dense"))
        axes.set_title(f"{percent(_density(early, level))}% of weights remaining")
        axes.legend(loc="best")
    panels[0].set_ylabel(shown_label(dataset[variable]))
    if overlaps:
        _draw_overlaps(panels[-1], epochs, early, levels)
    unit = "epoch" if "steps_per_epoch" in dataset.attrs else "step"
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel(f"{unit} n of the masks")
    return figure


def _draw_overlaps(axes: Axes, epochs: np.ndarray, early: xarray.Dataset, levels: list[int | None]) -> None:
    for level, look in zip(levels, LOOKS, strict=True):
        if level is None:
            continue
        density = _density(early, level)
        name = f"{percent(density)}%"
        draw_mean(axes, epochs, spread(early[OVERLAP].sel(level=level)), look._replace(label=f"at {name}"))
        width, label = line_width(0.7), f"by chance at {name}"
        axes.axhline(chance_overlap(density), color=look.colour, linestyle=":", linewidth=width, label=label)
    axes.set_ylim(0, min(1.8 * max(axes.get_ylim()[1], 0.1), 1.05))  # room for the legend above the curves
    axes.set_title("overlap of masks")
    axes.set_ylabel("Jaccard index with the mask of the end")
    axes.legend(loc="upper right")


def _line(axes: Axes, dataset: xarray.Dataset, level: int, branch: str, look: BranchStyle) -> None:
    if branch not in dataset.branch.values or level not in dataset.level.values:
        return
    variable = dataset[at_early_stop(dataset)]
    values = spread(shown_factor(variable) * variable.sel(branch=branch, level=level))
    if values.trials:
        width = line_width(0.6)
        line = DASHED if look.line == "solid" else look.line
        axes.axhline(float(values.mean), color=look.colour, linestyle=line, linewidth=width, label=look.label)


def _say_none(axes: Axes, density: float) -> None:
    axes.set_title(f"{percent(density)}% of weights remaining")
    axes.text(0.5, 0.5, "no level there yet", transform=axes.transAxes, ha="center", va="center")


def _nearest_level(early: xarray.Dataset, wanted: float) -> int | None:
    """The level with the nearest density; None if none is near."""
    density = early.density.values
    away = np.abs(np.log(np.where(np.isfinite(density) & (density > 0), density, np.inf) / wanted)).min((0, 1))
    nearest = int(np.argmin(away))
    return int(early.level.values[nearest]) if away[nearest] < np.log(_NEAR) else None


def _density(early: xarray.Dataset, level: int) -> float:
    means = spread(early.density.sel(level=level)).mean
    return float(means[np.isfinite(means)].mean())
