"""Reads streams while a network trains: batch by batch, and the first examples for criteria."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from lth_keras.data.streams import Batch, Stream

MARGIN = 10
"""Criteria draw their samples from this many times as many examples, the first ones of a stream."""


class Reader:
    """Reads the batches of one training; a stream that ends begins again.

    Args:
        stream: can be read more than once, unless its batches suffice.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._read = 0
        self._batches: Iterator[Batch] = iter(())

    def batch(self, index: int) -> Batch:
        """A batch.

        Args:
            index: of an indexed stream its index in the dataset; otherwise the number of batches before it since the
                beginning of the training, which is not below that of the batch read before.

        Raises:
            ValueError: for a stream without batches.
        """
        if self._stream.indexed:
            return self._stream[index]
        for _ in range(index - self._read):  # a training that begins in the middle
            self._next()
        self._read = index + 1
        return self._next()

    def _next(self) -> Batch:
        for batch in self._batches:
            return batch
        self._batches = iter(self._stream)
        first = next(self._batches, None)
        if first is None:
            raise ValueError(f"Split {self._stream.name!r}: Expected batches. Received: none.")
        return first


def batches_per_epoch(stream: Stream, *, counted: bool) -> int | None:
    """The number of batches until a stream ends; None if it does not end or is not known.

    Args:
        stream: the stream.
        counted: whether to read an unindexed stream of unknown length once to count its batches.

    Raises:
        ValueError: if the number is asked for and there is no end.
    """
    if stream.length not in (None, math.inf):
        return int(stream.length)
    if not counted:
        return None
    if stream.length == math.inf:
        raise ValueError(
            f"Split {stream.name!r}: Expected steps= for a dataset without an end, which has no epochs. "
            "Received: epochs, or a point of rewinding in epochs."
        )
    stream.length = sum(1 for _ in stream)
    return stream.length


def first_examples(stream: Stream, wanted: int) -> tuple[Any, Any]:
    """X and y of a stream's first batches, together at least `wanted` examples if there are as many."""
    parts: list[Batch] = []
    examples = 0
    for batch in stream:
        parts.append(batch[:2])
        examples += len(keras.tree.flatten(batch)[0])
        if examples >= wanted:
            break
    if not parts:
        raise ValueError(f"Split {stream.name!r}: Expected batches. Received: none.")
    x, y = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
    return x, y


def fingerprint(stream: Stream) -> bytes:
    """A digest of what is known of a stream without reading all of it.

    These are the type of its source, the number of batches, shapes and data types of an example, and the values of the
    first batch unless they differ between two readings, as with shuffling and random augmentation.
    """
    first = next(iter(stream), ())
    leaves = keras.tree.flatten(first)
    known = [type(stream.source).__name__, str(stream.length), [[leaf.dtype.str, leaf.shape[1:]] for leaf in leaves]]
    sha = hashlib.sha256(json.dumps(known).encode())
    if stream.repeats:
        for leaf in leaves:
            sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.digest()
