"""Folders for data and for caches, and reading and writing cached arrays."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from datasets.leftovers import temporary_file
from datasets.npz import MOST_BYTES, read_npz


def cache_folder() -> Path:
    """Return the folder for arrays computed from data: $XDG_CACHE_HOME/lth_keras.

    Without that variable ~/.cache/lth_keras.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lth_keras"


def data_folder() -> Path:
    """Return the folder for data that no library caches: $LTH_DATA_DIR, else `cache_folder()`."""
    given = os.environ.get("LTH_DATA_DIR")
    return Path(given).expanduser() if given else cache_folder()


def content_hash(texts: Iterable[str]) -> str:
    """Return 32 hexadecimal digits of a SHA-256 of the texts and their order."""
    return texts_sha256(texts)[:32]


def texts_sha256(texts: Iterable[str]) -> str:
    """Return the SHA-256 of the texts in order, each preceded by its length, as hexadecimal digits."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
    """Return the arrays `names` of the npz file at `path`; None if there is no such file.

    Verifies the checksums of the zip format.

    Raises:
        ValueError: if the file is truncated, changed, not an npz, or lacks an array; or if file or arrays have more
            than `MOST_BYTES`.
        OSError: if it cannot be opened.
    """
    if not path.is_file():
        return None
    content = read_bytes(path, MOST_BYTES)
    try:
        return read_npz(content, list(names))
    except Exception as error:  # zipfile, zlib and numpy raise different errors
        raise ValueError(f"{type(error).__name__}: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a plain npz file atomically.

    Raises:
        OSError: if it cannot be written. No partial file is left.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # wrong stubs
    write_bytes(path, content.getvalue())


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
        ValueError: if it has more than `most_bytes`.
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"Expected at most {most_bytes:,} bytes in {path.name}. Received: more.")
    return content


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; create missing folders.

    Raises:
        OSError: if it cannot be written. No partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as (temporary, descriptor):
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def set_aside(path: Path, why: Exception) -> None:
    """Rename a damaged file of the cache to `<name>.damaged`, with a warning."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        os.replace(path, aside)
        fate = f"set aside as {aside}"
    except OSError as error:
        fate = f"left there, as it cannot be renamed ({error})"
    warnings.warn(f"The cache file {path} is damaged ({why}): {fate}, and made again.", stacklevel=2)
