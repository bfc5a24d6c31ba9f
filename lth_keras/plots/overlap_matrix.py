"""Overlap of the masks of each pair of branches, and of random masks with the same layer densities."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lth_keras.analysis import OTHER, PAIRS, chance_overlap, chance_overlaps, explained, spread
from lth_keras.plots.rows import (
    SMALLEST,
    density_of,
    density_title,
    label_matrix,
    label_of,
    rows_of,
    say_numbers,
    spread_levels,
)
from lth_keras.plots.style import new_figure, points_of

PANELS = 4
_COLOURS = "YlGnBu"
_LEAST = 0.1  # percent, the largest lower end of the colour scale
_DIAGONAL = "#d9d9d9"
_PER_LETTER = 0.5  # width of a letter in font sizes
_AROUND = 0.75  # inches beside the panels for colour bar and margins


def compared_levels(dataset: xarray.Dataset) -> list[int]:
    """Levels with overlaps of pairs for three or more branches, without the dense network."""
    if PAIRS not in dataset:
        return []
    branches = [branch for group in rows_of(dataset) for branch in group]
    own = dataset[PAIRS].sel(branch=branches).transpose("level", "branch", "trial", OTHER)
    known = np.isfinite(own.values).any((2, 3)).sum(1)
    return [int(level) for level, count in zip(dataset.level.values, known, strict=True) if level and count > 2]


def overlap_matrix_figure(dataset: xarray.Dataset) -> Figure:
    """Jaccard index (percent) of the masks of each pair of branches, mean over trials, at up to four densities.

    Below the diagonal are the masks, above it random masks with the same layer densities. Colours are logarithmic.
    Cells state their percent if there is room. A cell is white if a mask is missing.

    Args:
        dataset: A run with overlaps of pairs, as `lth_keras.storage.open_run` gives it.

    Raises:
        ValueError: It has no overlaps of three or more branches.
    """
    levels = spread_levels(dataset, compared_levels(dataset), PANELS)
    if not levels:
        raise ValueError("Expected: a run with overlaps of each two of three branches or more. Received: none")
    groups = rows_of(dataset)
    branches = [branch for group in groups for branch in group]
    matrices = [100 * _matrix(dataset, branches, level) for level in levels]
    finite = np.concatenate([matrix[np.isfinite(matrix)] for matrix in matrices])
    lowest = float(np.clip(finite[finite > 0].min(), _LEAST, 10)) if (finite > 0).any() else _LEAST
    scale = LogNorm(lowest, 100, clip=True)

    columns = min(len(levels), 2)
    rows = -(-len(levels) // columns)
    figure, side = _sized_figure([label_of(branch) for branch in branches], rows, columns)
    cell = 72 * side / len(branches)  # in points
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(levels) :]:
        axes.set_axis_off()
    for place, (axes, level) in enumerate(zip(panels.flat, levels, strict=False)):
        drawn = axes.imshow(np.ma.masked_invalid(matrices[place]), cmap=_COLOURS, norm=scale)
        _dress(axes, branches, [len(group) for group in groups], cell)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(levels))
        chance = 100 * chance_overlap(density_of(dataset, level))
        axes.set_title(f"{density_title(dataset, level)}\n(by chance over all layers: {chance:.2g}%)")
        size = min(points_of("xtick.labelsize"), cell / 2.2)
        if size >= SMALLEST:
            say_numbers(axes, matrices[place], _text, _COLOURS, scale, size)
    bar = figure.colorbar(drawn, ax=panels, aspect=35, pad=0.02, shrink=0.8)
    bar.set_label("Jaccard index of two masks (%)")
    bar.ax.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    said = ["below the diagonal: the masks; above: random masks that keep as much of each layer", explained(dataset)]
    figure.supxlabel("\n".join(filter(None, said)), fontsize=points_of("axes.labelsize"))
    return figure


def _matrix(dataset: xarray.Dataset, branches: list[str], level: int) -> np.ndarray:
    """In [0, 1]: measured overlaps below the diagonal, overlaps by chance above, NaN on it."""
    measured = dataset[PAIRS].sel({"branch": branches, OTHER: branches, "level": level})
    found = spread(measured.transpose("trial", "branch", OTHER)).mean
    chance = np.where(np.isfinite(found), chance_overlaps(dataset, branches, level), np.nan)
    matrix = np.where(np.tri(len(branches), dtype=bool), found, chance)
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _sized_figure(labels: list[str], rows: int, columns: int) -> tuple[Figure, float]:
    """A figure for square panels, and their approximate side in inches."""
    figure = new_figure(wide=True)
    names = max(map(len, labels)) * _PER_LETTER * points_of("xtick.labelsize") / 72
    side = min((figure.get_figwidth() - names - _AROUND) / columns, 0.6 * len(labels))
    figure.set_figheight(rows * (side + 3.5 * points_of("axes.titlesize") / 72) + names + 0.3)
    return figure, side


def _dress(axes: Axes, branches: list[str], groups: list[int], cell: float) -> None:
    """Draws names and lines between groups, without a grid; `cell` is the side of a cell in points."""
    size = max(SMALLEST, min(points_of("xtick.labelsize"), cell))
    label_matrix(axes, [label_of(branch) for branch in branches], size)
    for place in range(len(branches)):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, color=_DIAGONAL, linewidth=0))
    for end in np.cumsum(groups)[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=1.5)
        axes.axvline(end - 0.5, color="white", linewidth=1.5)


def _text(percent: float) -> str:
    if percent < 0.05:
        return "0"
    return f"{percent:.0f}" if percent >= 0.95 else f"{percent:.1f}".lstrip("0")
