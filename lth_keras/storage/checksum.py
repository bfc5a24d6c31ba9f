"""A SHA-256 of a whole HDF5 file, appended to it and verified before the HDF5 library opens the file.

HDF5 reads only up to the end that its header states, so any tool can open a file with these 56 bytes appended.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from typing import BinaryIO

MARK = "checksum"
"""An attribute of files with a checksum. It reveals that a checksum was cut off."""
_MAGIC = b"lth_keras SHA256"
_LENGTH = 8
_SIZE = len(_MAGIC) + _LENGTH + hashlib.sha256().digest_size
_CHUNK = 1 << 16
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OFFSETS = 13  # offset of the width of addresses in header versions 0 and 1; 9 in later ones
_RACY = 2e9  # ns: a younger file may still change within the resolution of its time stamp

_verified: set[tuple[int, ...]] = set()


def trailer(content: bytes | bytearray | memoryview) -> bytes:
    """The bytes to append to `content`, an HDF5 file's bytes."""
    digest = hashlib.sha256(content).digest()
    return _MAGIC + memoryview(content).nbytes.to_bytes(_LENGTH, "little") + digest


def verify(file: BinaryIO) -> bool:
    """Whether the file has a correct checksum.

    Each process reads an unchanged file only once.

    Args:
        file: open for reading; its position is restored.

    Returns:
        False for a file without a checksum, as lth_keras 0.1 wrote them.

    Raises:
        ValueError: The checksum is wrong or damaged, or the file is not HDF5.
    """
    place = file.tell()
    try:
        status = os.fstat(file.fileno())
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known not in _verified and not _verify(file, status.st_size):
            return False
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY:
            _verified.add(known)
        return True
    finally:
        file.seek(place)


def is_without(file: BinaryIO) -> bool:
    """Whether an intact HDF5 file has no checksum."""
    with contextlib.suppress(ValueError):
        return not _trailer(file, os.fstat(file.fileno()).st_size)
    return False


def verify_bytes(content: bytes) -> bool:
    """Like `verify`, for a file's bytes."""
    return _verify(io.BytesIO(content), len(content))


def _trailer(file: BinaryIO, size: int) -> bytes:
    """The checksum at the end of a file; empty if an intact file has none."""
    file.seek(max(size - _SIZE, 0))
    last = file.read(_SIZE)
    if len(last) == _SIZE and last.startswith(_MAGIC):
        return last
    _check_end(file, size)
    return b""


def _verify(file: BinaryIO, size: int) -> bool:
    if not (last := _trailer(file, size)):
        return False
    stated = int.from_bytes(last[len(_MAGIC) : len(_MAGIC) + _LENGTH], "little")
    if stated != size - _SIZE:
        raise ValueError(f"{size - _SIZE} bytes before its checksum, which is of {stated}")
    received, expected = sha256_of(file, stated), last[len(_MAGIC) + _LENGTH :]
    if received != expected:
        raise ValueError(f"its SHA-256 is {received.hex()[:16]}..., and was {expected.hex()[:16]}... when written")
    return True


def sha256_of(file: BinaryIO, size: int) -> bytes:
    """The SHA-256 of the first `size` bytes of a file."""
    sha = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        sha.update(chunk)
        size -= len(chunk)
    return sha.digest()


def _check_end(file: BinaryIO, size: int) -> None:
    """Raises ValueError if the file's size differs from the size in its HDF5 header: a checksum may follow."""
    file.seek(0)
    header = file.read(64)
    if not header.startswith(_SIGNATURE):
        raise ValueError("no HDF5 file: it does not begin as one")
    version = header[8] if len(header) > 8 else 255
    if len(header) < 64 or version > 3:
        raise ValueError("a header of HDF5 that is cut or of an unknown version")
    width = header[_OFFSETS if version < 2 else 9]
    # Version 0 has 24 bytes, 1 has 28, later ones 12; then follow three addresses: of the file's begin, another, and
    # of its end.
    end = {0: 24, 1: 28}.get(version, 12) + 2 * width
    stated = int.from_bytes(header[end : end + width], "little")
    if width not in (2, 4, 8) or stated != size:
        raise ValueError(f"{size} bytes, where its header says {stated}, and no checksum behind them")
