"""20 Newsgroups as packed parts: whole encoded documents, which need no postings and no tokeniser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from datasets import newsgroups_texts, packed
from datasets.encoding import ENCODER_VERSION
from datasets.text import Documents

NAME = "newsgroups"
PACKED = "documents with footers and quotations, encoded with the published vocabulary"


class Encoded(NamedTuple):
    """All documents as word numbers, with their labels.

    Attributes:
        documents: by split, "train" and "test".
        labels: by split, shape (n,), int32: the index of a document's group in `groups`.
        groups: names of the groups.
    """

    documents: dict[str, Documents]
    labels: dict[str, np.ndarray]
    groups: tuple[str, ...]


def content() -> str:
    """Return the description in packed parts of 20 Newsgroups."""
    train, test = newsgroups_texts.COUNTS.values()
    return f"20 Newsgroups, {train:,} / {test:,} {PACKED} (encoder {ENCODER_VERSION})"


def to_arrays(encoded: Encoded, vocabulary: bytes) -> dict[str, np.ndarray]:
    """Return the arrays to pack; word numbers and labels have the smallest possible type.

    Args:
        encoded: all whole documents, with numbers below 65,536.
        vocabulary: the published vocabulary's file. It defines the word numbers; the hash of a run includes its hash.
    """
    arrays = {"vocabulary": np.frombuffer(vocabulary, np.uint8), "groups": np.array(encoded.groups)}
    for split, (ids, offsets) in encoded.documents.items():
        arrays[f"{split}_y"] = encoded.labels[split].astype(np.uint8)
        arrays[f"{split}_offsets"] = offsets
        arrays[f"{split}_ids"] = ids.astype(np.uint16)
    return arrays


def read_encoded() -> Encoded:
    """Return the documents from the packed parts.

    Raises:
        DataUnavailable: as in `packed.read_packed`.
    """
    splits = tuple(newsgroups_texts.COUNTS)
    keys = ["groups", *(f"{split}_{field}" for split in splits for field in ("y", *Documents._fields))]
    arrays: Mapping[str, np.ndarray] = packed.read_packed(NAME, content(), keys)
    return Encoded(
        {s: Documents(arrays[f"{s}_ids"].astype(np.int32), arrays[f"{s}_offsets"]) for s in splits},
        {s: arrays[f"{s}_y"].astype(np.int32) for s in splits},
        tuple(arrays["groups"].tolist()),
    )


def read_vocabulary() -> bytes:
    """Return the published vocabulary's file from the packed parts.

    Raises:
        DataUnavailable: as in `packed.read_packed`.
    """
    return packed.read_packed(NAME, content(), ["vocabulary"])["vocabulary"].tobytes()
