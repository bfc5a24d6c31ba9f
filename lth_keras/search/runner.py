"""Runs a search's tasks in worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from lth_keras.layers import register_prunable, registrations
from lth_keras.search.branches import is_control
from lth_keras.search.failures import Failures
from lth_keras.search.tasks import Kept, LevelError, Task, is_ready
from lth_keras.storage import RunDirectory
from lth_keras.system import interrupts, values

if TYPE_CHECKING:
    from lth_keras.search.execution import Prepared, Train
    from lth_keras.search.search import TicketSearch

_CONTEXT = multiprocessing.get_context("spawn")
ENDING_SECONDS = 5.0
"""Seconds that worker processes have to end after a request, before they are killed."""
_LISTENING_SECONDS = 0.2
"""Seconds between checks for signals while waiting for workers."""


_UNGUARDED = 78
"""Exit code of a worker process in which importing the main script started a search."""


class WorkerDiedError(RuntimeError):
    """A worker process ended unexpectedly. Finished levels are kept."""


class WorkerError(RuntimeError):
    """Replaces an exception of a worker process that cannot be pickled."""


class WorkerStartError(RuntimeError):
    """A worker process ended before its first task, since an import failed."""


def check_workers(workers: Any, fresh_graphs: Any) -> None:
    """Checks `workers` and `fresh_graphs`; ends a worker process that imports an unguarded script.

    Raises:
        ValueError: for fewer than one, or values of another type.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker imports an unguarded script
        raise SystemExit(_UNGUARDED)
    if values.integer("workers", workers) < 1:
        raise ValueError(f"Expected at least 1 worker. Received: {workers}.")
    values.boolean("fresh_graphs", fresh_graphs)


def in_workers(
    search: TicketSearch, remake: Callable[[], TicketSearch] | None, workers: int, fresh_graphs: bool
) -> Train:
    """Returns a function that trains tasks in worker processes that share the run's directory.

    A worker takes any task that is ready, from any trial, so that no worker is idle before the end.

    Args:
        search: the search.
        remake: makes it in each worker process; None sends the search itself.
        workers: number of worker processes.
        fresh_graphs: whether to use a new worker process for every level.

    Raises:
        TypeError: if the search cannot be sent to worker processes.
    """
    make = remake or partial(type(search), **search.arguments)
    if registrations():  # in one pickle with the search, so that both have the same classes
        make = partial(_registered, registrations(), make)
    payload, by_value = _pickled(make)

    def train(
        run: Prepared, pending: list[Task], finished: set[tuple[int, str, int]], failures: Failures, reporter: Any
    ) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # otherwise the first process takes a whole GPU
        provenance = {}
        if by_value:  # workers cannot read functions that are sent by value
            for branch in sorted({task.branch for task in pending}):
                own = search.search_of(branch)
                provenance[own.variant, own.spelling] = own.trained_by
        sent = Sent(payload, search.spelling, search.reason, provenance)
        pool = _Pool(run, sent, workers, fresh_graphs)
        try:
            pool.run(pending, finished, failures, reporter)
        finally:
            pool.close()

    return train


class Sent(NamedTuple):
    """A search as a worker process receives it.

    Attributes:
        payload: pickles the function that makes it.
        spelling: of the engine that the parent has chosen; `auto` if the model decides.
        reason: why that one.
        provenance: of its levels, as `Cache.provenance`; empty where a worker can describe the search itself.
    """

    payload: bytes
    spelling: str
    reason: str
    provenance: Mapping[tuple[str, str], Mapping[str, Any]]

    def make(self) -> TicketSearch:
        """The search.

        Raises:
            TypeError: if it cannot be unpickled here.
        """
        try:
            search: TicketSearch = pickle.loads(self.payload)()
        except (TypeError, AttributeError, ImportError, pickle.PicklingError) as error:
            raise TypeError(
                "Expected a search that worker processes can load: functions and classes of a module, or remake=, an "
                f"importable function that makes it there. Received: {type(error).__name__}: {error}."
            ) from error
        search.choose_engine(self.spelling, self.reason)
        search.cache.provenance.update(self.provenance)
        return search


def _registered(calls: Sequence[tuple[Any, ...]], make_search: Callable[[], TicketSearch]) -> TicketSearch:
    """The search, made after its layer types are prunable in this process too."""
    for arguments in calls:
        register_prunable(*arguments)
    return make_search()


def _pickled(make_search: Callable[[], TicketSearch]) -> tuple[bytes, bool]:
    """A function that makes a search, pickled; and whether functions had to be pickled by value, as lambdas are.

    Importable functions are pickled by reference, so that their source can be read in a worker process.
    """
    try:
        return bytes(ForkingPickler.dumps(make_search)), False
    except Exception:  # pickling a user's objects can raise any exception
        try:
            return cloudpickle.dumps(make_search), True
        except Exception as error:
            raise TypeError(
                "Expected a search that can be pickled for worker processes, or remake=, an importable function that "
                f"makes it there. Received: {type(error).__name__}: {error}."
            ) from error


def next_tasks(
    pending: Sequence[Task], finished: Collection[tuple[int, str, int]], most: int, independent: Collection[str] = ()
) -> list[Task]:
    """The tasks to start now, at most so many: those that are ready, controls last, since no task depends on them."""
    ready = [task for task in pending if is_ready(task, finished, independent)]
    return sorted(ready, key=lambda task: is_control(task.branch))[:most]


class _Pool:
    """Worker processes that each train one task at a time."""

    def __init__(self, run: Prepared, sent: Sent, workers: int, fresh_graphs: bool) -> None:
        self._arguments = (sent, run.directory.path, run.kept)
        self._directory, self._independent = run.directory, run.search.independent
        self._size, self._fresh = workers, fresh_graphs
        self._idle: list[tuple[Any, Connection]] = []
        self._busy: dict[Connection, tuple[Any, Task]] = {}
        self._begun: set[Connection] = set()

    def run(self, pending: list[Task], finished: set[tuple[int, str, int]], failures: Failures, reporter: Any) -> None:
        """Trains the tasks in order, each when it is ready, except those that depend on failed ones."""
        while (pending := failures.without(pending)) or self._busy:
            for task in next_tasks(pending, finished, self._size - len(self._busy), self._independent):
                pending.remove(task)
                self._start(task)
            interrupts.check()
            for connection in wait(list(self._busy), _LISTENING_SECONDS):
                assert isinstance(connection, Connection)
                process, task = self._busy[connection]
                kind, *content = self._received(connection)
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

    def _received(self, connection: Connection) -> tuple[Any, ...]:
        """The message of a worker.

        Raises:
            WorkerDiedError, WorkerStartError: if the worker has ended.
        """
        with contextlib.suppress(EOFError, ConnectionResetError):  # reset if it ended before reading its task
            message: tuple[Any, ...] = connection.recv()
            return message
        interrupts.check()  # a signal to the process group may have ended it
        process, task = self._busy[connection]
        process.join(ENDING_SECONDS)
        if process.exitcode == _UNGUARDED:
            raise WorkerStartError(
                "Expected the script to start a search with worker processes below `if __name__ == '__main__':`, since "
                "each worker imports the script. Received: a script that starts it at import. Move the call there."
            )
        if connection not in self._begun and (process.exitcode or 0) > 0:
            raise WorkerStartError(
                "Expected worker processes to be able to import the main script and its modules. "
                f"Received: {_reason(process.exitcode)} before the first task; the worker's own message is above. "
                "Start the search below `if __name__ == '__main__':`."
            )
        raise WorkerDiedError(
            f"The worker process for {task} died ({_reason(process.exitcode)}). {self._directory.kept()} "
            "The same command resumes."
        )

    def close(self) -> None:
        """Ends all worker processes. Levels in training are lost; files stay intact.

        A process that does not end on request is killed; one that cannot be killed is left running.
        """
        connections = [*self._busy, *(connection for _, connection in self._idle)]
        end_processes([process for process, _ in (*self._busy.values(), *self._idle)])
        for connection in connections:
            connection.close()
        self._busy, self._idle = {}, []

    def _start(self, task: Task) -> None:
        if self._idle:
            process, connection = self._idle.pop()
        else:
            connection, theirs = _CONTEXT.Pipe()
            to_come = self._size - len(self._busy)  # busy workers have allocated their memory
            process = _CONTEXT.Process(target=work, args=(theirs, *self._arguments, to_come), daemon=True)
            with interrupts.blocked(signal.SIGINT):  # the parent handles Ctrl-C and ends its workers
                process.start()
            theirs.close()
        self._busy[connection] = (process, task)
        with contextlib.suppress(BrokenPipeError):  # `_received` reports a dead worker
            connection.send(task)

    def _rest(self, process: Any, connection: Connection) -> None:
        if not self._fresh:
            self._idle.append((process, connection))
            return
        connection.close()
        process.join(ENDING_SECONDS)
        if process.exitcode is None:
            end_processes([process])


def end_processes(processes: Sequence[Any], seconds: float = ENDING_SECONDS) -> None:
    """Requests processes to end, and kills those that still run after so many seconds in total."""
    for ask in ("terminate", "kill"):
        for process in processes:
            getattr(process, ask)()
        until = time.monotonic() + seconds
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


def work(connection: Connection, sent: Sent, path: Any, kept: Kept, processes: int = 1) -> None:
    """The main function of a worker process: trains tasks until the parent closes the connection or dies.

    `processes` is the number of workers, including this one, that still have to allocate their memory.
    """
    for number in interrupts.STOPPING:  # the parent receives these too and ends its workers by SIGTERM
        signal.signal(number, signal.SIG_DFL if number is signal.SIGTERM else signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError):
        connection.send(("begun",))
        search = None
        while True:
            task = connection.recv()
            try:
                if search is None:
                    search = sent.make()
                    search.processes = processes
                search.train_level(RunDirectory.load(path), task, kept=kept, reporter=_PipeReporter(connection))
            except LevelError as error:  # the parent continues with other tasks
                connection.send(("failed", LevelError(str(error))))
            except Exception as error:  # the parent raises it
                connection.send(("error", _sendable(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _sendable(error: Exception) -> Exception:
    """The error, or a `WorkerError` with its message if it cannot be pickled; a note contains its traceback."""
    sent: Exception = WorkerError(f"{type(error).__name__}: {error}")
    with contextlib.suppress(Exception):  # rebuilding an exception from its arguments can raise anything
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
