"""Streams: data that come in batches, such as a `tf.data.Dataset`, and how they are read into arrays."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any

import keras
import numpy as np

from lth_keras.system import free_memory_bytes, shown

SHARE_OF_MEMORY = 3
"""Arrays read from streams may need the free memory divided by this; joining batches needs as much again."""
_SECONDS = 5
"""Seconds between two lines of progress."""

Batch = tuple[Any, ...]
"""x and y, or x, y and sample_weight: arrays, or structures of arrays."""


class Stream:
    """A split that comes in batches.

    Args:
        name: of the split, for errors.
        source: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch `DataLoader`, a function that returns an
            iterator of batches, or an iterator, which can be read only once.
        check: (x, y) -> x and y, checked and in types that the loss takes; applied to every batch.

    Attributes:
        source: the source.
        length: number of batches; infinity if there is no end, None if unknown.
    """

    def __init__(self, name: str, source: Any, check: Callable[[Any], Any] | None = None) -> None:
        self.name, self.source, self._check = name, source, check
        self.length = _length(source)

    @property
    def indexed(self) -> bool:
        """Whether batches can be read in any order."""
        return isinstance(self.source, keras.utils.PyDataset)

    @property
    def once(self) -> bool:
        """Whether it can be read only once."""
        return hasattr(self.source, "__next__")

    def __getitem__(self, index: int) -> Batch:
        """A batch of an indexed stream."""
        return self._batch(self.source[index], index)

    def __iter__(self) -> Iterator[Batch]:
        """All batches, in the order of the source."""
        if self.indexed:
            yield from map(self.__getitem__, count() if self.length == math.inf else range(int(self.length or 0)))
            return
        source = self.source
        if hasattr(source, "as_numpy_iterator"):
            source = source.as_numpy_iterator()
        elif callable(source) and not hasattr(source, "__iter__"):
            source = source()
            if is_stream(source) and not hasattr(source, "__next__"):
                yield from Stream(self.name, source, self._check)
                return
        try:
            batches = iter(source)
        except TypeError:
            raise self._refused("a source of batches, or a function that returns one", shown(source)) from None
        yield from (self._batch(batch, i) for i, batch in enumerate(batches))

    @property
    def repeats(self) -> bool:
        """Whether two readings begin with the same batch, as without shuffling and random augmentation."""
        if self.once:
            return True
        one, other = (keras.tree.flatten(next(iter(self), ())) for _ in range(2))
        return len(one) == len(other) and all(map(np.array_equal, one, other))

    def readable(self) -> Stream:
        """The stream, if a training can read it: more than once, and to its end if it is evaluated.

        Raises:
            ValueError: for an iterator, and for a split beside `train` without an end.
        """
        if self.once:
            raise self._refused("a stream that can be read again, such as a function that returns it", _kind(self))
        if self.name != "train" and self.length == math.inf:
            raise self._refused("a dataset with an end, to evaluate it", _kind(self))
        return self

    def _batch(self, given: Any, index: int) -> Batch:
        lengths = (2, 3) if self.name == "train" else (2,)
        if not isinstance(given, tuple | list) or len(given) not in lengths:
            received = f"{len(given)} parts" if isinstance(given, tuple | list) else shown(given)
            weighted = " or (x, y, sample_weight)" if self.name == "train" else ""
            raise self._refused(f"batches (x, y){weighted}", f"{received} as batch {index}")
        batch = tuple(keras.tree.map_structure(np.asarray, part) for part in given)
        shapes = [np.shape(leaf) for leaf in keras.tree.flatten(batch)]
        if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            received = f"arrays of shapes {', '.join(map(str, shapes))} in batch {index}"
            raise self._refused("batches whose arrays have as many rows as there are examples", received, _BATCH_IT)
        return batch if self._check is None else (*self._check(batch[:2]), *batch[2:])

    def _refused(self, expected: str, received: str, remedy: str = "") -> ValueError:
        return ValueError(f"Split {self.name!r}: Expected {expected}{remedy}. Received: {received}.")


_BATCH_IT = "; make batches of a tf.data.Dataset of single examples by .batch(n)"


def is_stream(part: Any) -> bool:
    """Whether a split, as the user gives it, comes in batches."""
    if isinstance(part, keras.utils.PyDataset) or hasattr(part, "element_spec") or hasattr(part, "batch_sampler"):
        return True
    return callable(part) or hasattr(part, "__next__")


def read_streams(data: Any, names: tuple[str, ...], most: int | None = None) -> Any:
    """Splits whose streams are read into arrays, once; data without streams are returned as they are.

    Prints how much was read to standard error.

    Args:
        data: splits as attributes or keys.
        names: their names.
        most: bytes that all arrays together may need; None for a third of the free memory.

    Raises:
        ValueError: for streams without an end, too large ones, and batches that cannot be joined.
    """
    read = partial(data.get) if isinstance(data, Mapping) else partial(_attribute, data)
    parts = {name: read(name) for name in names}
    if not any(map(is_stream, parts.values())):
        return data
    left = free_memory_bytes() // SHARE_OF_MEMORY if most is None else most
    for name, part in parts.items():
        if is_stream(part):
            stream = Stream(name, part)
            parts[name] = arrays = _read(stream, left)
            if not stream.repeats:
                warnings.warn(
                    f"Expected {_kind(stream)} that gives the same batches at every reading, so that the run is found "
                    f"again on a resume. Received: other batches in split {name!r}. Leave out shuffling, since a "
                    "search shuffles itself, and put random augmentation into the model.",
                    stacklevel=4,
                )
            left -= sum(array.nbytes for array in keras.tree.flatten(arrays))
    return {**parts, "without_validation": bool(read("without_validation"))}


def _attribute(data: Any, name: str) -> Any:
    return getattr(data, name, None)


def _length(source: Any) -> float | None:
    if isinstance(source, keras.utils.PyDataset):
        return math.inf if source.num_batches is None else int(source.num_batches)
    if hasattr(source, "cardinality"):
        found = int(source.cardinality())
        return {-1: math.inf, -2: None}.get(found, found)
    try:
        return len(source)
    except TypeError:
        return None


def _read(stream: Stream, most: int) -> Batch:
    if stream.length == math.inf:
        raise stream._refused("a dataset with an end, to read it into arrays", _kind(stream), _FIT)
    batches: list[list[np.ndarray]] = []
    first: Batch = ()
    size, examples, said = 0, 0, time.monotonic()
    for batch in stream:
        leaves = keras.tree.flatten(batch)
        if first and _structure(batch) != _structure(first):
            raise stream._refused("batches of one structure", f"another one in batch {len(batches)}")
        first = first or batch
        batches.append(leaves)
        size += sum(leaf.nbytes for leaf in leaves)
        examples += len(leaves[0])
        expected = size if len(batches) > 1 or stream.length is None else size * int(stream.length)
        if max(size, expected) > most:
            received = f"{_kind(stream)} of {_megabytes(max(size, expected))} or more"
            allowed = f"data of at most {_megabytes(most)}, to read them into arrays"
            raise stream._refused(allowed, received, f"{_FIT} or allow more by Training(data_memory=...)")
        if time.monotonic() - said > _SECONDS:
            said = time.monotonic()
            _say(f"Reading {stream.name}: {examples:,} examples, {_megabytes(size)} ...")
    if not batches:
        once = ", which can be read only once: give a function that returns it" if stream.once else ""
        raise stream._refused("batches", f"none from {_kind(stream)}{once}")
    _say(f"Read {stream.name}: {examples:,} examples, {_megabytes(size)}.")
    joined = []
    for i in range(len(batches[0])):
        try:
            joined.append(np.concatenate([leaves[i] for leaves in batches]))
        except ValueError as error:  # e.g. sentences padded to the longest of their batch
            remedy = "; pad them all to one length"
            raise stream._refused("batches whose examples have one shape", str(error), remedy) from None
    result: Batch = keras.tree.pack_sequence_as(first, joined)
    return result


_FIT = "; train from the stream by engine='fit'"


def _structure(batch: Batch) -> Any:
    return keras.tree.map_structure(lambda leaf: None, batch)


def _kind(stream: Stream) -> str:
    kind = type(stream.source)
    return f"a {kind.__name__}" if not callable(stream.source) else shown(stream.source)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
