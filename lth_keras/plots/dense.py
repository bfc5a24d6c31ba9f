"""The dense network as a reference line."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes

from lth_keras.analysis import spread
from lth_keras.plots.style import branch_style, line_width


def dense_mean(dataset: xarray.Dataset, variable: str) -> float:
    """Mean over trials at level 0 of the first branch that has one; NaN if none has.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        variable: (trial, branch, level).
    """
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
