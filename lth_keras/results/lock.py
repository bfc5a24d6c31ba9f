"""The lock on a run directory: one process at a time writes in it. Who only reads needs none."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LOCK_FILE = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class InUseError(RuntimeError):
    """Another process writes in the run directory; the message says which."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds the lock on `directory`, an existing one, within it.

    The operating system keeps the lock and lets it go when its process ends, however it ends: one that a dead process
    left behind never stands in the way. The file `.lock` says who holds it. It is there while the lock is held, and
    after a kill; its being there means nothing. Where a network file system has no locks, a warning says so.

    Raises:
        InUseError: Another holds it.
        OSError: The directory cannot be written.
    """
    path = directory / LOCK_FILE
    file = _acquired(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file; one that stays does no harm
            path.unlink()  # before the lock goes: afterwards it may be another's
        file.close()


def _acquired(path: Path) -> BinaryIO:
    """The lock's file, which has the lock as long as it is open."""
    while True:
        file: BinaryIO = open(path, "a+b", buffering=0)
        try:
            _lock(file.fileno())
        except OSError as error:
            other = _holder(file)
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise InUseError(
                "Expected: a run directory that no other process is writing in. Received: "
                f"{str(path.parent)!r}, in use by {other}; wait until it ends, stop it, or choose another --out"
            ) from None
        if _is_at(file, path):
            with contextlib.suppress(OSError):  # a full disk: held all the same, without a name
                file.truncate(0)
                since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
                file.write(f"{json.dumps(holder)}\n".encode())
            return file
        file.close()  # its holder removed it, after it was opened here and before it was locked


def _holder(file: BinaryIO) -> str:
    try:
        file.seek(0)
        holder = json.load(file)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has not yet said, or could not
        return "another process"


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Locks the open file for this process; an OSError of EACCES or EAGAIN where another has."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # others may not read what is locked: nothing is, so far behind
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        warnings.warn(
            f"The file system of the run directory has no locks ({error.strerror}): nothing keeps another process from "
            "writing in it. Let one search at a time use it, or choose another --out",
            stacklevel=2,
        )
