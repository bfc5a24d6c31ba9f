"""The x axis of pruning figures: percent of weights remaining, logarithmic, with the dense network on the left."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from lth_keras.analysis import spread
from lth_keras.plots.style import BranchStyle

_LABELS = 9  # number of labels that fit under a figure of the usual width
_FEW = 6


def percent(density: float) -> str:
    """A density as the papers print it: 1 is "100", 0.2107 "21.1", 0.0036 "0.36"."""
    value = 100 * density
    if value >= 99.95:
        return "100"
    if value >= 0.95:
        return f"{value:.1f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}" if value > 0 else "0"


def set_density_axis(axes: Axes, dataset: xarray.Dataset, others: Sequence[float] = ()) -> None:
    """Set up the x axis of `axes` for the densities in `dataset`, with a tick per level, and include `others`."""
    means = spread(dataset.density).mean
    # Six digits, so that branches of one schedule share ticks.
    densities = np.unique([float(f"{value:.6g}") for value in means[means > 0]])[::-1]
    if not densities.size:
        return
    axes.set_xscale("log")
    greatest, least = max(densities[0], *others, 0), min(densities[-1], *others, 1)
    room = max((greatest / least) ** 0.03, 1.03)
    axes.set_xlim(greatest * room, least / room)
    shown = _spaced(densities)
    axes.xaxis.set_major_locator(FixedLocator([float(d) for d in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter([percent(d) for d in shown]))
    axes.xaxis.set_minor_locator(FixedLocator([float(d) for d in densities]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("percent of weights remaining")


def has_band(dataset: xarray.Dataset, branch: str) -> bool:
    """Whether to draw a branch's band. With more than six branches only the first has one: bands would overlap."""
    return dataset.sizes["branch"] <= _FEW or branch == dataset.branch.values[0]


def draw_over_density(
    axes: Axes, dataset: xarray.Dataset, variable: str, branch: str, style: BranchStyle, factor: float = 1
) -> None:
    """Draws the mean over trials and a min-max band, times `factor`, against mean density.

    Missing levels are a gap in both, crossed by a faint line.
    """
    selected = dataset.sel(branch=branch)
    density = spread(selected.density).mean
    values = spread(factor * selected[variable])
    places = np.flatnonzero(np.isfinite(values.mean) & (density > 0))
    if not places.size:
        return
    span = np.arange(places[0], places[-1] + 1)
    x, mean, low, high = (
        np.where(np.isin(span, places), of_all[span], np.nan)
        for of_all in (density, values.mean, values.low, values.high)
    )
    if has_band(dataset, branch):
        axes.fill_between(x, low, high, color=style.colour, alpha=0.17, linewidth=0)
        alone = [i for i in places - places[0] if not np.isfinite(mean[max(i - 1, 0) : i + 2]).sum() > 1]
        if alone:
            axes.vlines(x[alone], low[alone], high[alone], color=style.colour, alpha=0.4, linewidth=3)
    axes.plot(x, mean, **style.curve())
    for before, after in zip(places, places[1:], strict=False):
        if after > before + 1:
            axes.plot(
                density[[before, after]], values.mean[[before, after]], color=style.colour, alpha=0.3, linewidth=0.8
            )


def _spaced(densities: np.ndarray) -> list[float]:
    """The densities from the dense end on whose labels do not overlap."""
    gap = max(np.log(densities[0] / densities[-1]) / _LABELS, 0.02)
    shown = [float(densities[0])]
    for density in densities[1:]:
        if np.log(shown[-1] / density) >= gap * (1 - 1e-9):
            shown.append(float(density))
    return shown
