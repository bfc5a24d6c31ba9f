"""The same bits in any process, whatever it did before, however the search was asked for, with as many threads.

What a kill and a resume do to them is in test_kills.py; the same within one process is in tests/search/test_resume.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lth_keras.search.tasks import pending_tasks
from lth_keras.storage import RunDirectory, open_run
from tests.crash.victim import noted
from tests.forks import Ended, Forks
from tests.tiny import ALL, assert_same_bits

pytestmark = pytest.mark.slow

ASKED: dict[str, Any] = {"trials": 2, "branches": ALL, "keep_weights": "all"}
TASKS = pending_tasks((), [0, 1], ALL, 2)


def searched(forks: Forks, out: Path, function: str = "search", **changed: Any) -> Ended:
    """A search in a process of its own; its journal is beside `out`."""
    arguments = {**ASKED, **changed, "out": out, "journal": out.with_suffix(".journal")}
    return forks.call(f"tests.crash.victim:{function}", **arguments)


def directory(out: Path) -> RunDirectory:
    (path,) = out.iterdir()
    return RunDirectory.load(path)


def assert_same_run(received: Path, expected: Path) -> None:
    """run.h5, and the final weights of all levels, which are in level files alone."""
    one, other = directory(received), directory(expected)
    assert one.path.name == other.path.name
    assert_same_bits(open_run(one.path), open_run(other.path))
    assert one.finished() == other.finished()
    for task in other.finished():
        level, same = one.read(*task, weights=True), other.read(*task, weights=True)
        assert level and same and level.weights and same.weights
        assert list(level.weights) == list(same.weights)
        for key, values in same.weights.items():
            assert level.weights[key].tobytes() == values.tobytes(), (task, key)
        assert level.mask == same.mask and level.next_mask == same.next_mask


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, asked for at once."""
    out = tmp_path_factory.mktemp("whole") / "runs"
    ended = searched(forks, out)
    assert ended.code == 0, ended.error
    return out


def test_what_a_process_did_before_changes_no_bit(forks: Forks, whole: Path, tmp_path: Path) -> None:
    ended = searched(forks, tmp_path / "runs", "search_after_another")
    assert ended.code == 0, ended.error
    assert_same_run(tmp_path / "runs", whole)


def grown(forks: Forks, out: Path, whole: Path, how: Sequence[dict[str, Any]]) -> None:
    """More is asked for, each time in another process; what is there already is not trained again."""
    before: set[Any] = set()
    steps: list[dict[str, Any]] = [
        {"trials": 1, "branches": ["winning_ticket"], "changes": {"levels": 1}},
        {"trials": 2, "branches": ["winning_ticket", "random_mask"], "changes": {"levels": 1}},
        {"trials": 1, "changes": {"levels": 2}},
        {},
    ]
    for asked, more in zip(steps, how, strict=True):
        ended = searched(forks, out, **asked, **more)
        assert ended.code == 0, ended.error
        begun = noted(out.with_suffix(".journal"), "started")
        assert len(begun) == len(set(begun)), "trained twice"
        assert before < set(begun)
        before = set(begun)
    assert before == set(TASKS)
    assert_same_run(out, whole)


def test_more_trials_branches_and_levels_change_no_bit(forks: Forks, whole: Path, tmp_path: Path) -> None:
    grown(forks, tmp_path / "runs", whole, [{}] * 4)


def test_workers_and_fresh_graphs_change_no_bit(forks: Forks, whole: Path, tmp_path: Path) -> None:
    """A run that is begun with two workers, and goes on with a graph for every level, and in the end with neither."""
    grown(forks, tmp_path / "runs", whole, [{"workers": 2}, {"fresh_graphs": True}, {"workers": 2}, {}])


def test_workers_and_fresh_graphs_change_no_bit_of_the_native_kernel(forks: Forks, tmp_path: Path) -> None:
    changes = {"engine": "native", "jit_compile": None, "threads": 2, "config": {"name": "native"}}
    for name, how in (("one", {}), ("workers", {"workers": 2}), ("fresh", {"fresh_graphs": True})):
        ended = searched(forks, tmp_path / name, trials=1, changes=changes, **how)
        assert ended.code == 0, ended.error
        assert_same_run(tmp_path / name, tmp_path / "one")


def test_as_many_threads_give_the_same_bits_and_others_are_refused(forks: Forks, tmp_path: Path) -> None:
    """With a network and a compilation as in experiments; also where it is resumed for one level more."""
    kind: dict[str, Any] = {"make": "lenet", "trials": 1, "branches": ["winning_ticket"]}

    def asked(out: Path, levels: int, threads: int | None) -> Ended:
        return searched(forks, out, **kind, changes={"levels": levels, "threads": threads, "config": {"name": "lenet"}})

    one, other = tmp_path / "one", tmp_path / "other"
    for out, levels in ((one, 1), (other, 2)):
        ended = asked(out, levels, threads=2)
        assert ended.code == 0, ended.error
        assert directory(out).threads == 2
    files = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    for threads, message in (
        (1, f"ValueError: {directory(one).path} was made with 2 threads, received 1: results would not be bit"),
        (None, "ValueError: Expected threads=2, as "),
    ):
        refused = asked(one, 2, threads)
        assert refused.code == 1 and refused.error is not None and refused.error.startswith(message)
    assert {path: path.read_bytes() for path in one.rglob("*") if path.is_file()} == files
    resumed = asked(one, 2, threads=2)
    assert resumed.code == 0, resumed.error
    assert noted(one.with_suffix(".journal"), "started") == pending_tasks((), [0], ["winning_ticket"], 2)
    assert_same_run(one, other)
