"""Temporary files and folders that a killed process leaves: known by their names, removed by the next one.

Each is locked as long as its process lives, so what is free is nobody's.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # where there are no such locks nothing is removed
    fcntl = None  # type: ignore[assignment]

FOLDER = ".lth_keras-"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Make a folder inside `parent`, which exists; remove it at the end, and those that killed processes left there."""
    sweep(parent, re.escape(FOLDER) + r"[0-9a-f]{16}")
    folder = parent / f"{FOLDER}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        with _held(os.open(folder, os.O_RDONLY)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def temporary_file(path: Path) -> Iterator[tuple[Path, int]]:
    """Make a file beside `path`, with its descriptor to write to; remove it at the end, if it was not renamed.

    Those that killed processes left beside `path`, and for it, are removed too.
    """
    sweep(path.parent, rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with _held(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)) as descriptor:
            yield temporary, descriptor
    finally:
        temporary.unlink(missing_ok=True)


def sweep(parent: Path, pattern: str) -> None:
    """Remove what is in `parent` under a name of the pattern and is held by no process. Links are left alone."""
    if fcntl is None:
        return
    for path in list(parent.iterdir()):
        if re.fullmatch(pattern, path.name) and not path.is_symlink():
            try:
                _remove_if_free(path)
            except OSError:  # held, gone meanwhile, or not ours to remove
                continue


def _remove_if_free(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


@contextmanager
def _held(descriptor: int) -> Iterator[int]:
    """Lock what is open as long as this process lives, or until the end of the block."""
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # some file systems have no locks: nothing can be removed there either
                pass
        yield descriptor
    finally:
        os.close(descriptor)
