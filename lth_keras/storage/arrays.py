"""Arrays and packed masks in groups of an HDF5 file, each with a checksum; arrays of a run from those of its levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lth_keras.mask import Mask, PackedBits, check_packed

Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]
"""A variable of run.h5: dimensions, values and attributes."""


def write_array(group: h5py.Group, name: str, values: np.ndarray, compression: str | None = None) -> h5py.Dataset:
    """Write `values` at `name` below `group`, with a checksum, so that a changed byte raises an error."""
    checked = values.size > 0 and values.ndim > 0  # HDF5 has no checksums for scalars
    return group.create_dataset(name, data=values, fletcher32=checked, compression=compression if checked else None)


def write_arrays(group: h5py.Group, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by key; `ordered` reads them in their order."""
    for position, (key, values) in enumerate(arrays.items()):
        write_array(group, key, np.asarray(values)).attrs["position"] = position


def write_kept(group: h5py.Group, weights: Mapping[str, np.ndarray], mask: Mask) -> None:
    """Write weights by key: of those with a mask what it keeps, in C order, of others all."""
    write_arrays(group, {key: w[mask[key]] if key in mask else w for key, w in weights.items()})


def read_kept(group: h5py.Group, mask: Mask) -> dict[str, np.ndarray]:
    """What `write_kept` wrote, with zeros for pruned weights.

    Raises:
        ValueError: It has another number of values than the mask keeps.
    """
    found: dict[str, np.ndarray] = {}
    for key, dataset in ordered(group):
        values = dataset[()]
        if key in mask:
            kept = mask[key]
            if values.shape != (int(kept.sum()),):
                raise ValueError(f"{values.shape} values of {key}, whose mask keeps {int(kept.sum()):,}")
            whole = np.zeros(kept.shape, values.dtype)
            whole[kept] = values
            values = whole
        found[key] = values
    return found


def ordered(group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    """Datasets below `group` by key ("dense/kernel" is nested), in the order they were written."""
    found: list[tuple[str, h5py.Dataset]] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    group.visititems(collect)
    return sorted(found, key=lambda pair: int(pair[1].attrs["position"]))


def write_mask(group: h5py.Group, mask: Mask, kinds: Mapping[str, str]) -> None:
    """Write a mask's bits with their shapes, and the layer kinds of the weights in `kinds`."""
    for position, (key, packed) in enumerate(mask.pack().items()):
        dataset = write_array(group, key, packed.bits)
        dataset.attrs["shape"] = np.asarray(packed.shape, np.int64)
        dataset.attrs["position"] = position
        if key in kinds:
            dataset.attrs["kind"] = kinds[key]


def packed_weights(group: h5py.Group) -> Iterator[tuple[str, PackedBits]]:
    """A mask's weights in order, as (key, packed bits), checked; one is in memory at a time."""
    for key, dataset in ordered(group):
        bits, shape = dataset[()], tuple(int(n) for n in dataset.attrs["shape"])
        check_packed(key, bits, shape)
        yield key, PackedBits(bits, shape)


def gathered(
    values: Iterable[Any],
    places: Iterable[Iterable[tuple[Any, ...]]],
    shape: tuple[int, ...],
    dtype: npt.DTypeLike = np.float64,
    fill: float = np.nan,
) -> np.ndarray:
    """An array of a run: the value of each level, None if it has none, at its indices, and `fill` elsewhere."""
    array = np.full(shape, fill, dtype)
    for value, indices in zip(values, places, strict=True):
        for index in indices if value is not None else ():
            array[index] = value
    return array
