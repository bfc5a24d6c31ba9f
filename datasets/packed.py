"""Data sets as plain npz parts of limited size, for machines without the libraries that read the originals."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from datasets.cache import data_folder, read_bytes, write_bytes
from datasets.download import scratch_folder
from datasets.errors import DataUnavailable
from datasets.npz import MOST_BYTES, check_size, read_npz, size_of

FORMAT = 1
MANIFEST = "manifest.json"
PART_MEGABYTES = 50.0
"""Default limit of a part in 10^6 bytes, which hosts of repositories and mail accept."""

_PART = r"part-\d+\.npz"
_MOST_MANIFEST = 2**24
_OVERHEAD = 1024  # upper bound of bytes beside an array's data: numpy's header and two zip entries
_WORTHWHILE = 0.9  # compress only to less than this share; other arrays load faster uncompressed
_PACKAGES = ("numpy", "scikit-learn", "nltk", "tensorflow", "tensorflow-datasets")


def packed_folder(name: str) -> Path:
    """Return the folder of the parts of a data set: $LTH_DATA_DIR/packed/<name>."""
    return data_folder() / "packed" / name


def is_packed(name: str) -> bool:
    """Whether there are parts of a data set: their manifest, which is written last, exists."""
    return (packed_folder(name) / MANIFEST).is_file()


def origin(name: str) -> str:
    """Return a phrase that names the packed parts as source, for `Splits.provenance` and lists."""
    return f"packed parts in {packed_folder(name)} (LTH_DATA_DIR)"


def write_packed(name: str, content: str, arrays: Mapping[str, np.ndarray], out: Path, part_bytes: int) -> list[Path]:
    """Write arrays as parts `<out>/<name>/part-000.npz`, ... and a manifest beside them.

    The folder is written atomically and replaces earlier parts. The same arrays give the same bytes.

    Args:
        name: the data set.
        content: a description of the arrays; `read_packed` checks it.
        arrays: with at least one axis each, without objects.
        out: the parent of the parts' folder.
        part_bytes: every part is smaller than this. Arrays are split between rows of their first axis.

    Returns:
        The paths of the parts.

    Raises:
        ValueError: if a part is too small for a row, or the folder holds other files.
        OSError: if they cannot be written. No partial data are left.
    """
    parts = _plan(name, arrays, part_bytes)
    folder = out / name
    _check_replaceable(folder)
    with scratch_folder(out) as scratch:
        made = scratch / "made"
        described: list[dict[str, Any]] = []
        for number, rows in enumerate(parts):
            packed = _npz({key: arrays[key][start:stop] for key, (start, stop) in rows.items()})
            file = f"part-{number:03d}.npz"
            write_bytes(made / file, packed)
            described.append({"file": file, "bytes": len(packed), "sha256": _sha256(packed), "rows": rows})
        manifest = {
            "format": FORMAT,
            "name": name,
            "content": content,
            "made": {"command": f"python -m datasets pack {name}", "versions": _versions()},
            "arrays": {key: _described(array) for key, array in arrays.items()},
            "parts": described,
        }
        write_bytes(made / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
        if folder.exists():
            os.replace(folder, scratch / "before")
        os.replace(made, folder)
    return [folder / part["file"] for part in described]


def read_packed(name: str, content: str, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Return arrays from the parts of a data set, as they were before packing.

    Only needed parts are read. Checksums of parts and arrays are verified. Memory is allocated after checking that the
    arrays have no more than `npz.MOST_BYTES` together.

    Args:
        name: the data set.
        content: the expected description of the arrays.
        keys: of the arrays to read.

    Raises:
        DataUnavailable: if a part is missing, truncated, changed or of another packing, or the parts have other data or
            another version of the format.
    """
    folder = packed_folder(name)
    try:
        manifest = json.loads(read_bytes(folder / MANIFEST, _MOST_MANIFEST))
        for field, expected in {"format": FORMAT, "name": name, "content": content}.items():
            if manifest[field] != expected:
                raise ValueError(f"Expected {field} {expected!r} in {MANIFEST}. Received: {manifest[field]!r}.")
        return _assemble(folder, manifest, list(keys))
    except Exception as error:  # json, zipfile, zlib and numpy raise different errors
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise DataUnavailable(
            name,
            f"the packed parts in {folder} cannot be read: {said}",
            f"Copy the whole folder again, or delete it and where the data are: python -m datasets pack {name}",
        ) from error


def _plan(name: str, arrays: Mapping[str, np.ndarray], part_bytes: int) -> list[dict[str, tuple[int, int]]]:
    """For each part the rows [start, stop) of its arrays, by size before compression."""
    row_bytes = {key: array[:1].nbytes for key, array in arrays.items()}
    least = max(row_bytes.values()) + _OVERHEAD + 1
    if part_bytes < least:
        raise ValueError(
            f"{name}: Expected a part size of at least {least / 1e6} MB, as a part holds one example or more. "
            f"Received: {part_bytes / 1e6:g} MB."
        )
    parts: list[dict[str, tuple[int, int]]] = [{}]
    free = part_bytes - 1
    for key, array in arrays.items():
        start = 0
        while start < len(array):
            fitting = (free - _OVERHEAD) // max(row_bytes[key], 1)
            if fitting < 1:
                parts.append({})
                free = part_bytes - 1
                continue
            stop = min(len(array), start + fitting)
            parts[-1][key] = (start, stop)
            free -= (stop - start) * row_bytes[key] + _OVERHEAD
            start = stop
    return parts


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz file without dates, compressed if that makes it much smaller."""
    files = []
    for save in (np.savez_compressed, np.savez):
        file = io.BytesIO()
        save(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # wrong stubs
        files.append(file.getvalue())
        if len(files[0]) < _WORTHWHILE * sum(array.nbytes for array in arrays.values()):
            break
    return files[-1]


def _assemble(folder: Path, manifest: dict[str, Any], keys: list[str]) -> dict[str, np.ndarray]:
    described = {key: manifest["arrays"][key] for key in keys}
    check_size(sum(size_of(entry["shape"], entry["dtype"]) for entry in described.values()))
    arrays = {key: np.empty(entry["shape"], np.dtype(entry["dtype"])) for key, entry in described.items()}
    for part in manifest["parts"]:
        wanted = {key: rows for key, rows in part["rows"].items() if key in arrays}
        if not wanted:
            continue
        content = _part(folder, part, len(manifest["parts"]))
        for key, rows in read_npz(content, list(wanted)).items():
            start, stop = wanted[key]
            arrays[key][start:stop] = rows
    for key, array in arrays.items():
        if _described(array) != described[key]:
            raise ValueError(f"Expected {key} to be {described[key]}. Received: {_described(array)}.")
    return arrays


def _part(folder: Path, part: dict[str, Any], count: int) -> bytes:
    """The bytes of a part, if they agree with the manifest."""
    if not re.fullmatch(_PART, part["file"]):
        raise ValueError(f"Expected parts in {folder.name}, as part-000.npz. Received: {part['file']!r}.")
    path = folder / part["file"]
    if not path.is_file():
        raise ValueError(f"Expected {count} parts. {path.name} is missing.")
    content = read_bytes(path, MOST_BYTES)
    if len(content) != part["bytes"]:
        raise ValueError(f"Expected {part['bytes']:,} bytes in {path.name}. Received: {len(content):,}.")
    if _sha256(content) != part["sha256"]:
        raise ValueError(f"Expected {path.name} as it was packed. Received: another part, or a changed one (SHA-256).")
    return content


def _described(array: np.ndarray) -> dict[str, Any]:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": _sha256(content)}


def _sha256(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    """Versions of installed packages that may have read the originals."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _check_replaceable(folder: Path) -> None:
    """Raise ValueError if the folder holds other files, which would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"Expected {folder} to be free, or a folder of packed parts. Received: a file.")
    others = [path.name for path in folder.iterdir() if not re.fullmatch(rf"{_PART}|manifest\.json", path.name)]
    if others:
        raise ValueError(
            f"Expected nothing but packed parts in {folder}, as they are replaced. Received: {sorted(others)}."
        )
