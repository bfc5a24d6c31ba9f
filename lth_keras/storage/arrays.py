"""Arrays and packed masks in groups of an HDF5 file, each with a checksum."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from lth_keras.mask import Mask, PackedBits, Shape, check_packed, count_kept


def write_array(group: h5py.Group, name: str, values: np.ndarray, compression: str | None = None) -> h5py.Dataset:
    """Write `values` at `name` below `group`, with a checksum, so that a changed byte raises an error."""
    checked = values.size > 0 and values.ndim > 0  # HDF5 has no checksums for scalars
    return group.create_dataset(name, data=values, fletcher32=checked, compression=compression if checked else None)


def write_json(group: h5py.Group, name: str, values: Mapping[str, Any]) -> None:
    """Write JSON values at `name` below `group`, packed."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False).encode()
    write_array(group, name, np.frombuffer(text, np.uint8), compression="gzip")


def read_json(group: h5py.Group, name: str) -> dict[str, Any]:
    """What `write_json` wrote; empty if there is nothing. Raises ValueError for anything else."""
    found = json.loads(group[name][()].tobytes()) if name in group else {}
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} as {name}")
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


def read_mask(group: h5py.Group) -> Mask:
    """The mask that `write_mask` wrote."""
    return Mask.unpack(dict(packed_weights(group)))


def packed_weights(group: h5py.Group) -> Iterator[tuple[str, PackedBits]]:
    """A mask's weights in order, as (key, packed bits), checked; one is in memory at a time."""
    for key, dataset in ordered(group):
        bits, shape = dataset[()], tuple(int(n) for n in dataset.attrs["shape"])
        check_packed(key, bits, shape)
        yield key, PackedBits(bits, shape)


def counted(group: h5py.Group) -> dict[str, tuple[Shape, int]]:
    """Weight key to shape and number of kept weights of a packed mask."""
    return {key: (packed.shape, count_kept(packed.bits)) for key, packed in packed_weights(group)}


def read_kinds(group: h5py.Group) -> dict[str, str]:
    """The layer kinds that `write_mask` wrote; empty in older files."""
    return {key: str(dataset.attrs["kind"]) for key, dataset in ordered(group) if "kind" in dataset.attrs}
