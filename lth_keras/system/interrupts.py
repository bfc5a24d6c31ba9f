"""Signals that stop a search. A handler records the signal; `check` raises it between two steps of the work."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a command to stop."""
REPEATED = 0.5
"""Seconds in which a repeated signal is ignored, since `timeout`, shells and terminals send signals twice."""

_asked: list[int] = []
"""Recorded signals that were not raised yet."""


class Stopped(KeyboardInterrupt):
    """A signal requested a stop.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a process ended by the signal."""
        return 128 + self.number


def check() -> None:
    """Raises `Stopped` once if a signal was recorded. Call it between the steps of long work.

    If the signal handler raised the exception itself, it could be lost in a callback of C code or in a `__del__`, such
    as JAX's at a garbage collection, or a compiled call could lose its results.
    """
    if _asked:
        number = _asked[0]
        _asked.clear()
        raise Stopped(number)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Context for command lines: SIGINT, SIGTERM and SIGHUP are recorded for `check`, which is also called at the end.

    A second signal ends the process at once. Ignored signals stay ignored, as under nohup.
    """
    taken = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    with _noted(taken, _end_process):
        yield


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """Context for the library: Ctrl-C is recorded for `check` instead of raising KeyboardInterrupt anywhere.

    A second Ctrl-C raises it at once. Handlers of other code, such as a command line's, stay.
    """
    taken = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    with _noted(taken, signal.default_int_handler):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Context: signals whose handlers may raise are handled at its end.

    JAX reuses the buffers of its arguments, so an exception between a call and the assignment of its results would
    leave variables without values. JAX may also swallow an exception while it traces or compiles. Nothing changes
    outside of the main thread, or for signals that Python does not handle or only records.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in STOPPING}
    handled = {n: handler for n, handler in handlers.items() if callable(handler) and not isinstance(handler, _Notes)}
    for number in handled:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])


@contextlib.contextmanager
def blocked(number: int) -> Iterator[None]:
    """Context: processes started in it never receive this signal. This process receives it at the end or earlier."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Notes:
    """A handler that records the first signal for `check` and handles the second at once."""

    def __init__(self, second: Callable[[int, FrameType | None], object]) -> None:
        self._second, self._since = second, None  # type: Callable[[int, FrameType | None], object], float | None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            _asked[:] = [number]
            _tell(f"\n{signal.Signals(number).name}: stopping as soon as the step at hand is done. Again: at once.\n")
        elif now - self._since > REPEATED:
            _asked.clear()
            self._second(number, frame)


@contextlib.contextmanager
def _noted(numbers: list[signal.Signals], second: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    if not numbers or threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    notes = _Notes(second)
    before = {number: signal.signal(number, notes) for number in numbers}
    try:
        yield
        check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


def _end_process(number: int, frame: FrameType | None) -> None:
    """Ends the process at once. Its worker processes notice that and end."""
    if os.isatty(2):
        _tell("\x1b[?25h")  # the cursor, which a progress bar hides
    os._exit(128 + number)


def _tell(text: str) -> None:
    """Writes to standard error without Python's buffers, which the interrupted code may be using."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
