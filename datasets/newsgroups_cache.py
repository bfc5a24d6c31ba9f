"""Reads scikit-learn's cache of 20 Newsgroups, a compressed pickle, without running code that it names.

A pickle may call any function of any module. Here all names in it are replaced by classes of this module that only
store their arguments.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zlib
from typing import Any, NamedTuple

import numpy as np

MOST_BYTES = 2**26
"""Of the file; as scikit-learn writes it, it has 0.23 * 2**26."""

MOST_UNPACKED = 2**27
"""Of the pickle in it, which has 0.31 * 2**27."""

_MOST_INSTRUCTIONS = 2**13  # without those for texts; scikit-learn's cache has a few hundred
_TEXTS = {"MEMOIZE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "FRAME", "BINPUT", "LONG_BINPUT"}


class Part(NamedTuple):
    """A split in the cache.

    Attributes:
        texts: the postings.
        labels: shape (n,), int64: the index of a posting's group in `groups`.
        groups: their names.
    """

    texts: list[str]
    labels: np.ndarray
    groups: tuple[str, ...]


def read_cache(content: bytes) -> dict[str, Part]:
    """Return the content of scikit-learn's file, by split.

    Raises:
        ValueError: if it is another file, damaged, or unpacks to more than `MOST_UNPACKED` bytes.
        pickle.UnpicklingError: if it names anything that a cache of 20 Newsgroups does not need.
    """
    pickled = _unpacked(content)
    instructions = sum(opcode.name not in _TEXTS for opcode, _, _ in pickletools.genops(pickled))
    if instructions > _MOST_INSTRUCTIONS:  # limits the depth of nesting
        raise ValueError(f"Expected at most {_MOST_INSTRUCTIONS:,} instructions. Received: {instructions:,}.")
    try:
        cache = _Reader(io.BytesIO(pickled)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may raise any error
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(cache, dict) or not all(isinstance(bunch, _Bunch) for bunch in cache.values()):
        raise ValueError(f"Expected a dictionary of scikit-learn's bunches. Received: {type(cache).__name__}.")
    return {str(split): _part(bunch) for split, bunch in cache.items()}


def _unpacked(content: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        pickled = decompressor.decompress(content, MOST_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"zlib.error: {error}") from error
    if not decompressor.eof:
        expected = f"Expected a whole zlib stream of at most {MOST_UNPACKED:,} bytes"
        raise ValueError(f"{expected}. Received: one that is longer or cut off.")
    return pickled


class _Bunch(dict[str, Any]):
    """Replaces scikit-learn's."""

    def __setstate__(self, state: Any) -> None:
        """Has no attributes beside its items."""


class _Ignored:
    """Replaces objects that are only arguments of others."""


class _Type:
    """Replaces `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, ""

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """Replaces an array that is made empty and then filled: pickle protocols 2 to 4."""

    def __init__(self, *_: Any) -> None:
        self.shape, self.type, self.content = (), _Type(), b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, _, self.content = state


class _FromBuffer(_Array):
    """Replaces an array that is made from its contents: pickle protocol 5."""

    def __init__(self, content: Any = b"", kind: Any = None, shape: Any = (), *_: Any) -> None:
        self.shape, self.type, self.content = shape, kind, content


_NAMES: dict[tuple[str, str], type] = {
    ("sklearn.utils._bunch", "Bunch"): _Bunch,
    ("sklearn.utils", "Bunch"): _Bunch,
    ("sklearn.datasets.base", "Bunch"): _Bunch,
    ("numpy", "ndarray"): _Ignored,
    ("numpy", "dtype"): _Type,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
}


class _Reader(pickle._Unpickler):  # in Python: the C version allocates memory in proportion to the memo's numbers
    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of a name."""
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"Expected nothing but texts, lists and arrays of numbers. Received: {module}.{name}, which is not run."
            ) from None


def _part(bunch: _Bunch) -> Part:
    texts, groups = bunch.get("data"), bunch.get("target_names")
    for name, values in {"data": texts, "target_names": groups}.items():
        if type(values) is not list or not all(type(value) is str for value in values):
            raise ValueError(f"Expected a list of texts under {name!r}. Received: another object.")
    assert texts is not None and groups is not None
    return Part(texts, _numbers(bunch.get("target")), tuple(groups))


def _numbers(array: Any) -> np.ndarray:
    kind = array.type if isinstance(array, _Array) else None
    if not isinstance(kind, _Type) or kind.code not in ("i4", "i8") or kind.order not in ("<", ">"):
        raise ValueError("Expected an array of whole numbers under 'target'. Received: another object.")
    dtype = np.dtype(f"{kind.order}{kind.code}")
    content, shape = array.content, array.shape
    if not isinstance(content, bytes | bytearray) or shape != (len(content) // dtype.itemsize,):
        raise ValueError("Expected as many numbers under 'target' as it says. Received: others.")
    return np.frombuffer(content, dtype).astype(np.int64)
