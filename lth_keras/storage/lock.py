"""The lock on a run directory: one process at a time writes in it. Who only reads needs none."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lth_keras.storage import atomic

LOCK_FILE = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_NOT_FOR_DIRECTORIES = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.EACCES}
_TAKEN = {errno.EACCES, errno.EAGAIN}
_FLAGS = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC")
"""Where the system has them: a link is not followed, and a pipe not waited for."""


class InUseError(RuntimeError):
    """Another process writes in the run directory; the message says which."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds the lock on `directory`, an existing one, within it.

    The operating system keeps the lock and lets it go when its process ends, however it ends: one that a dead process
    left behind never stands in the way. It is on the directory itself, where the system can lock one, and on the file
    `.lock`, which says who holds it. That is there while the lock is held, and after a kill; its being there means
    nothing, and removing it lets nobody in. Where a network file system has no locks, a warning says so.

    Raises:
        InUseError: Another holds it.
        OSError: The directory cannot be written, or `.lock` is a link or another thing than a file.
    """
    path = directory / LOCK_FILE
    with _directory_held(directory):
        file = _acquired(path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file; one that stays does no harm
                path.unlink()  # before the lock goes: afterwards it may be another's
            file.close()


@contextlib.contextmanager
def _directory_held(directory: Path) -> Iterator[None]:
    if sys.platform == "win32":  # which opens no directory; nor removes a file that is open
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(directory, _holder_of(directory / LOCK_FILE)) from None
        except OSError as error:  # NFS locks only what is open for writing: `.lock` alone must do
            if error.errno not in _UNSUPPORTED | _NOT_FOR_DIRECTORIES:
                raise
        yield
    finally:
        os.close(descriptor)


def _acquired(path: Path) -> BinaryIO:
    """The lock's file, which has the lock as long as it is open."""
    while True:
        file = _opened(path)
        try:
            _lock(file.fileno())
        except OSError as error:
            other = _holder(file)
            file.close()
            if error.errno not in _TAKEN:
                raise
            raise _in_use(path.parent, other) from None
        if _is_at(file, path):
            with contextlib.suppress(OSError):  # a full disk: held all the same, without a name
                file.truncate(0)
                since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
                file.write(f"{json.dumps(holder)}\n".encode())
            return file
        file.close()  # its holder removed it, after it was opened here and before it was locked


def _opened(path: Path, create: bool = True) -> BinaryIO:
    """The lock's own file; OSError where something else is in its place, which is left as it is."""
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    try:
        file: BinaryIO = os.fdopen(os.open(path, flags, 0o666), "a+b", buffering=0)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise _foreign(path, error.errno) from error
        with atomic.explained(path):
            raise
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        file.close()
        raise _foreign(path, errno.EEXIST)
    return file


def _foreign(path: Path, number: int) -> OSError:
    return OSError(
        number,
        "Expected: the lock of a run directory, a file of its own. Received: a link, or no file; remove it",
        str(path),
    )


def _in_use(directory: Path, other: str) -> InUseError:
    return InUseError(
        "Expected: a run directory that no other process is writing in. Received: "
        f"{str(directory)!r}, in use by {other}; wait until it ends, stop it, or choose another --out"
    )


def _holder_of(path: Path) -> str:
    try:
        with _opened(path, create=False) as file:
            return _holder(file)
    except OSError:  # removed by hand, or not yet there
        return "another process"


def _holder(file: BinaryIO) -> str:
    try:
        file.seek(0)
        holder = json.load(file)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has not yet said, or could not
        return "another process"


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
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
