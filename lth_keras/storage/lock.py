"""The lock on a run directory: only one process at a time writes in it. Reading needs no lock."""

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
"""If the system has them: follow no links, do not wait for pipes."""


class InUseError(RuntimeError):
    """Another process is writing in the run directory; the message names it."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Context: this process holds the lock on `directory`, which exists.

    The operating system releases the lock when the process ends in any way. The lock is on the directory itself, if the
    system can lock directories, and on the file `.lock`, which names the process. That file stays after a kill; neither
    its presence nor its removal changes the lock. If a network file system has no locks, a warning says so.

    Raises:
        InUseError: Another process holds it.
        OSError: The directory cannot be written, or `.lock` is not a regular file.
    """
    path = directory / LOCK_FILE
    with _directory_held(directory):
        file = _acquired(path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows cannot remove an open file; it may stay
                path.unlink()  # before releasing the lock: afterwards it may be another process'
            file.close()


@contextlib.contextmanager
def _directory_held(directory: Path) -> Iterator[None]:
    if sys.platform == "win32":  # Windows opens no directories and removes no open files
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(directory) from None
        except OSError as error:  # NFS locks only files open for writing: lock `.lock` alone
            if error.errno not in _UNSUPPORTED | _NOT_FOR_DIRECTORIES:
                raise
        yield
    finally:
        os.close(descriptor)


def _acquired(path: Path) -> BinaryIO:
    """The lock's file. The lock is held while the file is open."""
    while True:
        file = _opened(path)
        try:
            _lock(file.fileno())
        except OSError as error:
            file.close()
            if error.errno not in _TAKEN:
                raise
            raise _in_use(path.parent) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.lstat()):
                with contextlib.suppress(OSError):  # a full disk: the lock is held without a name
                    file.truncate(0)
                    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
                    file.write(f"{json.dumps(holder)}\n".encode())
                return file
        file.close()  # its holder removed it between opening and locking here


def _opened(path: Path, create: bool = True) -> BinaryIO:
    """The lock's file; OSError if something else is in its place, which is not changed."""
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    try:
        file: BinaryIO = os.fdopen(os.open(path, flags, 0o666), "a+b", buffering=0)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            with atomic.explained(path):
                raise
        number = error.errno
    else:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:  # 0: its holder has just removed it
            return file
        file.close()
        number = errno.EEXIST
    raise OSError(
        number,
        "Expected: the lock of a run directory, a regular file. Received: a link or something else; remove it",
        str(path),
    )


def _in_use(directory: Path) -> InUseError:
    try:
        with _opened(directory / LOCK_FILE, create=False) as file:
            file.seek(0)
            holder = json.load(file)
        other = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # not yet written, not writable, or removed by hand
        other = "another process"
    return InUseError(
        "Expected: a run directory that no other process is writing in. Received: "
        f"{str(directory)!r}, in use by {other}; wait until it ends, stop it, or choose another --out"
    )


def _lock(descriptor: int) -> None:
    """Locks the open file for this process; an OSError with EACCES or EAGAIN if another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # locked bytes cannot be read: lock one far behind the content
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        warnings.warn(
            f"The file system of the run directory has no locks ({error.strerror}), so another process could write in "
            "it. Run only one search at a time in it, or choose another --out",
            stacklevel=2,
        )
