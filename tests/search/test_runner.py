"""Worker processes: the same bits as in this process, an orderly end, and errors that say what happened."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from lth_keras.search import runner
from lth_keras.search.identity import describe
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import NOTHING_KEPT, LevelError, Task, is_ready, pending_tasks
from lth_keras.storage import InUseError, RunDirectory, open_run
from lth_keras.training.network import Network
from tests import tiny
from tests.backend import BACKEND
from tests.few import few
from tests.search.test_search_failures import failing
from tests.tiny import Witness, assert_same_numbers, make

BRANCHES = ("winning_ticket", "random_mask")


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


class WhenBothWork(Witness):
    """Is interrupted as a winning ticket starts, once each of two workers has trained a trial's dense network."""

    def started(self, task: Task, steps: int) -> None:
        super().started(task, steps)
        if task.level and len([done for done in self.tasks("finished") if not done.level]) == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_workers_and_fresh_graphs_give_the_same_bits(network: Network, tmp_path: Path) -> None:
    """Two workers, interrupted in a level; then a process for every level that is left."""
    notes, out = tmp_path / "notes", tmp_path / "out"
    notes.mkdir()
    # Long enough for the interruption to come before the end; JAX takes less than TensorFlow for a step.
    changes: dict[str, Any] = {"levels": 1, "steps": 2000 if BACKEND == "tensorflow" else 10_000}
    make_search = functools.partial(tiny.make_described, notes, **changes)
    first, second = WhenBothWork(), Witness()
    with pytest.raises(KeyboardInterrupt):
        tiny.run(make_search, trials=2, workers=2, out=out, reporter=first)
    _, interrupted = first.events[-1]
    assert multiprocessing.active_children() == []
    assert len(list(notes.iterdir())) == 2
    finished = list(out.rglob("level_*.h5"))  # one may be that the parent did not get to hear of
    resumed = tiny.run(make_search, trials=2, fresh_graphs=True, out=out, reporter=second)
    left = second.tasks("finished")
    assert interrupted in left and len(finished) + len(left) == 4
    assert len(list(notes.iterdir())) == 2 + len(left)
    assert_same_numbers(resumed, make(network, **changes).run(2, out=tmp_path / "alone"))
    for note in notes.iterdir():
        assert json.loads(note.read_text()) == describe(make(**changes)), "described otherwise in another process"


@pytest.mark.slow
def test_a_worker_that_dies_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        runner.WorkerDiedError, match="worker process for trial 0, dense, level 0 died .SIGKILL, possibly"
    ):
        tiny.run(tiny.make_deadly, workers=2, out=tmp_path)


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_are_counted_from_one(workers: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"Expected at least 1 worker. Received: {workers}"):
        tiny.run(make, workers=workers, out=tmp_path)


@few("workers", [1, 2], 1)
def test_processes_are_sent_lambdas_and_closures(tmp_path: Path, workers: int) -> None:
    rate = 0.01

    def build() -> keras.Model:
        return tiny.build()

    def search() -> TicketSearch:
        return tiny.make(build=build, optimizer=lambda: keras.optimizers.SGD(rate), levels=0, config={"name": "sent"})

    one = search().run(workers, out=tmp_path / "alone")
    other = search().run(workers, out=tmp_path / "workers", workers=workers, fresh_graphs=workers == 1)
    assert_same_numbers(one, other)


def test_what_workers_cannot_be_sent_is_refused_before_they_start(tmp_path: Path) -> None:
    lock = threading.Lock()
    search = tiny.make(data=lambda seed: (lock, tiny.data(seed))[1], config={"name": "locked"})
    with pytest.raises(TypeError, match=r"Expected a search that can be pickled for worker processes, or remake="):
        search.run(workers=2, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_run_is_asked_is_checked_before_workers_start(network: Network, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected at least 1 trial"):
        tiny.run(make, workers=2, trials=0, out=tmp_path)


def test_a_directory_in_use_is_refused_before_workers_start(network: Network, tmp_path: Path) -> None:
    directory = tiny.prepare(make(network), 1, BRANCHES, tmp_path).directory
    with directory.locked(), pytest.raises(InUseError, match="in use by process"):
        tiny.run(make, workers=2, branches=BRANCHES, out=tmp_path)
    assert not list(tmp_path.rglob("level_*"))


def sent(make_search: Any) -> Any:
    """The search as a worker receives it, without pickling: its network is that of the tests."""
    return SimpleNamespace(make=make_search)


class Line:
    """A worker's end of its connection: gives it one task, then hangs up; keeps what it sends."""

    def __init__(self, task: Task) -> None:
        self.tasks, self.sent = [task], []

    def recv(self) -> Task:
        if not self.tasks:
            raise EOFError
        return self.tasks.pop()

    def send(self, content: Any) -> None:
        self.sent.append(content)


@pytest.fixture
def signals() -> Iterator[None]:
    """Handlers as they were: a worker changes those of its process, which is ours here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_worker_sends_progress_and_errors(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_search = functools.partial(make, network)
    directory = tiny.prepare(make_search(), 1, BRANCHES, tmp_path).directory
    line = Line(Task(0, "dense", 0))
    runner.work(line, sent(make_search), directory.path, NOTHING_KEPT)
    assert [kind for kind, *_ in line.sent if kind != "advanced"] == ["begun", "started", "finished"]
    assert ("started", 20) in line.sent and ("advanced", 20, 20) in line.sent
    assert open_run(RunDirectory.load(directory.path).write_run().parent).sizes["level"] == 1
    for error, kind in (
        (LevelError("loss"), LevelError),
        (ValueError("rates"), ValueError),
        (KeyError("bug"), KeyError),
        (Unsendable("with", "two"), runner.WorkerError),
    ):
        monkeypatch.setattr(type(network.engine), "train", _raises(error))
        line = Line(Task(0, "winning_ticket", 1))
        runner.work(line, sent(make_search), directory.path, NOTHING_KEPT)
        ((what, received),) = [sent for sent in line.sent if isinstance(sent[-1], Exception)]
        assert type(received) is kind and what == ("failed" if kind is LevelError else "error")
        if what == "error":
            assert "raise error" in received.__notes__[0] and "\\n" not in received.__notes__[0]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "Ctrl-C reaches workers too: the parent ends them"


class Unsendable(Exception):
    """One whose copy cannot be made of its arguments."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def _raises(error: Exception) -> Any:
    def train(*_: Any, **__: Any) -> None:
        raise error

    return train


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_winning_tickets_are_started_before_the_controls_that_wait_for_them(workers: int) -> None:
    pending = pending_tasks((), [0, 1], ("random_mask", "winning_ticket", "random_reinit"), 4)
    done: set[Any] = set()
    while pending:  # all that run at a time finish at a time
        together = runner.next_tasks(pending, done, workers)
        leading = [task for task in pending if is_ready(task, done) and task.branch in ("dense", "winning_ticket")]
        assert together and (set(together) <= set(leading) or set(leading) <= set(together))
        assert len(together) == min(workers, sum(is_ready(task, done) for task in pending))
        done |= set(together)
        pending = [task for task in pending if task not in done]


@pytest.mark.slow
def test_workers_go_on_behind_a_trial_that_diverges(tmp_path: Path) -> None:
    with pytest.raises(
        LevelError, match="1 training failed.* 1 that depend.*\n.*In trial 1, dense, level 0: .*not finite"
    ):
        tiny.run(failing, trials=3, workers=2, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert RunDirectory.load(path).finished() == set(pending_tasks((), [0, 2], ("winning_ticket",), 1))


UNGUARDED = """
import functools
from lth_keras.search import runner
from tests import tiny
tiny.run(functools.partial(tiny.make, config={"name": "unguarded"}), workers=2, out="runs")
"""
AS_IT_IS_IMPORTED = "import sys\nif __name__ == '__mp_main__':\n    raise ImportError('not here')\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "before, message",
    [
        ("", "below `if __name__ == '__main__':`, since each worker imports"),
        (AS_IT_IS_IMPORTED, "exit code 1"),
    ],
)
def test_a_script_that_workers_cannot_import_is_told_so(tmp_path: Path, before: str, message: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(before + UNGUARDED)
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1 and "WorkerStartError" in last and message in last and "resumes" not in last
    assert ended.stderr.count("WorkerStartError: ") == 1


class Stubborn:
    """A process that does not end when it is asked to."""

    def __init__(self, killed: bool) -> None:
        self.killed, self.asked = killed, []

    def terminate(self) -> None:
        self.asked.append("terminate")

    def kill(self) -> None:
        self.asked.append("kill")

    def join(self, timeout: float) -> None:
        assert timeout < 1
        self.asked.append("join")


def test_workers_that_do_not_end_are_killed_and_never_waited_for() -> None:
    processes = [Stubborn(False), Stubborn(True)]
    runner.end_processes(processes, seconds=0.01)
    assert all(process.asked == ["terminate", "join", "kill", "join"] for process in processes)
