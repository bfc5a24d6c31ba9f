"""Refuses HDF5 files that refer to other files, or that declare more data than they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

_MOST = 1100  # greatest compression: zlib compresses to 1/1032 at most
_LEAST = 1 << 16  # bytes that need not be stored, such as fill values
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


def contained(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """Every group and dataset of a file, once. Reads no values.

    Raises:
        ValueError: for soft and external links, external storage and virtual datasets, which read other files, and for
            datasets larger than the file can hold; names them.
    """
    seen: set[Any] = set()
    groups = [file["/"]]
    yield groups[0]
    while groups:
        group = groups.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"a {type(link).__name__} at {place!r}, which leads elsewhere")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_dataset(item, place)
            yield item


def _check_dataset(dataset: h5py.Dataset, place: str) -> None:
    layout = dataset.id.get_create_plist()
    if layout.get_external_count():
        raise ValueError(f"values of {place!r} in another file: {layout.get_external(0)[0]!r}")
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise ValueError(f"values of {place!r} in other datasets")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _LEAST + _MOST * stored and not _is_no_variable(dataset):
        raise ValueError(f"{place!r} declares {dataset.nbytes:,} bytes and has {stored:,}")


def _is_no_variable(dataset: h5py.Dataset) -> bool:
    """Whether it only represents a dimension: it has a size but no values."""
    name = dataset.attrs.get("NAME", b"")
    return isinstance(name, bytes | np.bytes_) and bytes(name).startswith(_NO_VARIABLE)
