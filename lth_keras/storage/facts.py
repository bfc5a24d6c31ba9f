"""What figures need to know of a run and its level files do not say: given by who knows the model and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray

from lth_keras.analysis.schema import COORDINATE_MEANING, DOCUMENTS_MEANING


class DocumentLengths(NamedTuple):
    """How long the documents of a text data set are.

    Attributes:
        lengths: By split, the length in tokens of each document before any cut, (n,) integers of 0 or more.
        cut_off: Tokens that are kept of a longer document.
    """

    lengths: Mapping[str, np.ndarray]
    cut_off: int


class Facts(NamedTuple):
    """What run.h5 is to say beside its levels; what is left out, it does not.

    Attributes:
        steps_per_epoch: Optimiser updates of an epoch, where level files do not record them.
        kinds: Weight key to the kind of its layer, where level files do not record it.
        documents: Of a text data set.
    """

    steps_per_epoch: int | None = None
    kinds: Mapping[str, str] = {}
    documents: DocumentLengths | None = None


def document_variables(documents: DocumentLengths) -> xarray.Dataset:
    """`documents` (split, length) int64: how many documents of a split have a length, for every length that occurs.

    Raises:
        ValueError: No split, or one without documents.
    """
    sizes = {name: np.size(lengths) for name, lengths in documents.lengths.items()}
    if not sizes or not all(sizes.values()):
        raise ValueError(f"Expected: document lengths of one split or more. Received: {sizes} documents")
    occurring = np.unique(np.concatenate(list(documents.lengths.values()))).astype(np.int64)
    counts = np.zeros((len(sizes), len(occurring)), np.int64)
    for row, lengths in zip(counts, documents.lengths.values(), strict=True):
        np.add.at(row, np.searchsorted(occurring, lengths), 1)
    attributes: dict[str, Any] = {**DOCUMENTS_MEANING._asdict(), "cut_off": int(documents.cut_off)}
    coordinates = {"split": np.asarray(list(sizes), object), "length": occurring}
    return xarray.Dataset(
        {"documents": (("split", "length"), counts, attributes)},
        {name: (name, values, COORDINATE_MEANING[name]._asdict()) for name, values in coordinates.items()},
    )


def document_lengths(dataset: xarray.Dataset) -> DocumentLengths | None:
    """What `document_variables` wrote, lengths sorted; None where a run has no documents."""
    if "documents" not in dataset:
        return None
    counted = dataset.documents
    lengths = {
        str(split): np.repeat(dataset.length.values, counted.sel(split=split).values) for split in dataset.split.values
    }
    return DocumentLengths(lengths, int(counted.attrs["cut_off"]))
