"""Shared by figures of many branches: order of branches, shown levels, sizes of letters."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray
from matplotlib import rcParams
from matplotlib.font_manager import FontProperties

from lth_keras.analysis import BRANCH_ORDER, schedules_of, spread
from lth_keras.plots.density_axis import percent
from lth_keras.plots.style import branch_style

Letters = Literal["xtick.labelsize", "ytick.labelsize", "axes.titlesize", "axes.labelsize"]
SMALLEST = 5.0
"""Smallest legible size of letters in print, in points."""
_OF_THE_TICKET = "iss"  # the winning ticket's schedule; a run with only this one has no groups
_PER_LETTER = 0.5  # width of a letter in font sizes


def rows_of(dataset: xarray.Dataset) -> list[list[str]]:
    """Branches with their own masks: the winning ticket and others, then those of each schedule, if schedules differ.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
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


def points_of(parameter: Letters) -> float:
    """The font size of a parameter of the style, in points."""
    return float(FontProperties(size=rcParams[parameter]).get_size_in_points())


def inches_of(labels: list[str], size: float) -> float:
    """Approximate width of the longest of `labels` in letters of `size` points."""
    return max(map(len, labels), default=0) * _PER_LETTER * size / 72
