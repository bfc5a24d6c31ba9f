"""What this process has of its machine: processors and memory."""

from __future__ import annotations

import os
import sys

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
