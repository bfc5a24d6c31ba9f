"""Shared by figures of many branches: order of branches, shown levels, sizes of letters, matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex

from lth_keras.analysis import BRANCH_ORDER, schedules_of, spread
from lth_keras.plots.density_axis import percent
from lth_keras.plots.style import branch_style, luminance

SMALLEST = 5.0
"""Smallest legible size of letters in print, in points."""
_OF_THE_TICKET = "iss"  # the winning ticket's schedule; a run with only this one has no groups


def rows_of(dataset: xarray.Dataset) -> list[list[str]]:
    """Branches with their own masks: the winning ticket and others, then those of each schedule if these differ."""
    found = schedules_of(dataset)
    scheduled = [] if set(found) == {_OF_THE_TICKET} else list(found.values())
    apart = {*BRANCH_ORDER[1:], *(branch for branches in scheduled for branch in branches)}
    others = [str(branch) for branch in dataset.branch.values if str(branch) not in apart]
    return [group for group in (others, *scheduled) if group]


def spread_levels(dataset: xarray.Dataset, levels: list[int], most: int) -> list[int]:
    """At most `most` of `levels`: the first, the last, and others so that densities fall by about equal factors."""
    if len(levels) <= most:
        return levels
    logarithms = np.log([max(density_of(dataset, level), 1e-12) for level in levels])
    chosen = [0]
    for place, aim in enumerate(np.linspace(logarithms[0], logarithms[-1], most)[1:], start=2):
        free = range(chosen[-1] + 1, len(levels) - most + place)  # leaves enough levels for the targets that follow
        chosen.append(min(free, key=lambda i: abs(logarithms[i] - aim)))
    return [levels[i] for i in chosen]


def density_of(dataset: xarray.Dataset, level: int) -> float:
    """Mean density of a level over trials and the branches that have it."""
    means = spread(dataset.density.sel(level=level)).mean
    return float(means[np.isfinite(means)].mean())


def density_title(dataset: xarray.Dataset, level: int) -> str:
    """The title of a level's panel."""
    return f"{percent(density_of(dataset, level))}% of weights remaining"


def label_of(branch: str) -> str:
    """A branch's name in words."""
    return branch_style(branch).label


def label_matrix(axes: Axes, labels: list[str], size: float | None = None) -> None:
    """Names the rows and columns of a drawn matrix, without a grid around them."""
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def say_numbers(
    axes: Axes, matrix: np.ndarray, text_of: Callable[[float], str], colours: str, scale: Normalize, size: float
) -> None:
    """Writes the text of each finite value into its cell, white on dark colours of the map `colours`."""
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = luminance(to_hex(colormaps[colours](scale(value)))) < 55
            colour = "white" if dark else "#111111"
            axes.text(column, row, text_of(value), ha="center", va="center", fontsize=size, color=colour)
