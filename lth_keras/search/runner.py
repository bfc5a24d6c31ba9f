"""Trials side by side: a search's tasks in this process or in worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from lth_keras.search.branches import is_control
from lth_keras.search.failures import Failures
from lth_keras.search.parameters import check_asked
from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import LevelError, Task, is_ready
from lth_keras.storage import RunDirectory
from lth_keras.system import interrupts, values

_CONTEXT = multiprocessing.get_context("spawn")
_ENDING_SECONDS = 5.0
"""What worker processes have to end in when they are asked to, before they are killed."""
_LISTENING_SECONDS = 0.2
"""How long workers are listened to before signals are."""


_UNGUARDED = 78
"""Exit code of a worker process whose import of the script that started it came to start a search."""


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer. Levels finished before are kept."""


class WorkerError(RuntimeError):
    """What a worker process raised, where it cannot be raised again as it was."""


class WorkerStartError(RuntimeError):
    """A worker process ended before it could be given anything to do: it cannot import what it needs."""


def run(
    make_search: Callable[[], TicketSearch],
    *,
    trials: int = 1,
    branches: Sequence[str] = ("winning_ticket",),
    out: str | os.PathLike[str] = "runs",
    keep_weights: str = "none",
    control_levels: Sequence[int] | None = None,
    workers: int = 1,
    fresh_graphs: bool = False,
    reporter: Any = None,
) -> Run:
    """Runs a search: in this process, or its tasks in worker processes that share the run's directory.

    Workers take any task whose masks are finished, so they stay busy to the end. The numbers are the same for any
    number of workers with the same threads per training.

    Args:
        make_search: makes the search, `() -> TicketSearch`; importable (a module's function or a
            `functools.partial` of one) where there are worker processes, since each makes its own, data included.
        trials: as `TicketSearch.run`, like branches, out and keep_weights.
        branches: what to train at each level.
        out: directory for runs.
        keep_weights: `none`, `last` or `all`.
        control_levels: as `TicketSearch.run`.
        workers: trainings at a time.
        fresh_graphs: every level in a worker process of its own that ends, so that its memory goes back whole; the
            same bits, and slower for short levels.
        reporter: see `lth_keras.system.progress.Reporter`.

    Raises:
        ValueError, InUseError, OSError, LevelError, KeyboardInterrupt: as `TicketSearch.run`; ValueError also
            where tickets are to be trained together in more than one process.
        TypeError: where worker processes cannot import `make_search`.
        WorkerDiedError: where a worker process was killed, e.g. out of memory.
        WorkerStartError: where a worker process cannot import the script that started it, or that starts the search
            when it is imported, without `if __name__ == "__main__":`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports an unguarded script
        raise SystemExit(_UNGUARDED)
    if values.integer("workers", workers) < 1:
        raise ValueError(f"Expected at least 1 worker. Received: {workers}.")
    values.boolean("fresh_graphs", fresh_graphs)
    with interrupts.stopped_by_ctrl_c():
        search = make_search()
        if workers == 1 and not fresh_graphs:
            return search.run(
                trials, branches, out, keep_weights=keep_weights, control_levels=control_levels, reporter=reporter
            )
        _check_importable(make_search)
        asked = (trials, branches, out, keep_weights, control_levels)
        check_asked(trials, branches, keep_weights, control_levels, search.levels, search.seed, reporter)
        return _run_in_workers(make_search, search, asked, workers, fresh_graphs, reporter)


def _run_in_workers(
    make_search: Callable[[], TicketSearch],
    search: TicketSearch,
    asked: tuple[int, Sequence[str], str | os.PathLike[str], str, Sequence[int] | None],
    workers: int,
    fresh_graphs: bool,
    reporter: Any,
) -> Run:
    *_, keep_weights, control_levels = asked
    directory, seeds, branches = search.prepare(*asked, together=False)
    with directory.locked(search.tasks((), seeds, branches, control_levels)):
        pending = search.tasks(directory.finished(), seeds, branches, control_levels)
        failures = Failures(search.independent, reporter)
        pool = _Pool(make_search, directory, keep_weights, workers, fresh_graphs, search.independent)
        try:
            pool.run(pending, reporter, failures)
        finally:
            pool.close()
            search.write_run(directory, search.tasks((), seeds, branches, control_levels))
    failures.raise_any()
    return Run(search, directory)


def _check_importable(make_search: Callable[[], TicketSearch]) -> None:
    try:
        ForkingPickler.dumps(make_search)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise TypeError(
            "Expected make_search to be a function of a module, or a functools.partial of one, which worker processes "
            f"can import. Received: {make_search!r} ({error})."
        ) from error


class _Pool:
    """Worker processes that each train one task at a time."""

    def __init__(
        self,
        make_search: Callable[[], TicketSearch],
        directory: RunDirectory,
        keep_weights: str,
        workers: int,
        fresh_graphs: bool,
        independent: Collection[str] = (),
    ) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or the first worker takes all of a GPU
        self._arguments = (make_search, directory.path, keep_weights)
        self._directory = directory
        self._size = workers
        self._independent = independent
        self._fresh = fresh_graphs
        self._idle: list[tuple[Any, Connection]] = []
        self._busy: dict[Connection, tuple[Any, Task]] = {}
        self._begun: set[Connection] = set()

    def run(self, pending: list[Task], reporter: Any, failures: Failures) -> None:
        """Does the tasks in order, each as soon as what it builds on is finished; not those that build on failures."""
        finished = self._directory.finished()
        while (pending := failures.without(pending)) or self._busy:
            ready = [task for task in pending if is_ready(task, finished, self._independent)]
            ready.sort(key=lambda task: is_control(task.branch))  # they wait for the others, and none for them
            for task in ready[: self._size - len(self._busy)]:
                pending.remove(task)
                self._start(task)
            interrupts.check()
            for connection in wait(list(self._busy), _LISTENING_SECONDS):
                assert isinstance(connection, Connection)
                process, task = self._busy[connection]
                kind, *content = self._heard(connection)
                if kind == "begun":
                    self._begun.add(connection)
                    continue
                if kind == "error":
                    raise content[0]
                if kind == "failed":
                    failures.add(task, content[0])
                elif reporter is not None:
                    getattr(reporter, kind)(task, *content)
                if kind == "finished":
                    finished.add(task)
                if kind in ("finished", "failed"):
                    del self._busy[connection]
                    self._rest(process, connection)

    def _heard(self, connection: Connection) -> tuple[Any, ...]:
        """What a worker sends.

        Raises:
            WorkerDiedError, WorkerStartError: where it has ended.
        """
        with contextlib.suppress(EOFError, ConnectionResetError):  # reset, where it had not read its task yet
            heard: tuple[Any, ...] = connection.recv()
            return heard
        interrupts.check()  # a signal to the whole group of processes has ended it
        process, task = self._busy[connection]
        process.join(_ENDING_SECONDS)
        if process.exitcode == _UNGUARDED:
            raise WorkerStartError(
                "Expected a script that starts a search with worker processes below `if __name__ == '__main__':`, as "
                "each of them imports it. Received: one that starts it as it is imported. Move the call there."
            )
        if connection not in self._begun and (process.exitcode or 0) > 0:
            raise WorkerStartError(
                "Expected worker processes to import the script that starts them, and the module of make_search. "
                f"Received: {_reason(process.exitcode)} before the first had begun; what it says itself is above. "
                "Start the search below `if __name__ == '__main__':`, and keep make_search in a file."
            )
        raise WorkerDiedError(
            f"The worker process for {task} died ({_reason(process.exitcode)}). {self._directory.kept()} "
            "The same command resumes."
        )

    def close(self) -> None:
        """Ends all worker processes; a level in training is lost, files are not, since they are renamed when whole.

        One that does not end when it is asked to is killed, and one that cannot be killed is left behind.
        """
        connections = [*self._busy, *(connection for _, connection in self._idle)]
        _end([process for process, _ in (*self._busy.values(), *self._idle)])
        for connection in connections:
            connection.close()
        self._busy, self._idle = {}, []

    def _start(self, task: Task) -> None:
        if self._idle:
            process, connection = self._idle.pop()
        else:
            connection, theirs = _CONTEXT.Pipe()
            to_come = self._size - len(self._busy)  # those that are busy have their memory
            process = _CONTEXT.Process(target=_work, args=(theirs, *self._arguments, to_come), daemon=True)
            with interrupts.blocked(signal.SIGINT):  # Ctrl-C is the parent's, which ends its workers
                process.start()
            theirs.close()
        self._busy[connection] = (process, task)
        with contextlib.suppress(BrokenPipeError):  # that it has died shows when it is listened to
            connection.send(task)

    def _rest(self, process: Any, connection: Connection) -> None:
        if not self._fresh:
            self._idle.append((process, connection))
            return
        connection.close()
        process.join(_ENDING_SECONDS)
        if process.exitcode is None:
            _end([process])


def _end(processes: Sequence[Any]) -> None:
    """Asks processes to end, and kills those that do not within some seconds, which all have in common."""
    for ask in ("terminate", "kill"):
        for process in processes:
            getattr(process, ask)()
        until = time.monotonic() + _ENDING_SECONDS
        for process in processes:
            process.join(max(0, until - time.monotonic()))


class _PipeReporter:
    """Sends progress to the parent process."""

    def __init__(self, connection: Connection) -> None:
        self._send = connection.send

    def started(self, task: Task, steps: int) -> None:
        self._send(("started", steps))

    def advanced(self, task: Task, done: int, steps: int) -> None:
        self._send(("advanced", done, steps))

    def finished(self, task: Task, scalars: dict[str, float]) -> None:
        self._send(("finished", scalars))


def _work(
    connection: Connection, make_search: Callable[[], TicketSearch], path: Any, keep_weights: str, processes: int = 1
) -> None:
    """A worker process: trains the tasks it is sent until the parent closes the connection, or dies.

    It is the first of `processes` that still need their memory.
    """
    for number in interrupts.STOPPING:  # they reach the parent too, which ends its workers by SIGTERM
        signal.signal(number, signal.SIG_DFL if number is signal.SIGTERM else signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError):
        connection.send(("begun",))
        search = None
        while True:
            task = connection.recv()
            try:
                if search is None:
                    search = make_search()
                    search.processes = processes
                search.train_level(
                    RunDirectory.load(path), task, keep_weights=keep_weights, reporter=_PipeReporter(connection)
                )
            except LevelError as error:  # the parent goes on with others
                connection.send(("failed", LevelError(str(error))))
            except Exception as error:  # the parent raises it
                connection.send(("error", _sendable(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be sent; its traceback is a note on it."""
    sent: Exception = WorkerError(f"{type(error).__name__}: {error}")
    with contextlib.suppress(Exception):  # whatever an exception does that is made anew from its arguments
        same = pickle.loads(pickle.dumps(error))
        if type(same) is type(error) and str(same) == str(error):
            sent = same
    sent.add_note("In a worker process:\n\n" + "".join(traceback.format_exception(error)).rstrip())
    return sent


def _reason(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"{name}, possibly for lack of memory" if name == "SIGKILL" else name
    return f"exit code {exitcode}"
