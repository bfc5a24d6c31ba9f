"""Facts about model and data that figures need and level files lack. The experiment provides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray

from lth_keras.analysis import MEANING


class DocumentLengths(NamedTuple):
    """Lengths of the documents of a text data set.

    Attributes:
        lengths: By split, the length in tokens of each document before truncation, (n,) integers of 0 or more.
        cut_off: Longer documents are truncated to this many tokens.
    """

    lengths: Mapping[str, np.ndarray]
    cut_off: int


class Facts(NamedTuple):
    """Optional content of run.h5 beside its levels.

    Attributes:
        steps_per_epoch: Optimiser updates per epoch, for level files that do not record them.
        kinds: Weight key to the kind of its layer, for level files that do not record it.
        documents: Of a text data set.
    """

    steps_per_epoch: int | None = None
    kinds: Mapping[str, str] = {}
    documents: DocumentLengths | None = None


def document_variables(documents: DocumentLengths) -> xarray.Dataset:
    """`documents` (split, length) int64: number of documents of each length in a split, for every length that occurs.

    Raises:
        ValueError: There is no split, or one has no documents.
    """
    sizes = {name: np.size(lengths) for name, lengths in documents.lengths.items()}
    if not sizes or not all(sizes.values()):
        raise ValueError(f"Expected: document lengths of one split or more. Received: {sizes} documents")
    occurring = np.unique(np.concatenate(list(documents.lengths.values()))).astype(np.int64)
    counts = np.zeros((len(sizes), len(occurring)), np.int64)
    for row, lengths in zip(counts, documents.lengths.values(), strict=True):
        np.add.at(row, np.searchsorted(occurring, lengths), 1)
    attributes = {**MEANING["documents"], "cut_off": int(documents.cut_off)}
    return xarray.Dataset(
        {"documents": (("split", "length"), counts, attributes)},
        {
            "split": ("split", np.asarray(list(sizes), object), MEANING["split"]),
            "length": ("length", occurring, MEANING["length"]),
        },
    )


def document_lengths(dataset: xarray.Dataset) -> DocumentLengths | None:
    """What `document_variables` wrote, with sorted lengths; None if a run has no documents."""
    if "documents" not in dataset:
        return None
    counted = dataset.documents
    lengths = {
        str(split): np.repeat(dataset.length.values, counted.sel(split=split).values) for split in dataset.split.values
    }
    return DocumentLengths(lengths, int(counted.attrs["cut_off"]))
