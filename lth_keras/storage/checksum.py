"""A SHA-256 of a whole HDF5 file, behind its last byte: verified before the HDF5 library sees the first one.

HDF5 reads no further than the end that its header states, so any tool opens a file with these 56 bytes behind it.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from typing import BinaryIO

MARK = "checksum"
"""An attribute of files that have one, by which it is noticed where it has been cut off."""
_MAGIC = b"lth_keras SHA256"
_LENGTH = 8
_SIZE = len(_MAGIC) + _LENGTH + hashlib.sha256().digest_size
_CHUNK = 1 << 16
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OFFSETS = 13  # where versions 0 and 1 of the header say how wide addresses are; 9 in later ones
_RACY = 2e9  # ns: a file that young may yet be changed within the clock tick of its time stamp

_verified: set[tuple[int, ...]] = set()


def trailer(content: bytes | bytearray | memoryview) -> bytes:
    """What to write behind `content`, an HDF5 file's bytes."""
    digest = hashlib.sha256(content).digest()
    return _MAGIC + memoryview(content).nbytes.to_bytes(_LENGTH, "little") + digest


def verify(file: BinaryIO) -> bool:
    """Whether the file has a checksum, which is right.

    Reads the file once in a process, as long as it is not changed.

    Args:
        file: open for reading; ends where it was.

    Returns:
        False for a file without one, as those of lth_keras 0.1 are.

    Raises:
        ValueError: The checksum is another, or damaged, or it is no HDF5 file.
    """
    place = file.tell()
    try:
        status = os.fstat(file.fileno())
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known in _verified:
            return True
        if not _verify(file, status.st_size):
            return False
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY:
            _verified.add(known)
        return True
    finally:
        file.seek(place)


def is_without(file: BinaryIO) -> bool:
    """Whether a file that ends as HDF5 files do has no checksum."""
    try:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _SIZE, 0))
        if file.read(len(_MAGIC)) == _MAGIC:
            return False
        _check_end(file, size)
    except ValueError:
        return False
    return True


def verify_bytes(content: bytes) -> bool:
    """As `verify`, for the bytes of a file."""
    return _verify(io.BytesIO(content), len(content))


def _verify(file: BinaryIO, size: int) -> bool:
    file.seek(max(size - _SIZE, 0))
    last = file.read(_SIZE)
    if len(last) < _SIZE or not last.startswith(_MAGIC):
        _check_end(file, size)
        return False
    stated = int.from_bytes(last[len(_MAGIC) : len(_MAGIC) + _LENGTH], "little")
    if stated != size - _SIZE:
        raise ValueError(f"{size - _SIZE} bytes before its checksum, which is of {stated}")
    received, expected = _digest(file, stated), last[len(_MAGIC) + _LENGTH :]
    if received != expected:
        raise ValueError(f"its SHA-256 is {received.hex()[:16]}..., and was {expected.hex()[:16]}... when written")
    return True


def _digest(file: BinaryIO, size: int) -> bytes:
    sha = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        sha.update(chunk)
        size -= len(chunk)
    return sha.digest()


def _check_end(file: BinaryIO, size: int) -> None:
    """Raises ValueError where the file ends elsewhere than its HDF5 header says: what is behind may be a checksum."""
    file.seek(0)
    header = file.read(64)
    if not header.startswith(_SIGNATURE):
        raise ValueError("no HDF5 file: it does not begin as one")
    version = header[8] if len(header) > 8 else 255
    if len(header) < 64 or version > 3:
        raise ValueError("a header of HDF5 that is cut or of an unknown version")
    width = header[_OFFSETS if version < 2 else 9]
    # In front: version 0 has 24 bytes, 1 has 28, later ones 12; then the addresses of the file's begin, of one thing
    # more, and of its end.
    end = {0: 24, 1: 28}.get(version, 12) + 2 * width
    stated = int.from_bytes(header[end : end + width], "little")
    if width not in (2, 4, 8) or stated != size:
        raise ValueError(f"{size} bytes, where its header says {stated}, and no checksum behind them")
