"""Reads arrays from untrusted npz files: checks sizes in headers before allocating memory."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_BYTES = 2**30
"""Limit for all arrays of a data set together. The largest data set, CIFAR-10, has 0.2 * 2**30."""

_HEADER = 65_536  # numpy's headers have some hundred bytes


def read_npz(content: bytes, names: Sequence[str], most_bytes: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays `names` from the bytes of an npz file.

    Raises:
        ValueError: if one is absent, has objects, or another size than its header says, or all have more than
            `most_bytes` together.
        zipfile.BadZipFile, zlib.error, EOFError: if the file is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: _member(archive, name) for name in names}
        check_size(sum(member.file_size for member in members.values()), most_bytes + _HEADER * len(members))
        return {name: _read(archive, name, member) for name, member in members.items()}


def check_size(size: int, most_bytes: int = MOST_BYTES) -> None:
    """Raise ValueError if arrays have more than `most_bytes`."""
    if size > most_bytes:
        raise ValueError(f"Expected arrays of at most {most_bytes:,} bytes. Received: {size:,} bytes.")


def size_of(shape: Any, dtype: Any) -> int:
    """Return the size in bytes of an array with this shape and type.

    Raises:
        ValueError: if the shape is invalid, or the type is not of numbers or text.
    """
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise ValueError(f"Expected a shape. Received: {shape!r}.")
    kind = np.dtype(dtype)
    if kind.hasobject or kind.fields is not None or kind.subdtype is not None:
        raise ValueError(f"Expected a type of numbers or text. Received: {dtype!r}.")
    return math.prod(shape) * kind.itemsize


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"Expected an array {name!r}. Received: {sorted(archive.namelist())[:20]}.") from None


def _read(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of a member, if its header states as many bytes as the archive has."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if header is None:
            raise ValueError(f"Expected {name} in version 1 or 2 of the format. Received: {version}.")
        shape, _, dtype = header(file)
        promised, there = size_of(shape, dtype), member.file_size - file.tell()
    if promised != there:
        raise ValueError(f"Expected {there:,} bytes of {name}, as the file has. Received: a header for {promised:,}.")
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # reading the end verifies the checksum
    return array
