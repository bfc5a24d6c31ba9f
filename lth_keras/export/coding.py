"""Weights as bytes: the values that a mask keeps, as float32, float16 or int8."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

VALUES = ("float32", "float16", "int8")
"""How surviving weights can be stored."""


class Entry(NamedTuple):
    """One weight of a ticket file.

    Attributes:
        key: the weight's place inside the model.
        shape: of the weight.
        dtype: of the weight in the model.
        values: how its values are stored: one of `VALUES`, or its own dtype. int8 values stand before one float32
            factor for each entry of the last axis.
        masked: whether only values that the mask keeps are stored, in the order of the array.
        stored: number of values in the file.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    values: str
    masked: bool
    stored: int

    @property
    def size(self) -> int:
        """Number of weights."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of its values in the file."""
        factors = 4 * self.shape[-1] if self.values == "int8" else 0
        return self.stored * np.dtype(self.values).itemsize + factors

    @classmethod
    def read(cls, item: Any) -> Entry:
        """The entry in a file's index.

        Raises:
            ValueError: for anything else.
        """
        if not isinstance(item, dict) or item.keys() != set(cls._fields):
            raise ValueError(f"an entry of its index that has {sorted(item) if isinstance(item, dict) else item!r}")
        entry = cls(**{**item, "shape": tuple(item["shape"])})
        own = [entry.key, entry.dtype, entry.values]
        numbers = [*entry.shape, entry.stored]
        if not all(isinstance(text, str) for text in own) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"an entry {entry.key!r} of its index with other types than text and counts")
        if np.dtype(entry.values).hasobject or entry.stored > entry.size or type(entry.masked) is not bool:
            raise ValueError(f"an entry {entry.key!r} with {entry.stored:,} values of {entry.size:,}")
        if not entry.masked and entry.stored != entry.size:
            raise ValueError(f"an entry {entry.key!r} without mask with {entry.stored:,} values of {entry.size:,}")
        if entry.values == "int8" and not (entry.masked and entry.shape):
            raise ValueError(f"an entry {entry.key!r} of int8 without mask")
        return entry


def encoded(array: np.ndarray, mask: np.ndarray | None, values: str) -> bytes:
    """The bytes of a weight."""
    if mask is None:
        return np.ascontiguousarray(array).tobytes()
    if values != "int8":
        return array[mask].astype(values).tobytes()
    kept = np.where(mask, array, 0).astype(np.float32)
    largest = np.abs(kept).max(axis=tuple(range(kept.ndim - 1)), initial=0)
    factor = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(kept / factor)[mask].astype(np.int8).tobytes() + factor.tobytes()


def decoded(entry: Entry, content: bytes, mask: np.ndarray | None) -> np.ndarray:
    """The weight that `encoded` made, in the dtype of its values, float32 for int8; zero where it is pruned."""
    values = np.frombuffer(content[: entry.stored * np.dtype(entry.values).itemsize], entry.values)
    if mask is None:
        return values.reshape(entry.shape)
    found = np.zeros(entry.shape, np.float32 if entry.values == "int8" else entry.values)
    found[mask] = values
    if entry.values == "int8":
        found *= np.frombuffer(content[entry.stored :], np.float32)
    return found
