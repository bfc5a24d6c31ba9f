"""Means over trials as lines with bands, and the dense network as a reference line."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from matplotlib.axes import Axes

from lth_keras.analysis import Spread, spread
from lth_keras.plots.style import BranchStyle, branch_style, line_width


def draw_mean(
    axes: Axes, x: np.ndarray, values: Spread, style: BranchStyle, alpha: float = 0.17, **changes: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a mean over trials at `x`, and its min-max band of opacity `alpha`, where some trial has a value.

    `changes` are keyword arguments of `Axes.plot`. Returns the points of the line.
    """
    there = np.isfinite(values.mean)
    x, mean = x[there], values.mean[there]
    if alpha:
        axes.fill_between(x, values.low[there], values.high[there], color=style.colour, alpha=alpha, linewidth=0)
    axes.plot(x, mean, **style.curve(**changes))
    return x, mean


def dense_mean(dataset: xarray.Dataset, variable: str) -> float:
    """Mean over trials at level 0 of the first branch that has one; NaN if none has."""
    if 0 not in dataset.level.values:
        return float("nan")
    means = spread(dataset[variable].sel(level=0)).mean
    means = means[np.isfinite(means)]
    return float(means[0]) if means.size else float("nan")


def draw_dense_line(axes: Axes, dataset: xarray.Dataset, variable: str, factor: float = 1) -> None:
    """A thin horizontal line at the dense network's mean, if there is one; `factor` multiplies values."""
    dense = dense_mean(dataset, variable)
    if np.isfinite(dense):
        style = branch_style("dense")
        axes.axhline(factor * dense, color=style.colour, linestyle=style.line, linewidth=line_width(0.6))
