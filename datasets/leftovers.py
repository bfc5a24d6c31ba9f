"""Temporary files and folders. The next process removes those of killed processes, by their names.

Each is locked while its process lives, so an unlocked one is unused.
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
except ImportError:  # without such locks nothing is removed
    fcntl = None  # type: ignore[assignment]

FOLDER = ".lth_keras-"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Context: a new folder inside `parent`, removed at the end with those of killed processes."""
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
    """Context: a new file beside `path` and its descriptor; removed at the end, unless it was renamed.

    Temporary files for `path` of killed processes are removed too.
    """
    sweep(path.parent, rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with _held(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)) as descriptor:
            yield temporary, descriptor
    finally:
        temporary.unlink(missing_ok=True)


def sweep(parent: Path, pattern: str) -> None:
    """Remove files and folders in `parent` that match the pattern and that no process holds. Links stay."""
    if fcntl is None:
        return
    for path in list(parent.iterdir()):
        if re.fullmatch(pattern, path.name) and not path.is_symlink():
            try:
                _remove_if_free(path)
            except OSError:  # held, already removed, or no permission
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
    """Context: lock the open file until the end of the block or of the process."""
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # some file systems have no locks: nothing can be removed there either
                pass
        yield descriptor
    finally:
        os.close(descriptor)
