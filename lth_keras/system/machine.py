"""Processors and memory that this process can use."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil


def usable_cpus() -> int:
    """The number of CPUs that this process may run on, as limited by `taskset` or a cpuset.

    On systems without such limits (macOS), all CPUs of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """The peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage counts the process that started this one, too
        kilobytes = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(kilobytes.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def return_free_memory() -> None:
    """Returns free memory of the C library's allocator to the system, with glibc.

    The allocator keeps free memory between used blocks: for a model of 16 embeddings of 14,000 x 300 on JAX, half of
    the resident memory after a level (docs/internals/memory.md).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def free_memory_bytes(root: str | os.PathLike[str] = "/") -> int:
    """The memory that this process can still use, in bytes: free on the machine and within the limits of its cgroups.

    The file cache of a cgroup (a container, a batch job) counts as free, since the system can drop it.

    Args:
        root: directory with `proc` and `sys`.
    """
    return min([psutil.virtual_memory().available, *_left_in_cgroups(Path(root))])


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """Free memory in each memory cgroup of this process, and in its parents, if they have a limit."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for _, controllers, place in (line.split(":", 2) for line in lines):
        inside = Path(place.lstrip("/"))
        if not controllers:  # version 2
            yield from _left(mount, inside, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(mount / "memory", inside, *files)


def _left(mount: Path, inside: Path, limit: str, used: str, droppable: str) -> Iterator[int]:
    # In a container the path may be that of the host, which is not there: the mount is the container's cgroup.
    for folder in (mount / part for part in (inside, *inside.parents)):
        try:
            most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            statistics = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such cgroup, or the limit is "max"
            continue
        yield max(0, most - now + int(statistics.get(droppable, 0)))
