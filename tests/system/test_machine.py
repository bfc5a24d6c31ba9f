"""What this process has of its machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from lth_keras.system.machine import free_memory_bytes, peak_memory_bytes, return_free_memory, usable_cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes have no affinity on this system")
def test_cpus_that_the_process_may_not_run_on_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    assert usable_cpus() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("count, usable", [(6, 6), (None, 1)])
def test_without_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch, count: int | None, usable: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cpus() == usable


def test_the_peak_of_memory_is_in_bytes_and_no_less_than_what_is_in_use() -> None:
    in_use = psutil.Process().memory_info().rss
    assert 0.9 * in_use <= peak_memory_bytes() <= psutil.virtual_memory().total


def test_the_peak_of_memory_is_not_that_of_the_process_that_started_this_one() -> None:
    held = np.ones(300 * 2**20, np.uint8)  # written, so that the memory is in use
    command = [sys.executable, "-c", "from lth_keras.system import peak_memory_bytes; print(peak_memory_bytes())"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(printed) < held.nbytes < peak_memory_bytes()


def cgroup(folder: Path, names: tuple[str, str, str], limit: str, used: int, files: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 7\n{names[2]} {files}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


@pytest.mark.parametrize("version, names, folder", [("0:", V2, ""), ("4:memory", V1, "memory")])
def test_the_tightest_limit_of_the_cgroups_around_the_process_counts(
    tmp_path: Path, version: str, names: tuple[str, str, str], folder: str
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"7:cpu:/job\n{version}:/job/step\n")
    mount = tmp_path / "sys/fs/cgroup" / folder
    assert free_memory_bytes(tmp_path) > 10**6  # no limit
    cgroup(mount / "job/step", names, "max" if names is V2 else str(2**63 - 4096), 100, 0)
    assert free_memory_bytes(tmp_path) > 10**6
    cgroup(mount / "job", names, "1000", 800, 50)
    assert free_memory_bytes(tmp_path) == 250
    cgroup(mount / "other", names, "100", 90, 0)
    assert free_memory_bytes(tmp_path) == 250
    cgroup(mount, names, "1000", 2000, 0)
    assert free_memory_bytes(tmp_path) == 0


def test_without_cgroups_what_the_machine_has_free_counts(tmp_path: Path) -> None:
    assert 0 < free_memory_bytes(tmp_path) <= psutil.virtual_memory().total


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim"
)
def test_memory_that_is_free_between_pieces_that_are_not_is_given_back() -> None:
    pieces = [ctypes.create_string_buffer(b"1" * 60_000, 60_000) for _ in range(4000)]  # 240 MB, too small for pages
    kept = pieces[::200]
    del pieces
    before = psutil.Process().memory_info().rss
    return_free_memory()
    assert before - psutil.Process().memory_info().rss > 100_000_000
    assert all(piece.raw == b"1" * 60_000 for piece in kept)


def test_where_memory_cannot_be_given_back_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    return_free_memory()
