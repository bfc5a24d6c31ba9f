"""Scores of criteria before training: distributions by layer, and rank correlations of criteria."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lth_keras.analysis import spread
from lth_keras.plots.binned import shares_in_bins
from lth_keras.plots.legend import add_legend
from lth_keras.plots.rows import label_matrix, label_of, say_numbers
from lth_keras.plots.style import DASHED, DOTTED, BranchStyle, as_text, line_width, new_figure, points_of

CORRELATION, OTHER = "score_correlation", "other_criterion"
BINS_A_DECADE = 8
_SHOWN = 0.01  # the axis begins at the quantile nearest to this share
_LOOKS = (("#08357a", "solid"), ("#d1541b", DASHED), ("#58b6c4", DOTTED))
_TOGETHER = "all layers"
_COLOURS = "PuOr_r"


def scored_criteria(dataset: xarray.Dataset) -> list[str]:
    """Criteria with scores of the dense network before training."""
    if CORRELATION not in dataset:
        return []
    known = np.isfinite(dataset.score_share.transpose("criterion", ...).values).any((1, 2, 3))
    return [str(name) for name, is_known in zip(dataset.criterion.values, known, strict=True) if is_known]


def score_distributions_figure(dataset: xarray.Dataset) -> Figure:
    """A panel for each criterion's scores, with a line for each layer, and a matrix of rank correlations.

    Histograms over the logarithm of a score's size, in percent of the layer's weights, over all trials. Negative scores
    are drawn below the axis. A panel's title states the share of weights with a score of zero. The matrix shows
    Spearman's rank correlation over all weights, mean over trials. More than three layers are drawn as one.

    Args:
        dataset: A run with scores, as `lth_keras.storage.open_run` gives it.

    Raises:
        ValueError: It has no scores.
    """
    criteria = scored_criteria(dataset)
    if not criteria:
        raise ValueError("Expected: a run with the scores of criteria before training. Received: none")
    rows = 2 if len(criteria) > 1 else 1
    columns = -(-len(criteria) // rows)
    figure = new_figure(wide=True, height=0.75 * rows + 0.15)
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1] * columns + [1.25])
    layers = _layers(dataset)
    for place, criterion in enumerate(criteria):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        _draw_scores(axes, dataset, criterion, layers)
        if place % columns == 0:
            axes.set_ylabel(f"percent of the layer\nper 1/{BINS_A_DECADE} decade")
        if place + columns >= len(criteria):
            axes.set_xlabel("size of the score")
    _draw_correlations(figure.add_subplot(grid[:, -1]), dataset, criteria)
    looks = [BranchStyle(colour, line, "", name) for name, (colour, line) in zip(layers, _LOOKS, strict=False)]
    add_legend(figure, looks, None)
    return figure


def _layers(dataset: xarray.Dataset) -> dict[str, list[int]]:
    """Name of each line to its indices along `weight`."""
    names = [as_text(str(weight)) for weight in dataset.weight.values]
    if len(names) > len(_LOOKS):
        return {_TOGETHER: list(range(len(names)))}
    return {name: [place] for place, name in enumerate(names)}


def _draw_scores(axes: Axes, dataset: xarray.Dataset, criterion: str, layers: dict[str, list[int]]) -> None:
    quantiles = dataset.score_quantile.sel(criterion=criterion)
    shares = dataset.score_share.sel(criterion=criterion)
    amounts = dataset["size"].broadcast_like(shares.isel(sign=0, drop=True))
    edges = _edges(quantiles)
    both = edges.size and (shares.sel(sign="negative") > 0).any()
    for places, (colour, line) in zip(layers.values() if edges.size else (), _LOOKS, strict=False):
        own = [values.isel(weight=places) for values in (quantiles, shares, amounts)]
        for side in (1, -1) if both else (1,):
            at = edges if side == 1 else -edges[::-1]
            heights = 100 * shares_in_bins(own[0], own[1], own[2], at)[::side]
            axes.stairs(side * heights, edges, color=colour, linestyle=line, linewidth=line_width(0.7))
    if both:
        axes.axhline(0, color="#666666", linewidth=line_width(0.4))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    there = amounts.where(np.isfinite(shares).all("sign"))
    zero = 1 - float((shares.sum("sign") * there).sum() / there.sum())
    notes = [f"{100 * zero:.0f}% zero"] * (zero > 0.005) + ["below the axis: negative"] * bool(both)
    axes.set_title("\n".join([label_of(criterion), *([f"({', '.join(notes)})"] if notes else [])]))


def _edges(quantiles: xarray.DataArray) -> np.ndarray:
    """Logarithmic bin edges from about the smallest size of a score to the largest; empty if all are zero."""
    sizes = abs(quantiles)
    small = sizes.sel(quantile=[_SHOWN, 1 - _SHOWN], method="nearest").values
    large = sizes.values
    small, large = small[np.isfinite(small) & (small > 0)], large[np.isfinite(large)]
    if not small.size:
        return np.array([])
    low, high = np.log10(small.min()), np.log10(large.max())
    steps = np.arange(np.floor(low * BINS_A_DECADE), np.ceil(high * BINS_A_DECADE + 1e-9) + 1)
    return 10 ** (steps / BINS_A_DECADE)


def _draw_correlations(axes: Axes, dataset: xarray.Dataset, criteria: list[str]) -> None:
    of_pairs = dataset[CORRELATION].sel({"criterion": criteria, OTHER: criteria})
    found = spread(of_pairs.transpose("trial", "criterion", OTHER)).mean
    np.fill_diagonal(found, np.nan)
    axes.set_facecolor("#d9d9d9")
    scale = Normalize(-1, 1)
    axes.imshow(found, cmap=_COLOURS, norm=scale)
    label_matrix(axes, [label_of(name) for name in criteria])
    say_numbers(axes, found, "{:.2f}".format, _COLOURS, scale, points_of("xtick.labelsize"))
    axes.set_title("rank correlation of scores\n(Spearman, mean over trials)")
