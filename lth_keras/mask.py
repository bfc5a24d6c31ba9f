"""Masks: boolean arrays that state which weights of a model are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lth_keras.arrays import LazyArrays

BoolArray = npt.NDArray[np.bool_]
Shape = tuple[int, ...]

_NAMES_SHOWN = 5


class PackedBits(NamedTuple):
    """The mask of one weight with eight entries per byte, for files.

    Attributes:
        bits: uint8 array of shape `(ceil(size / 8),)`; entries in C order, the first in the highest bit; unused bits
            of the last byte are zero.
        shape: shape of the mask.
    """

    bits: npt.NDArray[np.uint8]
    shape: Shape


class Mask(Mapping[str, BoolArray]):
    """An ordered, immutable mapping from weight key to boolean array; True is kept.

    `mask * weights` is the sparse subnetwork `m ⊙ θ` of Frankle & Carbin (2019,
    arXiv:1803.03635), section 1. Masks are equal if their keys (in any order), shapes and bits
    are.

    Args:
        arrays: weight key (`"dense/kernel"`) to an array of the weight's shape, boolean or of
            exact zeros and ones.
        copy: False to use boolean arrays without a copy and make them read-only; no other code may write to them. The
            arrays of a mask are read-only already and never copied.

    Raises:
        TypeError: a key that is not a string.
        ValueError: no weights, a weight without elements, or a value other than 0 and 1.

    Example:
    >>> mask = Mask({"dense/kernel": np.array([[1, 0], [1, 1]])})
    >>> mask.density, mask.kept, mask["dense/kernel"].dtype
    (0.75, 3, dtype('bool'))
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, npt.ArrayLike], *, copy: bool = True) -> None:
        if isinstance(arrays, Mask):
            self._arrays: dict[str, BoolArray] = arrays._arrays
            return
        if not arrays:
            raise ValueError(
                "Expected a mask of at least one weight. Received: no weights; the model has nothing to prune."
            )
        self._arrays = {key: _read_only_bits(key, value, copy) for key, value in arrays.items()}

    @classmethod
    def ones(cls, shapes: Mapping[str, Shape]) -> Mask:
        """A mask that keeps every weight. Args: `shapes`, weight key to shape."""
        return cls({key: np.ones(shape, bool) for key, shape in shapes.items()}, copy=False)

    @classmethod
    def zeros(cls, shapes: Mapping[str, Shape]) -> Mask:
        """A mask that prunes every weight. Args: `shapes`, weight key to shape."""
        return cls({key: np.zeros(shape, bool) for key, shape in shapes.items()}, copy=False)

    def __getitem__(self, key: str) -> BoolArray:
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def size(self) -> int:
        """Number of weights, kept or not."""
        return sum(array.size for array in self._arrays.values())

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return sum(self.counts().values())

    @property
    def density(self) -> float:
        """Share of the weights kept, in [0, 1]: 1 - sparsity."""
        return self.kept / self.size

    @property
    def shapes(self) -> dict[str, Shape]:
        """Weight key to shape."""
        return {key: array.shape for key, array in self._arrays.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Weight key to number of weights, kept or not."""
        return {key: array.size for key, array in self._arrays.items()}

    def counts(self) -> dict[str, int]:
        """Weight key to number of weights kept."""
        return {key: int(np.count_nonzero(array)) for key, array in self._arrays.items()}

    def densities(self) -> dict[str, float]:
        """Weight key to share kept, in [0, 1]."""
        return {key: kept / self._arrays[key].size for key, kept in self.counts().items()}

    def is_subset(self, other: Mask) -> bool:
        """Whether `other` keeps every weight that this mask keeps. Masks of a search are nested.

        Raises:
            ValueError: `other` masks other weights.
        """
        self.check_same_weights(other)
        # On booleans a > b is "a and not b", in one temporary array.
        return not any(np.greater(self[key], other[key]).any() for key in self)

    def jaccard(self, other: Mask) -> float:
        """Overlap with `other` over all weights: `|both| / |either|`; 1.0 if both are empty.

        Raises:
            ValueError: `other` masks other weights.
        """
        overlaps = self._overlaps(other).values()
        return _ratio(sum(both for both, _ in overlaps), sum(either for _, either in overlaps))

    def jaccards(self, other: Mask) -> dict[str, float]:
        """Overlap with `other` within each weight: key to `|both| / |either|`; see `jaccard`."""
        return {key: _ratio(*overlap) for key, overlap in self._overlaps(other).items()}

    def check_same_weights(self, other: Mapping[str, Any]) -> None:
        """Checks that `other` has this mask's keys and shapes; their order does not matter.

        Args:
            other: a mask, weight key to array (lazy arrays are not computed), or weight key to shape.

        Raises:
            TypeError: for an object that is not a mapping.
            ValueError: names missing and unexpected keys and differing shapes.
        """
        if not isinstance(other, Mapping):
            raise TypeError(f"Expected a mapping of each weight's key to an array. Received: a {type(other).__name__}.")
        if isinstance(other, Mask | LazyArrays):
            theirs = other.shapes
        else:
            theirs = {key: tuple(getattr(value, "shape", value)) for key, value in other.items()}
        ours = self.shapes
        differing = [
            f"{key} is {theirs[key]} instead of {shape}"
            for key, shape in ours.items()
            if key in theirs and theirs[key] != shape
        ]
        findings = {
            "missing": [key for key in ours if key not in theirs],
            "unexpected": [key for key in theirs if key not in ours],
            "shapes": differing,
        }
        if any(findings.values()):
            found = "; ".join(f"{name}: {_listed(what)}" for name, what in findings.items() if what)
            raise ValueError(
                f"Expected the {len(ours)} weights of this mask, {_listed(ours)}, with their "
                f"shapes. Received: {found}. Is it a mask of another model?"
            )

    def pack(self) -> dict[str, PackedBits]:
        """The mask with eight entries per byte, for files. `unpack` is the inverse."""
        return {key: PackedBits(np.packbits(array), array.shape) for key, array in self._arrays.items()}

    @classmethod
    def unpack(cls, packed: Mapping[str, PackedBits]) -> Mask:
        """The mask that `pack` packed.

        Raises:
            ValueError: bits that are not uint8, or more or fewer than the shape needs.
        """
        return cls({key: _unpacked(key, *bits_and_shape) for key, bits_and_shape in packed.items()}, copy=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self.shapes == other.shapes and all(np.array_equal(self[key], other[key]) for key in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        weights = "weight" if len(self) == 1 else "weights"
        return f"Mask(density={self.density:.3g}, kept={self.kept} of {self.size}, {len(self)} {weights})"

    def __reduce__(self) -> tuple[type[Mask], tuple[dict[str, BoolArray]]]:
        # Copied and unpickled arrays are writeable: the constructor makes them read-only again.
        return Mask, (self._arrays,)

    def _overlaps(self, other: Mask) -> dict[str, tuple[int, int]]:
        self.check_same_weights(other)
        ours, theirs = self.counts(), other.counts()
        overlaps = {}
        for key, array in self._arrays.items():
            both = int(np.count_nonzero(array & other[key]))
            overlaps[key] = both, ours[key] + theirs[key] - both
        return overlaps


def _read_only_bits(key: str, value: npt.ArrayLike, copy: bool) -> BoolArray:
    if not isinstance(key, str):
        raise TypeError(f"Expected weight keys that are strings. Received: {key!r}.")
    array = np.asarray(value)
    if array.size == 0:
        raise ValueError(
            f"Expected weights with at least one element. Received: shape {array.shape} for "
            f"{key!r}; leave it out of the mask."
        )
    if array.dtype != bool and not np.all((array == 0) | (array == 1)):
        raise ValueError(
            f"Expected booleans, or zeros and ones, as the mask of {key!r}. Received: other "
            f"values, dtype {array.dtype}; compare scores with a threshold to get a mask."
        )
    bits: BoolArray = np.array(array, dtype=bool, order="C", copy=copy or None)
    bits.flags.writeable = False
    return bits


def count_kept(bits: npt.NDArray[np.uint8]) -> int:
    """Number of weights that packed bits keep."""
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def check_packed(key: str, bits: npt.NDArray[np.uint8], shape: Shape) -> None:
    """Checks that `Mask.unpack` takes the packed mask of a weight.

    Raises:
        ValueError: bits that are not uint8, or more or fewer than the shape needs.
    """
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),) or min(shape, default=0) < 0:
        raise ValueError(
            f"Expected {-(-size // 8)} bytes (uint8, one axis) as the packed mask of {key!r} with "
            f"shape {tuple(shape)}. Received: dtype {bits.dtype}, shape {bits.shape}; the file may "
            "be damaged."
        )


def _unpacked(key: str, bits: npt.NDArray[np.uint8], shape: Shape) -> BoolArray:
    check_packed(key, bits, shape)
    return np.unpackbits(bits, count=math.prod(shape)).view(bool).reshape(shape)


def _ratio(both: int, either: int) -> float:
    return both / either if either else 1.0


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
