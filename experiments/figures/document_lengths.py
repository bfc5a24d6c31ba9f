"""Histogram of the document lengths of a text data set, with the share that a cut-off leaves untruncated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lth_keras.plots import Draw, line_width, new_figure
from lth_keras.storage import document_lengths

BINS_BELOW_CUT_OFF = 10
SHOWN = 5  # the axis ends at this multiple of the cut-off
_LOOKS = (("#08357a", "solid"), ("#d1541b", "dashed"), ("#58b6c4", "dotted"))


def figures(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw | None]:
    """`document_lengths`, for a run with document lengths."""
    documents = document_lengths(dataset)
    if documents is None:
        return {}
    return {"document_lengths": partial(document_lengths_figure, documents.lengths, documents.cut_off)}


def document_lengths_figure(lengths: Mapping[str, np.ndarray], cut_off: int, unit: str = "tokens") -> Figure:
    """A histogram of lengths for each split, with the cut-off and the share that it leaves untruncated.

    The histograms overlie each other, in percent of a split's documents. The axis ends at five times the cut-off; the
    legend states the share of longer documents.

    Args:
        lengths: By split, the length of each document in `unit`, shape (n,), 0 or more.
        cut_off: Longer documents are truncated to this length, in `unit`.
        unit: Unit of lengths, for the labels.

    Raises:
        ValueError: There are no or more than three splits, a split has no documents, or the cut-off is below 1.
    """
    if not 1 <= len(lengths) <= len(_LOOKS) or not all(map(np.size, lengths.values())):
        sizes = {name: np.size(split) for name, split in lengths.items()}
        raise ValueError(f"Expected: 1 to {len(_LOOKS)} splits, each with documents. Received: {sizes}")
    if cut_off < 1:
        raise ValueError(f"Expected: a cut-off of 1 or more. Received: {cut_off}")
    figure = new_figure()
    axes = figure.subplots()
    # A length equal to the cut-off belongs to its left, so bins are (a, b]; the first includes 0.
    edges = np.linspace(0, SHOWN * cut_off, SHOWN * BINS_BELOW_CUT_OFF + 1)
    for (name, split), (colour, line) in zip(lengths.items(), _LOOKS, strict=False):
        counts = np.bincount(np.searchsorted(edges[1:], split), minlength=len(edges))[: len(edges) - 1]
        label = (
            f"{name} ({len(split):,}): {100 * np.mean(split <= cut_off):.1f}% untruncated, "
            f"{100 * np.mean(split > edges[-1]):.1f}% over {edges[-1]:,.0f}"
        )
        width = line_width(1)
        axes.stairs(100 * counts / len(split), edges, color=colour, linestyle=line, linewidth=width, label=label)
    axes.axvline(cut_off, color="#666666", linewidth=line_width(0.6), label=f"cut-off: {cut_off:,} {unit}")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"length of the document ({unit})")
    axes.set_ylabel(f"documents per {edges[1]:g} {unit} (%)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.legend(loc="upper right", handlelength=2.2)
    return figure
