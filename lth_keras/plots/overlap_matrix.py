"""Overlap of the masks of each pair of branches, and of random masks with the same layer densities."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lth_keras.analysis import OTHER, PAIRS, chance_overlap, chance_overlaps, explained, spread
from lth_keras.plots.rows import (
    SMALLEST,
    density_of,
    density_title,
    inches_of,
    label_of,
    points_of,
    rows_of,
    spread_levels,
)
from lth_keras.plots.style import luminance, new_figure

PANELS = 4
_COLOURS = "YlGnBu"
_LEAST = 0.1  # percent, the largest lower end of the colour scale
_DIAGONAL = "#d9d9d9"
_AROUND = 0.75  # inches beside the panels for colour bar and margins


def compared_levels(dataset: xarray.Dataset) -> list[int]:
    """Levels with overlaps of pairs for three or more branches, without the dense network.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
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
    figure, side = _sized_figure([label_of(branch) for branch in branches], -(-len(levels) // columns), columns)
    panels = figure.subplots(-(-len(levels) // columns), columns, squeeze=False)
    for place, axes in enumerate(panels.flat):
        if place >= len(levels):
            axes.set_axis_off()
            continue
        drawn = axes.imshow(np.ma.masked_invalid(matrices[place]), cmap=_COLOURS, norm=scale)
        _dress(axes, branches, [len(group) for group in groups], 72 * side / len(branches))
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(levels))
        level = levels[place]
        chance = 100 * chance_overlap(density_of(dataset, level))
        axes.set_title(f"{density_title(dataset, level)}\n(by chance over all layers: {chance:.2g}%)")
        _say_numbers(axes, matrices[place], scale, 72 * side / len(branches))
    bar = figure.colorbar(drawn, ax=panels, aspect=35, pad=0.02, shrink=0.8)
    bar.set_label("Jaccard index of two masks (%)")
    bar.ax.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    said = ["below the diagonal: the masks; above: random masks that keep as much of each layer", explained(dataset)]
    figure.supxlabel("\n".join(filter(None, said)), fontsize=rcParams["axes.labelsize"])
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
    size = points_of("xtick.labelsize")
    names = inches_of(labels, size)
    side = (figure.get_figwidth() - names - _AROUND) / max(columns, 1)
    side = min(side, 0.6 * len(labels))
    title = 3.5 * points_of("axes.titlesize") / 72
    figure.set_figheight(rows * (side + title) + names + 0.3)
    return figure, side


def _dress(axes: Axes, branches: list[str], groups: list[int], cell: float) -> None:
    """Draws names and lines between groups, without a grid; `cell` is the side of a cell in points."""
    size = max(SMALLEST, min(points_of("xtick.labelsize"), cell))
    labels = [label_of(branch) for branch in branches]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for place in range(len(labels)):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, color=_DIAGONAL, linewidth=0))
    for end in np.cumsum(groups)[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=1.5)
        axes.axvline(end - 0.5, color="white", linewidth=1.5)


def _say_numbers(axes: Axes, matrix: np.ndarray, scale: LogNorm, cell: float) -> None:
    """Writes the percent into each cell, if legible letters fit."""
    size = min(points_of("xtick.labelsize"), cell / 2.2)
    if size < SMALLEST:
        return
    colours = colormaps[_COLOURS]
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = luminance(to_hex(colours(scale(value)))) < 55
            text = f"{value:.0f}" if value >= 0.95 else f"{value:.1f}".lstrip("0")
            axes.text(
                column,
                row,
                text if value >= 0.05 else "0",
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "#111111",
            )
