"""The parts of a ticket in a file: HDF5, which h5py alone opens, or safetensors."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lth_keras.storage import contained, safetensors_module, trailer, verify_checksum, write_bytes

FORMAT, VERSION = "lth_keras ticket", 1
SAFETENSORS = ".safetensors"
"""The ending of a path to a safetensors file; others are HDF5."""
_BINARY, _TEXTS = ("mask", "values"), ("index", "config")
_LONGEST = 1 << 26  # bytes of an index or a configuration
_SUM = "sha256"


@dataclass(frozen=True)
class Parts:
    """The parts of a ticket.

    Attributes:
        mask: bits of all masks, most significant first, each padded to whole bytes.
        values: bytes of all weights.
        index: JSON, what these are.
        config: JSON, Keras' configuration of the model.
    """

    mask: np.ndarray
    values: np.ndarray
    index: bytes
    config: bytes


@dataclass(frozen=True)
class Opened:
    """An open file whose checksum is right.

    Attributes:
        index: as in `Parts`.
        config: as in `Parts`.
        sizes: bytes of mask and values.
        read: name -> one of these, uint8.
    """

    index: bytes
    config: bytes
    sizes: tuple[int, int]
    read: Callable[[str], np.ndarray]


def write_parts(path: Path, parts: Parts, deflated: bool) -> None:
    """Writes a file, whose ending says the format.

    Args:
        path: is replaced when the file is complete.
        parts: of the ticket.
        deflated: whether to deflate the mask, in HDF5.

    Raises:
        ModuleNotFoundError: without safetensors, for its format.
        OSError: if it cannot be written.
    """
    if path.suffix == SAFETENSORS:
        texts = {name: getattr(parts, name).decode() for name in _TEXTS}
        own = {"format": FORMAT, "version": str(VERSION), _SUM: _sum(parts)}
        tensors = {name: getattr(parts, name) for name in _BINARY}
        write_bytes(path, safetensors_module().save(tensors, {**texts, **own}))
        return
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs.update(format=FORMAT, version=VERSION)
        opened.create_dataset("mask", data=parts.mask, compression="gzip" if deflated else None)
        opened.create_dataset("values", data=parts.values)
        for name in _TEXTS:
            opened.create_dataset(name, data=np.frombuffer(getattr(parts, name), np.uint8), compression="gzip")
    write_bytes(path, file.getbuffer(), trailer(file.getbuffer()))


@contextmanager
def opened_parts(path: Path) -> Iterator[Opened]:
    """Context: the open file; nothing of the size of its masks and values is in memory before they are read.

    Raises:
        ValueError: for another format or version, and a wrong checksum, of safetensors files when values are read.
    """
    with (_opened_safetensors if path.suffix == SAFETENSORS else _opened_hdf5)(path) as opened:
        yield opened


@contextmanager
def _opened_hdf5(path: Path) -> Iterator[Opened]:
    with path.open("rb") as file:
        if not verify_checksum(file):
            raise ValueError("no checksum at its end: it is cut, or of another program")
        with h5py.File(file, "r") as opened:
            list(contained(opened))
            _check_format(opened.attrs.get("format"), opened.attrs.get("version"))
            parts = {name: opened[name] for name in (*_TEXTS, *_BINARY)}
            wrong = [name for name, part in parts.items() if part.dtype != np.uint8 or part.ndim != 1]
            if wrong:
                raise ValueError(f"{', '.join(wrong)} of another type than bytes")
            _check_texts([len(parts[name]) for name in _TEXTS])
            index, config = (bytes(parts[name][()]) for name in _TEXTS)
            sizes = len(parts["mask"]), len(parts["values"])
            yield Opened(index, config, sizes, lambda name: np.asarray(parts[name][()]))


@contextmanager
def _opened_safetensors(path: Path) -> Iterator[Opened]:
    with path.open("rb"):  # a missing file is no damaged one
        pass
    with safetensors_module("safetensors").safe_open(path, framework="numpy") as opened:
        noted = opened.metadata() or {}
        version = noted.get("version")
        _check_format(noted.get("format"), VERSION if version == str(VERSION) else version)
        slices = {name: opened.get_slice(name) for name in _BINARY}
        wrong = [name for name, part in slices.items() if part.get_dtype() != "U8" or len(part.get_shape()) != 1]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} of another type than bytes")
        index, config = (noted[name].encode() for name in _TEXTS)
        _check_texts([len(index), len(config)])
        read: dict[str, np.ndarray] = {}

        def checked(name: str) -> np.ndarray:
            if not read:
                read.update({each: opened.get_tensor(each) for each in _BINARY})
                if _sum(Parts(read["mask"], read["values"], index, config)) != noted.get(_SUM):
                    raise ValueError(f"contents that do not fit its {_SUM}")
            return read[name]

        sizes = tuple(slices[name].get_shape()[0] for name in _BINARY)
        yield Opened(index, config, (sizes[0], sizes[1]), checked)


def _check_format(kind: Any, version: Any) -> None:
    if kind != FORMAT or version != VERSION:
        raise ValueError(f"format {kind!r}, version {version}; this release reads version {VERSION}")


def _check_texts(lengths: Sequence[int]) -> None:
    long = [name for name, length in zip(_TEXTS, lengths, strict=True) if length > _LONGEST]
    if long:
        raise ValueError(f"{', '.join(long)} of more than {_LONGEST:,} bytes")


def _sum(parts: Parts) -> str:
    found = hashlib.sha256()
    for part in (parts.mask.data, parts.values.data, parts.index, parts.config):
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()
