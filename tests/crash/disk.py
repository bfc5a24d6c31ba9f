"""Disks for tests: a small one of its own that really fills up, and a limit on files that the system enforces."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

from tests import tiny
from tests.tiny import Witness

_NEW_MOUNTS, _NEW_USERS, _REMOUNT, _RECURSIVE, _PRIVATE = 0x20000, 0x10000000, 32, 1 << 14, 1 << 18


def search_on_a_small_disk(mounted: str, copied: str, size: int) -> dict[str, Any]:
    """Searches with `out` on a disk of so many bytes until it is full, then on the same one made larger.

    Args:
        mounted: directory to mount it on; only this process sees it there.
        copied: where to leave what is on it in the end.
        size: bytes.

    Returns:
        `impossible`, where the system lets this process mount nothing; else `error`, `finished` before it and `resumed`
        after it, tasks, and the `files` that were there in between.
    """
    if not _mounts_of_its_own() or not _mount(mounted, size):
        return {"impossible": os.strerror(ctypes.get_errno())}
    first, second = Witness(), Witness()
    try:
        tiny.make().run(branches=tiny.ALL, out=mounted, reporter=first)
        error = None
    except OSError as raised:
        error = str(raised)
    files = sorted(path.relative_to(mounted).as_posix() for path in Path(mounted).rglob("*") if path.is_file())
    assert _mount(mounted, 1 << 24, _REMOUNT)
    tiny.make().run(branches=tiny.ALL, out=mounted, reporter=second)
    shutil.copytree(mounted, copied)
    return {"error": error, "files": files, "finished": first.tasks("finished"), "resumed": second.tasks("started")}


def search_with_small_files(out: str, after: int, size: int) -> list[Any]:
    """Searches; once so many levels are finished, no file of this process may have more bytes than `size`.

    Returns:
        The tasks it finished, and what it raised.
    """

    class Limiting(Witness):
        def _hear(self, kind: str, task: Any) -> None:
            super()._hear(kind, task)
            if len(self.tasks("finished")) == after:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    witness = Limiting()
    try:
        tiny.make().run(branches=tiny.ALL, out=out, reporter=witness)
    except OSError as error:
        return [witness.tasks("finished"), str(error)]
    return [witness.tasks("finished"), None]


def _mounts_of_its_own() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_MOUNTS) != 0:  # who is not the super-user becomes the one of a namespace
        if libc.unshare(_NEW_MOUNTS | _NEW_USERS) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    return bool(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None) == 0)


def _mount(place: str, size: int, flags: int = 0) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mount(b"tmpfs", place.encode(), b"tmpfs", flags, f"size={size}".encode()) == 0)
