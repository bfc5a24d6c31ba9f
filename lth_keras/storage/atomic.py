"""Atomic writes: a temporary file beside the target is flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_OURS = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp|\.writable-\d+\.tmp")
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
CHUNK_BYTES = 1 << 26
"""Bytes per write call; some systems refuse more than 2 GiB at once."""


def write_bytes(path: Path, *content: bytes | bytearray | memoryview) -> None:
    """Atomically replace the file at `path` by the concatenation of `content`.

    The bytes are written to a temporary file in the same directory, flushed to the disk, and renamed to `path`. A
    reader, or a resume after a kill, finds the old file or the new one. HDF5 files are composed in memory first, since
    the HDF5 library does not recover from a full disk.

    Raises:
        OSError: The disk is full or the directory cannot be written. An earlier file at `path` is intact, and no
            temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with explained(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in itertools.chain.from_iterable(chunks(memoryview(part)) for part in content):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # also after a KeyboardInterrupt no partial file may stay
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(path.parent)


def probe(directory: Path) -> None:
    """Raises OSError if no file can be created in `directory`."""
    path = directory / f".writable-{os.getpid()}.tmp"
    path.touch()
    path.unlink(missing_ok=True)  # the process with the lock may have removed it as a leftover


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Context: an OSError becomes one that names `path`, the problem with the disk, and its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            remedy = "free space on that disk"
        elif error.errno == errno.EFBIG:
            remedy = "raise the limit on the size of files (ulimit -f)"
        else:
            remedy = "make it writable"
        raise OSError(
            error.errno,
            f"Expected: a disk that takes this file. Received: {error.strerror}; {remedy}, then run the same command "
            "again: earlier files are intact, and the command resumes from them",
            str(path),
        ) from error


def chunks(content: memoryview) -> Iterator[memoryview]:
    """Yields the parts of `content` that are each written by one call."""
    flat = content.cast("B")
    for start in range(0, len(flat), CHUNK_BYTES):
        yield flat[start : start + CHUNK_BYTES]


def sync_directory(directory: Path) -> None:
    """Flush the names in `directory` to the disk, if the system can."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # Windows cannot open directories
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync one
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Delete temporary files of killed processes under `directory`. No other process may be writing there.

    Only files with names that this module makes are deleted.
    """
    for leftover in directory.rglob(".*.tmp"):
        if _OURS.fullmatch(leftover.name):
            with contextlib.suppress(OSError):
                leftover.unlink()
