"""Contenders in processes of their own: a process has one Keras backend, and a benchmark compares several."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.contenders import Contender

_CONTEXT = multiprocessing.get_context("spawn")


class Stage:
    """A process with one Keras backend, whose contenders take turns with those of other stages.

    It waits for the next turn without using the processor. Use it as a context manager.

    Args:
        backend: `KERAS_BACKEND` in the process.
        load: gives the contenders their data, in the process; importable.
    """

    def __init__(self, backend: str, load: Callable[[], Any]) -> None:
        self._backend = backend
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, load))  # may have processes of its own
        with environment({"KERAS_BACKEND": backend}):
            self._process.start()
        theirs.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()  # the process ends when it hears that
        self._process.join()

    def contender(self, make: Callable[..., Contender], *arguments: Any, **named: Any) -> Contender:
        """A contender in the process: `make(data, *arguments, **named)`, importable.

        Raises:
            RuntimeError: here or in its turns, where something is raised in the process, or it ends.
        """
        number = self._ask("make", make, arguments, named)
        return Contender(lambda: self._ask("restore", number), lambda: float(self._ask("run", number)))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function(*arguments)` returns in the process.

        Raises:
            RuntimeError: where something is raised there, or it ends.
        """
        return self._ask("call", function, arguments)

    def _ask(self, *request: Any) -> Any:
        self._send(*request)
        return self._answer()

    def _send(self, *request: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # that it has ended shows when it is listened to
            self._connection.send(request)

    def _answer(self) -> Any:
        try:
            succeeded, answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise RuntimeError(
                f"The process with Keras on {self._backend} ended with exit code {self._process.exitcode}."
            ) from None
        if not succeeded:
            raise RuntimeError(f"In the process with Keras on {self._backend}:\n{answer}")
        return answer


def side_by_side(stages: Sequence[Stage], make: Callable[..., Contender], *arguments: Any) -> Contender:
    """One contender in each of several processes, which take their turns at the same time.

    Its loss is the mean of theirs. Arguments and errors as `Stage.contender`.
    """
    numbers = [stage._ask("make", make, arguments, {}) for stage in stages]

    def restore() -> None:
        for stage, number in zip(stages, numbers, strict=True):
            stage._ask("restore", number)

    def run() -> float:
        for stage, number in zip(stages, numbers, strict=True):
            stage._send("run", number)
        return float(np.mean([stage._answer() for stage in stages]))

    return Contender(restore, run)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Within it, processes that are started have these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, load: Callable[[], Any]) -> None:
    """The process: answers until its parent closes the connection, or dies."""
    data: Any = None
    contenders: list[Contender] = []
    while True:
        try:
            kind, *request = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            answer: Any = None
            if kind == "call":
                function, arguments = request
                answer = function(*arguments)
            elif kind == "make":
                make, arguments, named = request
                data = load() if data is None else data
                contenders.append(make(data, *arguments, **named))
                answer = len(contenders) - 1
            else:
                answer = getattr(contenders[request[0]], kind)()
            connection.send((True, answer))
        except Exception:
            connection.send((False, traceback.format_exc()))
