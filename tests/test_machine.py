"""What this process has of its machine."""

from __future__ import annotations

import os

import psutil
import pytest

from lth_keras.machine import peak_memory_bytes, usable_cpus


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
