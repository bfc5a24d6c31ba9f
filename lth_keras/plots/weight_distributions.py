"""Distributions of the kept weights before and after training, by branch."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.analysis import explained
from lth_keras.plots.binned import half_width, shares_in_bins
from lth_keras.plots.legend import add_legend
from lth_keras.plots.rows import density_title, label_of, rows_of, spread_levels
from lth_keras.plots.style import BranchStyle, line_width, new_figure, points_of

NAMES = ("initial", "final")
PANELS = 4
BINS = 80
_INITIAL, _FINAL = "#b9b9b9", "#08357a"
_SHOWN = 0.98  # share of every histogram that its panel shows
_ROOM = 1.15  # height of a row relative to a peak


def distributed_levels(dataset: xarray.Dataset) -> list[int]:
    """Levels with distributions of the kept weights."""
    if not {f"{name}_weight_share" for name in NAMES} <= set(dataset.data_vars):
        return []
    known = np.isfinite(dataset.final_weight_share.transpose("level", ...).values).any((1, 2, 3, 4))
    return [int(level) for level, is_known in zip(dataset.level.values, known, strict=True) if is_known]


def weight_distributions_figure(dataset: xarray.Dataset) -> Figure:
    """Histograms of kept weights over all layers and trials, at up to four densities; one row per branch.

    Filled before training, a line after it; each is scaled to its peak. Rows of networks without any weight are empty.

    Args:
        dataset: A run with distributions, as `lth_keras.storage.open_run` gives it.

    Raises:
        ValueError: It has no distributions.
    """
    levels = spread_levels(dataset, distributed_levels(dataset), PANELS)
    if not levels:
        raise ValueError("Expected: a run with distributions of weights. Received: none")
    branches = [branch for group in rows_of(dataset) for branch in group]
    figure = new_figure(wide=True)
    row = max(2.2 * points_of("ytick.labelsize"), 16) / 72
    figure.set_figheight(_ROOM * len(branches) * row + 0.9)
    panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axes, level in zip(panels, levels, strict=True):
        cells = [dataset.sel(branch=branch, level=level) for branch in branches]
        limit = max(half_width(*_distribution(cell, name), _SHOWN) for cell in cells for name in NAMES) or 1.0
        for place, cell in enumerate(cells):
            _draw_row(axes, cell, np.linspace(-limit, limit, BINS + 1), -_ROOM * place)
        axes.set_title("dense" if level == 0 else density_title(dataset, level).replace(" of weights", ""))
        axes.set_xlim(-limit, limit)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    labels = [label_of(branch) for branch in branches]
    panels[0].set_yticks([0.3 - _ROOM * place for place in range(len(branches))], labels)
    panels[0].set_ylim(-_ROOM * (len(branches) - 1) - 0.1, _ROOM)
    said = ["weight (every histogram is scaled to its own peak)", explained(dataset)]
    figure.supxlabel("\n".join(filter(None, said)), fontsize=points_of("axes.labelsize"))
    looks = [BranchStyle(_INITIAL, "none", "s", "before training"), BranchStyle(_FINAL, "solid", "", "after training")]
    add_legend(figure, looks, None)
    return figure


def _draw_row(axes: Axes, cell: xarray.Dataset, edges: np.ndarray, foot: float) -> None:
    for name in NAMES:
        shares = shares_in_bins(*_distribution(cell, name), edges)
        peak = shares.max()
        if not peak > 0:
            continue
        heights = foot + shares / peak
        if name == "initial":
            axes.stairs(heights, edges, baseline=foot, fill=True, color=_INITIAL)
        else:
            axes.stairs(heights, edges, baseline=foot, color=_FINAL, linewidth=line_width(0.6))


def _distribution(cell: xarray.Dataset, name: str) -> tuple[xarray.DataArray, xarray.DataArray, xarray.DataArray]:
    """Quantiles, shares of signs, and numbers of weights, by trial and weight."""
    return cell[f"{name}_weight_quantile"], cell[f"{name}_weight_share"], cell.weight_density * cell["size"]
