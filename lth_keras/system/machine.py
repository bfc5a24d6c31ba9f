"""What this process has of its machine: processors and memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil


def usable_cpus() -> int:
    """The number of CPUs that this process may run on: no more than the machine has, fewer under `taskset` or a cpuset.

    Where the system has no such limit (macOS), all of the machine's.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """The most resident memory that this process has had so far, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def return_free_memory() -> None:
    """Gives memory that is free in the C library's allocator back to the system, where it can be asked to (glibc).

    It keeps what is free between pieces that are not: with a model of 16 embeddings of 14,000 x 300 on JAX half of what
    was resident after a level (docs/internals/memory.md).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def free_memory_bytes(root: str | os.PathLike[str] = "/") -> int:
    """The memory that this process can still take, in bytes: free on the machine, and within the limits of its cgroups.

    Of a cgroup (a container, a batch job) that has a limit, what is used counts without the files that it could drop.

    Args:
        root: where `proc` and `sys` are.
    """
    return min([psutil.virtual_memory().available, *_left_in_cgroups(Path(root))])


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """What each memory cgroup of this process has left, itself and those around it, where it has a limit."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for _, controllers, place in (line.split(":", 2) for line in lines):
        inside = Path(place.lstrip("/"))
        if not controllers:  # version 2
            yield from _left(mount, inside, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(mount / "memory", inside, *files)


def _left(mount: Path, inside: Path, limit: str, used: str, droppable: str) -> Iterator[int]:
    # In a container the place may be the one outside, which is not there: what is mounted is its own.
    for folder in (mount / part for part in (inside, *inside.parents)):
        try:
            most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            statistics = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such cgroup, or the limit is "max"
            continue
        yield max(0, most - now + int(statistics.get(droppable, 0)))
