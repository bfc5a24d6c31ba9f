"""Progress of a search: a bar with the remaining time, and one line per finished level."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lth_keras.system.printing import printable


class Reporter(Protocol):
    """Protocol: receives a search's progress. A task is a `lth_keras.search.tasks.Task`."""

    def started(self, task: Any, steps: int) -> None:
        """A training of `steps` steps has started."""

    def advanced(self, task: Any, done: int, steps: int) -> None:
        """`done` of its `steps` are done."""

    def finished(self, task: Any, scalars: Mapping[str, float]) -> None:
        """It is finished and its file is written; `scalars` as in `lth_keras.analysis.SCALARS`."""

    # Optional method `failed(task, message)`: a training has failed, before or after its start.


class ConsoleReporter:
    """Shows progress on the console. Use as a context manager.

    Args:
        pending: number of trainings in this call.
        console: output; standard error by default. If it is not a terminal, only the lines are printed.
        metric: name of the metric in lines; by default as in files, such as `accuracy`.
    """

    def __init__(self, pending: int, console: Console | None = None, metric: str | None = None) -> None:
        self._metric = metric
        self._console = console or Console(stderr=True)
        self._pending = pending
        self._done = 0
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            speed_estimate_period=600,
        )
        self._total = self._progress.add_task("search", total=None)  # until the first training starts
        self._bars: dict[Any, TaskID] = {}
        self._steps: dict[Any, int] = {}
        self._length = 0

    def __enter__(self) -> ConsoleReporter:
        self._progress.start()
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError) if any(exception) else contextlib.nullcontext():  # the terminal may be closed
            self._progress.stop()

    def started(self, task: Any, steps: int) -> None:
        """See `Reporter.started`."""
        self._progress.update(self._total, total=self._pending * steps)
        self._bars[task] = self._progress.add_task(printable(task), total=steps)
        self._steps[task] = 0
        self._length = steps

    def advanced(self, task: Any, done: int, steps: int) -> None:
        """See `Reporter.advanced`."""
        self._progress.update(self._bars[task], completed=done)
        self._progress.advance(self._total, done - self._steps[task])
        self._steps[task] = done

    def finished(self, task: Any, scalars: Mapping[str, float]) -> None:
        """See `Reporter.finished`."""
        self._done += 1
        self._end(task)
        # Count steps, not trainings: tickets trained together are all done when the first is finished.
        done, total = sum(self._steps.values()), self._pending * self._length
        left = (time.monotonic() - self._started) / done * max(0, total - done)
        self._say(
            f"{self._done}/{self._pending} {printable(task)}: density {scalars['density']:.2%}, early stop at step "
            f"{scalars['early_stop_step']:,.0f} with {measured(scalars, self._metric)}; "
            f"{scalars['seconds']:.1f} s, about {duration(left)} left"
        )

    def failed(self, task: Any, message: str) -> None:
        """Prints that a training failed; the others continue."""
        if task in self._bars:
            self._end(task)
        self._say(printable(f"Failed: {message}"))

    def _end(self, task: Any) -> None:
        self._progress.remove_task(self._bars.pop(task))
        self._steps[task] = self._length

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


_SHARES = ("accuracy", "f1", "precision", "recall", "auc", "r2")


def measured(scalars: Mapping[str, float], label: str | None = None) -> str:
    """The test metric at early stop and at the end: shares in percent, others unchanged."""
    name = next(key for key in scalars if re.fullmatch("test_.+_at_early_stop", key))[5 : -len("_at_early_stop")]
    share = any(word in name.split("_") for word in _SHARES)
    early, final = (scalars[f"test_{name}_{when}"] for when in ("at_early_stop", "final"))
    shown = [f"{value:.2%}" if share else f"{value:.4g}" for value in (early, final)]
    return f"{shown[0]} test {label or name.replace('_', ' ')}, {shown[1]} at the end"


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
