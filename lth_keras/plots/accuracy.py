"""Test accuracy at early stop against density, as in figure 4 of Frankle & Carbin (2019)."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.plots.density_axis import draw_over_density, set_density_axis
from lth_keras.plots.legend import add_legend
from lth_keras.plots.style import branch_style, branch_styles
from lth_keras.results.statistics import spread

VARIABLE = "test_accuracy_at_early_stop"
_CLOSE = 4.0  # the close-up has this times the spread of the best branch


def accuracy_figure(dataset: xarray.Dataset) -> Figure:
    """Mean test accuracy (percent) at early stop over trials, band from least to greatest.

    Where a branch falls so far that the differences near the dense network vanish, a second panel
    shows those closely.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
    """
    percents = dataset.assign({VARIABLE: 100 * dataset[VARIABLE]})
    close = _close_limits(percents)
    figure = Figure(figsize=(10.4 if close else 6.4, 4.1), layout="constrained")
    panels = figure.subplots(1, 2 if close else 1, squeeze=False)[0]
    for axes in panels:
        _draw(axes, percents)
    panels[0].set_ylabel("test accuracy at early stop (%)")
    if close:
        panels[0].set_title("all accuracies")
        panels[1].set_title("near the dense network")
        panels[1].set_ylim(*close)
    add_legend(figure, branch_styles(dataset.branch.values.tolist()).values(), branch_style("dense"))
    return figure


def _draw(axes: Axes, dataset: xarray.Dataset) -> None:
    draw_dense_line(axes, dataset, VARIABLE)
    styles = branch_styles(dataset.branch.values.tolist())
    for branch, style in reversed(styles.items()):  # the first branch lies on top
        draw_over_density(axes, dataset, VARIABLE, branch, style)
    set_density_axis(axes, dataset)


def draw_dense_line(axes: Axes, dataset: xarray.Dataset, variable: str) -> None:
    """A thin level line at the dense network's mean, to read differences from."""
    dense = spread(dataset[variable].sel(level=0)).mean
    if np.isfinite(dense).any():
        style = branch_style("dense")
        axes.axhline(
            float(np.nanmean(dense)),
            color=style.colour,
            linestyle=style.line,
            linewidth=1.0,
        )


def _close_limits(dataset: xarray.Dataset) -> tuple[float, float] | None:
    """Limits around the best branch, or None where one panel shows everything well."""
    values = spread(dataset[VARIABLE])
    if not np.isfinite(values.mean).any():
        return None
    best = int(np.nanargmax(np.nanmean(values.mean, axis=1)))
    low, high = np.nanmin(values.low[best]), np.nanmax(values.high)
    span = max(high - low, 1e-3)
    if high - np.nanmin(values.low) <= _CLOSE * span:
        return None
    return float(low - 0.35 * span), float(high + 0.1 * span)
