"""Functions in processes of their own that cost no import of a backend: forked from one that has done nothing else.

A backend that has run something has threads, which a fork would lose. This one has imported it and run nothing.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Ended(NamedTuple):
    """How a process ended: exit code (minus the signal that killed it), what its function returned or raised."""

    code: int
    value: Any
    error: str | None
    seconds: float


class Forks:
    """The process to fork from, with a backend imported and this environment. Use as a context manager."""

    def __init__(self, backend: str, **environment: str) -> None:
        self.backend = backend
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()

    def call(self, function: str, *, killed_after: float | None = None, **arguments: Any) -> Ended:
        """Calls `module:function` in a new process, which is killed where it takes longer than so many seconds.

        Arguments and what it returns are JSON, but for paths, which become strings.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"function": function, "arguments": arguments, "killed_after": killed_after}
        print(json.dumps(request, default=str), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed is no answer
    importlib.import_module("tests.tiny")
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        request = json.loads(line)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_call, args=(theirs, request["function"], request["arguments"]))
        started = time.monotonic()
        process.start()
        theirs.close()
        process.join(request["killed_after"])
        process.kill()
        process.join()
        seconds = time.monotonic() - started
        try:
            value, error = ours.recv()
        except EOFError:
            value, error = None, None
        ours.close()
        ended = Ended(process.exitcode or 0, value, error, seconds)
        print(json.dumps(ended._asdict()), file=answers, flush=True)


def _call(connection: Any, function: str, arguments: dict[str, Any]) -> None:
    module, name = function.split(":")
    try:
        connection.send((getattr(importlib.import_module(module), name)(**arguments), None))
    except Exception as error:  # it is the caller's, to look at
        connection.send((None, f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from None


if __name__ == "__main__":
    _serve()
