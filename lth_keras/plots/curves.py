"""Training curves of chosen levels: test accuracy and validation loss against the step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.analysis import on_split, shown_factor, spread, validated
from lth_keras.plots.density_axis import has_band, percent
from lth_keras.plots.early import add_run_legend, early_branches, run_styles
from lth_keras.plots.labels import THOUSANDS, shown_measure
from lth_keras.plots.lines import draw_mean
from lth_keras.plots.style import BranchStyle, branch_style, line_width, marker_size, new_figure

CHOSEN = (1.0, 0.51, 0.21, 0.036)  # densities in the paper's figures 3 and 5
_START = 0.1  # share of the first steps that the limits of the y axis ignore


def chosen_levels(dataset: xarray.Dataset) -> list[int]:
    """The run's levels near the densities 100, 51, 21 and 3.6 percent, within a factor of 1.15.

    If only the first exists, the run's last level is added.
    """
    means = np.stack([spread(dataset.density.sel(branch=b)).mean for b in dataset.branch.values])
    density = np.nanmax(np.where(np.isfinite(means), means, -np.inf), axis=0)
    levels = dataset.level.values
    distances = np.abs([np.log(np.where(density > 0, density, np.inf) / target) for target in CHOSEN])
    chosen = [int(levels[np.argmin(distance)]) for distance in distances if distance.min() < np.log(1.15)]
    if len(set(chosen)) < 2:
        chosen += levels[density > 0][-1:].tolist()
    return list(dict.fromkeys(chosen))


def curves_figure(dataset: xarray.Dataset, levels: Sequence[int] | None = None) -> Figure:
    """Test accuracy and validation loss, one column per level: mean over trials, min-max bands.

    Runs without a validation split show the training loss. Every column shows the dense network's curve in grey. A
    larger marker shows a branch's mean early-stop step. The limits of the y axes ignore the first steps.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        levels: By default `chosen_levels(dataset)`.

    Raises:
        ValueError: The run lacks a level.
    """
    levels = chosen_levels(dataset) if levels is None else list(levels)
    unknown = sorted(set(levels) - set(dataset.level.values.tolist()))
    if unknown or not levels:
        raise ValueError(f"Expected: levels among {dataset.level.values.tolist()}. Received: {unknown or levels}")
    tested = on_split(dataset, "test")
    percents = dataset.assign({tested: shown_factor(dataset[tested]) * dataset[tested]})
    early = bool(early_branches(dataset))
    figure = new_figure(wide=len(levels) > 1, height=1.5 if early else 1.3)
    rows = {
        tested: f"test {shown_measure(dataset[tested])}",
        **({"validation_loss": "validation loss"} if validated(dataset) else {"train_loss": "training loss"}),
    }
    panels = figure.subplots(len(rows), len(levels), sharex=True, sharey="row", squeeze=False)
    for row, (variable, label) in zip(panels, rows.items(), strict=True):
        for axes, level in zip(row, levels, strict=True):
            _draw(axes, percents, variable, level)
        row[0].set_ylabel(label)
        _leave_out_start(row[0], percents, variable, levels)
    for axes, level in zip(panels[0], levels, strict=True):
        density = float(np.nanmean(dataset.density.sel(level=level).values))
        axes.set_title("dense" if level == 0 else f"level {level}: {percent(density)}%")
    for axes in panels[-1]:
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.locator_params(axis="x", nbins=4)
    add_run_legend(figure, dataset)
    return figure


def _draw(axes: Axes, dataset: xarray.Dataset, variable: str, level: int) -> None:
    first = dataset.branch.values[0]
    dense = branch_style("dense")
    if 0 in dataset.level.values:
        _curve(axes, dataset.sel(branch=first, level=0), variable, dense, mark=level == 0)
    if level > 0:
        for branch, style in reversed(run_styles(dataset).items()):
            band = has_band(dataset, branch)
            _curve(axes, dataset.sel(branch=branch, level=level), variable, style, mark=True, band=band)


def _curve(
    axes: Axes, cell: xarray.Dataset, variable: str, style: BranchStyle, *, mark: bool, band: bool = True
) -> None:
    values = spread(cell[variable])
    if not np.isfinite(values.mean).any():
        return
    width = line_width(0.8)
    drawn = draw_mean(axes, cell.step.values, values, style, 0.15 if band else 0, marker="", linewidth=width)
    stop = float(spread(cell.early_stop_step).mean)
    if mark and np.isfinite(stop):
        look = style.curve(linestyle="none", markersize=marker_size(1.5))
        axes.plot([stop], [float(np.interp(stop, *drawn))], **look, zorder=4)


def _leave_out_start(axes: Axes, dataset: xarray.Dataset, variable: str, levels: Sequence[int]) -> None:
    """Sets the limits from the values after the first steps, for all panels of a row."""
    steps = dataset.step.values
    values = dataset[variable].sel(level=list(levels)).values[..., steps >= _START * steps[-1]]
    values = values[np.isfinite(values)]
    if values.size and steps[-1] > 0:
        low, high = float(values.min()), float(values.max())
        room = 0.05 * max(high - low, 1e-6)
        axes.set_ylim(low - room, high + room)
