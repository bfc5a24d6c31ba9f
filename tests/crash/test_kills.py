"""SIGKILL at any moment of a search, again and again until it is done: nothing differs, and nothing is done twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from lth_keras.analysis import CURVES
from lth_keras.search.tasks import pending_tasks
from lth_keras.storage import open_run, read_level
from tests.backend import BACKEND
from tests.crash.victim import STAGES, noted
from tests.forks import Ended, Forks
from tests.tiny import assert_same_bits, make

BRANCHES = ("winning_ticket", "random_reinit")
LEVELS = 3
CHANGES = {"levels": LEVELS, "steps": 1000}
TASKS = pending_tasks((), [0], BRANCHES, LEVELS)

Kill = tuple[str, int] | float
"""At a stage, passed so many times before; or after so many seconds."""


class Whole(NamedTuple):
    """A search that nothing has interrupted."""

    directory: Path
    seconds: float
    passed: dict[str, int]


def searched(forks: Forks, out: Path, kill: Kill | None = None, **asked: Any) -> Ended:
    """One attempt in a process of its own; its journal is beside `out`."""
    journal = out.with_suffix(".journal")
    arguments = {"out": out, "journal": journal, "branches": BRANCHES, "changes": CHANGES, **asked}
    if isinstance(kill, float):
        return forks.call("tests.crash.victim:search", killed_after=kill, **arguments)
    return forks.call("tests.crash.victim:search", kill=kill, **arguments)


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "runs"
    ended = searched(forks, out)
    assert ended.code == 0, ended.error
    assert noted(out.with_suffix(".journal"), "started") == TASKS
    (directory,) = out.iterdir()
    return Whole(directory, ended.seconds, ended.value)


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def level_files(directory: Path) -> dict[str, tuple[int, int]]:
    """What tells by its name whether a level file was written again."""
    places = {path.relative_to(directory).as_posix(): path.stat() for path in directory.rglob("level_*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in places.items()}


def assert_same_level(one: Path, other: Path) -> None:
    received, expected = read_level(one), read_level(other)
    assert received.mask == expected.mask and received.next_mask == expected.next_mask
    assert received.step.tobytes() == expected.step.tobytes()
    for name in CURVES:
        assert received.curves[name].tobytes() == expected.curves[name].tobytes()


def kill_until_done(forks: Forks, whole: Whole, kills: Iterable[Kill], folder: Path, **asked: Any) -> list[str]:
    """Kills searches so, each resumed until it is done, and looks at what is there every time.

    A kill that comes too late, after the search is done, is made in the next search, after half the time.

    Returns:
        Of every kill, the last entry of the journal: where it is a training that had started, it was killed in it.
    """
    planned, number = list(kills), 0
    killed: list[str] = []
    while planned:
        out = folder / f"search {number}"
        number += 1
        directory, journal = out / whole.directory.name, out.with_suffix(".journal")
        there: dict[str, tuple[int, int]] = {}
        done = False
        while not done:
            kill = planned[0] if planned else None
            begun = len(noted(journal, "started"))
            ended = searched(forks, out, kill, **asked)
            what = f"search {number}, kill {len(killed) + 1}: {kill}"
            assert ended.code in (0, -signal.SIGKILL), f"{what}: {ended.error}"
            await_workers(journal)
            done = ended.code == 0
            if not done:
                killed.append("".join(lines_of(journal)[-1:]))
                del planned[0]
            elif isinstance(kill, float):
                planned[0] = kill / 2
            left = level_files(directory)
            assert there.items() <= left.items(), f"{what}: a finished level was written again"
            for task in noted(journal, "started")[begun:]:
                assert level_name(*task) not in there, f"{what}: the finished {task} was trained again"
            for task in noted(journal, "finished"):
                assert level_name(*task) in left, f"{what}: the finished {task} is lost"
            for name in left.keys() - there.keys():
                assert_same_level(directory / name, whole.directory / name)
            there = left
            assert files(directory) <= files(whole.directory) | leftovers(directory), what
        assert files(directory) == files(whole.directory)
        assert_same_bits(open_run(directory), open_run(whole.directory))
    return killed


def level_name(seed: int, branch: str, level: int) -> str:
    return f"levels/seed_{seed}/{branch}/level_{level:02d}.h5"


def lines_of(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


def leftovers(directory: Path) -> set[str]:
    """What a killed process may leave behind, until the next one comes."""
    return {name for name in files(directory) if name.endswith((".tmp", ".lock"))}


def await_workers(journal: Path) -> None:
    """Worker processes end by themselves when the process that started them is killed."""
    lines = lines_of(journal)
    if lines and lines[-1].startswith("killed"):
        workers = [psutil.Process(int(pid)) for pid in lines[-1].split()[1:] if psutil.pid_exists(int(pid))]
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive


def moments(whole: Whole, generator: random.Random, of_each: int, times: int) -> list[Kill]:
    """Every stage so many times, each after a random number of passes; and random times; in random order."""
    kills: list[Kill] = [(stage, generator.randrange(min(9, whole.passed[stage]))) for stage in STAGES * of_each]
    kills += [generator.uniform(0.05, whole.seconds) for _ in range(times)]
    generator.shuffle(kills)
    return kills


@pytest.mark.slow
def test_every_stage_is_reached(whole: Whole) -> None:
    """Else a kill there would never come."""
    assert set(whole.passed) == set(STAGES) and all(whole.passed.values())
    assert whole.passed["finished"] == len(TASKS)


def test_killed_in_writes_and_in_training_nothing_differs(forks: Forks, whole: Whole, tmp_path: Path) -> None:
    kills: list[Kill] = [("write", 0), ("advanced", 50), whole.seconds * 0.5]
    assert len(kill_until_done(forks, whole, kills, tmp_path)) == len(kills)
    if forks.backend == BACKEND:  # in this process, too, which hashes strings otherwise
        here = make(**CHANGES).run(branches=BRANCHES, out=tmp_path / "here")
        assert here.directory.path.name == whole.directory.name
        assert_same_bits(open_run(whole.directory), here)


@pytest.mark.slow
def test_killed_at_every_stage_nothing_differs(forks: Forks, whole: Whole, tmp_path: Path) -> None:
    kills: list[Kill] = [("lock", 1), ("fsync", 1), ("replace", 1), ("write", 3), ("unlink", 1), ("mkdir", 2)]
    assert len(kill_until_done(forks, whole, kills, tmp_path)) == len(kills)


@pytest.mark.slow
def test_killed_at_fifty_random_moments_nothing_differs(forks: Forks, whole: Whole, tmp_path: Path) -> None:
    kills = moments(whole, random.Random(0), of_each=3, times=20)
    killed = kill_until_done(forks, whole, kills, tmp_path)
    assert len(killed) == len(kills) >= 50
    assert sum(line.startswith("started") for line in killed) >= 3, "hardly any in training"


@pytest.mark.slow
def test_killed_with_worker_processes_nothing_differs(forks: Forks, whole: Whole, tmp_path: Path) -> None:
    kills: list[Kill] = [("started", 0), ("advanced", 3), ("finished", 1), ("finished", 2)]
    assert len(kill_until_done(forks, whole, kills, tmp_path, workers=2)) == len(kills)
