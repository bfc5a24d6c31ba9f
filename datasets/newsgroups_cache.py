"""scikit-learn's cache of 20 Newsgroups, a compressed pickle, read without running anything that it names.

A pickle may call any function of any module. Here the names in it stand for classes of this module that keep what they
are given and do nothing, so that texts and labels come out and nothing else happens.
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

_MOST_INSTRUCTIONS = 2**13  # beside those for texts; scikit-learn's cache has some hundred
_TEXTS = {"MEMOIZE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "FRAME", "BINPUT", "LONG_BINPUT"}


class Part(NamedTuple):
    """What the cache holds of a split.

    Attributes:
        texts: the postings.
        labels: shape (n,), int64: the place of a posting's group in `groups`.
        groups: names.
    """

    texts: list[str]
    labels: np.ndarray
    groups: tuple[str, ...]


def read_cache(content: bytes) -> dict[str, Part]:
    """Return what is in the bytes of scikit-learn's file, by split.

    Raises:
        ValueError: if it is no such file, or damaged, or unpacks to more than `MOST_UNPACKED` bytes.
        pickle.UnpicklingError: if it names what no cache of 20 Newsgroups needs.
    """
    pickled = _unpacked(content)
    instructions = sum(opcode.name not in _TEXTS for opcode, _, _ in pickletools.genops(pickled))
    if instructions > _MOST_INSTRUCTIONS:  # so that nothing is nested deeper than Python's own functions can follow
        raise ValueError(f"Expected at most {_MOST_INSTRUCTIONS:,} instructions. Received: {instructions:,}.")
    try:
        cache = _Reader(io.BytesIO(pickled)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
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
    """In place of scikit-learn's."""

    def __setstate__(self, state: Any) -> None:
        """Has no attributes beside its items."""


class _Ignored:
    """In place of what is only an argument of something else."""


class _Type:
    """In place of `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, ""

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """In place of an array that is made empty and then given its contents: pickle protocols 2 to 4."""

    def __init__(self, *_: Any) -> None:
        self.shape, self.type, self.content = (), _Type(), b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, _, self.content = state


class _FromBuffer(_Array):
    """In place of an array that is made of its contents: pickle protocol 5."""

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


class _Reader(pickle._Unpickler):  # the one in Python: in C, numbers of the memo take as much memory as they are large
    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
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
