"""A search in a process of its own that keeps a journal outside of its run directory, and kills itself where told."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil

from datasets import digits
from lth_keras.models import lenet_300_100
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import Task
from lth_keras.storage import atomic
from tests import tiny

EVENTS = ("started", "advanced", "finished")
CALLS = ("open", "mkdir", "fsync", "replace", "unlink")
STAGES = (*EVENTS, *CALLS, "write", "lock")
"""Where a search can kill itself: as it hears of an event, or before it asks the system for something."""


def lenet(**changes: Any) -> TicketSearch:
    """LeNet-300-100 on 8x8 digits, large enough for an operation to be shared among threads."""
    given = {"build": lambda: lenet_300_100(input_shape=(64,)), "data": digits.load(seed=0), "batch_size": 60}
    return tiny.make(**{**given, "levels": 1, "jit_compile": None, **changes})


def search(
    out: str,
    journal: str,
    kill: tuple[str, int] | None = None,
    make: str = "tiny",
    changes: dict[str, Any] | None = None,
    **asked: Any,
) -> dict[str, int]:
    """Runs a search; returns how often it came to each stage.

    Args:
        out: directory for runs.
        journal: file that gets a line for every training begun and every level finished.
        kill: stage, and how often to pass it before the kill.
        make: the search, "tiny" or "lenet".
        changes: its parameters.
        **asked: parameters of `runner.run`.
    """
    stages = _Stages(journal, kill)
    for name in CALLS:
        setattr(os, name, stages.watched(name, getattr(os, name)))
    fcntl.flock = stages.watched("lock", fcntl.flock)  # type: ignore[assignment]
    atomic.CHUNK_BYTES = 4096  # so that a level file takes some writes
    chunks = atomic.chunks

    def watched_chunks(content: memoryview) -> Iterator[memoryview]:
        for chunk in chunks(content):
            stages.reached("write")
            yield chunk

    atomic.chunks = watched_chunks
    maker = {"tiny": tiny.make, "lenet": lenet}[make]
    tiny.run(functools.partial(maker, **changes or {}), out=out, reporter=stages, **asked)
    return stages.passed


def search_after_another(out: str, journal: str, **asked: Any) -> dict[str, int]:
    """As `search`, in a process that has built, drawn and trained something else before."""
    keras.utils.set_random_seed(5)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(7), keras.layers.Dropout(0.5)])(np.ones((2, 4)))
    tiny.make(seed=3, steps=15, levels=1).run(2, tiny.ALL, f"{out}-before")
    return search(out, journal, **asked)


def command(out: str, number: int, moment: float, collecting: bool) -> None:
    """The command of an experiment whose training would take days, sent a signal after so many seconds.

    Args:
        out: directory for runs.
        number: the signal.
        moment: seconds after the start.
        collecting: whether it comes in a callback of the garbage collector, which drops what its handler raises.
    """
    from experiments import digits_lenet_fcn as experiment
    from experiments.command import main

    signal.signal(number, signal.SIG_DFL)  # ignored where the tests run in a shell's background
    if number == signal.SIGINT:
        signal.signal(number, signal.default_int_handler)
    started, sent = time.monotonic(), threading.Event()

    def send(phase: str, information: dict[str, int]) -> None:
        if phase == "start" and time.monotonic() - started > moment and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), number)

    if collecting:
        gc.callbacks.append(send)
    else:
        threading.Timer(moment, os.kill, (os.getpid(), number)).start()
    sys.argv = ["digits", "--steps", "1000000000", "--backend", keras.backend.backend(), "--out", out]
    main(experiment.Config, experiment.make_search, "digits_lenet_fcn")


class _Stages:
    """Counts the stages that a search comes to; a reporter, too."""

    def __init__(self, journal: str, kill: tuple[str, int] | None) -> None:
        self.passed = dict.fromkeys(STAGES, 0)
        self._kill = tuple(kill) if kill else None
        self._open, self._journal = os.open, journal

    def reached(self, stage: str) -> None:
        if (stage, self.passed[stage]) == self._kill:
            self._note("killed", *(child.pid for child in psutil.Process().children()))
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed[stage] += 1

    def watched(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.reached(stage)
            return function(*arguments, **options)

        return call

    def _note(self, *words: object) -> None:
        descriptor = self._open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
        os.close(descriptor)

    def started(self, task: Task, steps: int) -> None:
        self._note("started", *task)
        self.reached("started")

    def advanced(self, task: Task, done: int, steps: int) -> None:
        self.reached("advanced")

    def finished(self, task: Task, scalars: Any) -> None:
        self._note("finished", *task)
        self.reached("finished")


def noted(journal: Path, event: str) -> list[Task]:
    """The tasks of a journal's lines of this event, in order."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    words = [line.split() for line in lines]
    return [Task(int(seed), branch, int(level)) for kind, seed, branch, level in (w for w in words if w[0] == event)]
