"""Reuters-21578 as packed parts: whole documents, encoded, so that no SGML and no tokeniser are needed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datasets import packed, reuters_files
from datasets.encoding import ENCODER_VERSION
from datasets.text import Documents

NAME = "reuters"
WORDS = 65_535
"""Words that are numbered, at most: more than the training documents have, and numbers fit in 16 bits."""


class Encoded(NamedTuple):
    """All documents of ModApte as numbers of words, with their categories.

    Attributes:
        documents: by split, "train" and "test"; words are numbered by how frequent they are in "train".
        topics: by split, shape (documents, categories), uint8: 1 where a document is of a category.
        categories: names, in alphabetical order.
    """

    documents: dict[str, Documents]
    topics: dict[str, np.ndarray]
    categories: tuple[str, ...]


def content() -> str:
    """Return what packed parts of Reuters-21578 say that they are."""
    train, test = reuters_files.COUNTS.values()
    return (
        f"Reuters-21578, ModApte split, {train:,} / {test:,} documents, title and body, encoded with all words of the "
        f"training documents (encoder {ENCODER_VERSION})"
    )


def to_arrays(encoded: Encoded) -> dict[str, np.ndarray]:
    """Return what is packed; numbers of words as small as they can be."""
    arrays = {"categories": np.array(encoded.categories)}
    for split, (ids, offsets) in encoded.documents.items():
        arrays[f"{split}_topics"] = encoded.topics[split]
        arrays[f"{split}_offsets"] = offsets
        arrays[f"{split}_ids"] = ids.astype(np.uint16)
    return arrays


def read_encoded() -> Encoded:
    """Return the documents out of the packed parts.

    Raises:
        DataUnavailable: as `packed.read_packed`.
    """
    splits = tuple(reuters_files.COUNTS)
    keys = ["categories", *(f"{split}_{field}" for split in splits for field in ("topics", *Documents._fields))]
    arrays = packed.read_packed(NAME, content(), keys)
    return Encoded(
        {s: Documents(arrays[f"{s}_ids"].astype(np.int32), arrays[f"{s}_offsets"]) for s in splits},
        {s: arrays[f"{s}_topics"] for s in splits},
        tuple(arrays["categories"].tolist()),
    )
