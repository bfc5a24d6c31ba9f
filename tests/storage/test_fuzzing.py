"""Damaged files in processes with a limit of time: none is taken for another result, none hangs, none crashes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.few import few

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("level", "run", "config")


def outcomes(kind: str, number: int, seed: int, folder: Path, seconds: float) -> Counter[str]:
    """What came of so many damages; subprocess.TimeoutExpired where one hangs."""
    command = [sys.executable, "-m", "tests.storage.fuzzing", kind, str(number), str(seed), str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    found = ended.stdout.splitlines()
    assert ended.returncode == 0, f"{kind}, seed {seed}, damage {len(found)}: {ended.stderr[-2000:]}"
    assert len(found) == number
    return Counter(found)


@few("kind", KINDS, "level", "config")
def test_no_damage_is_silent_hangs_or_crashes(tmp_path: Path, kind: str) -> None:
    assert set(outcomes(kind, 60, 0, tmp_path, 120)) <= {"named", "same"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_among_thousands_is_silent_hangs_or_crashes(tmp_path: Path, kind: str) -> None:
    found = outcomes(kind, 2500, 1, tmp_path, 1800)
    assert set(found) <= {"named", "same"} and found["named"] > 2000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["old_level", "old_run"])
def test_no_damage_of_a_file_without_a_checksum_hangs_or_crashes(tmp_path: Path, kind: str) -> None:
    """Some may be silent: nothing in such a file tells."""
    found = outcomes(kind, 300, 2, tmp_path, 3600)
    assert set(found) <= {"named", "same", "silent"} and found["named"] > 150
