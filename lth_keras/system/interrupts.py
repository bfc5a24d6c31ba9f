"""Signals that stop a search: noted when they come, and raised where nothing can drop or break what is under way."""

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
"""Seconds within which a signal counts as the one before: `timeout`, shells and terminals send it twice."""

_asked: list[int] = []
"""The signal that has been noted and not been raised yet."""


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal has ended."""
        return 128 + self.number


def check() -> None:
    """Raises `Stopped`, once, where a signal was noted: to be called between steps of what takes time.

    An exception that a signal's handler raises would be lost where it comes up in a callback of C code or in a
    `__del__`, such as JAX's at a garbage collection, or break what a compiled call is about to hand back.
    """
    if _asked:
        number = _asked[0]
        _asked.clear()
        raise Stopped(number)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """For command lines: within it SIGINT, SIGTERM and SIGHUP are noted for `check`, which is called at its end too.

    A second one ends the process at once. Signals that are ignored stay so, as under nohup.
    """
    taken = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    with _noted(taken, _end_process):
        yield


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """For the library: within it Ctrl-C is noted for `check`, where it would raise KeyboardInterrupt anywhere.

    A second one raises it at once. Handlers of others, such as a command's, stay.
    """
    taken = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    with _noted(taken, signal.default_int_handler):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within it, signals whose handlers may raise are put off: what was asked meanwhile happens at its end.

    JAX writes into buffers that it is given, so an exception between a call and the taking of its results would leave
    variables without values; and it may swallow one while it traces or compiles. Elsewhere than in the main thread, and
    for signals that Python does not handle or that are only noted, nothing changes.
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
    """A process that is started within it never gets this signal; this one does, at the end if no thread sooner."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Notes:
    """A handler that notes the first signal for `check`, and has the second one handled at once."""

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
    """Ends the process without any more of its code; its worker processes end when they see that."""
    if os.isatty(2):
        _tell("\x1b[?25h")  # the cursor, which a progress bar hides
    os._exit(128 + number)


def _tell(text: str) -> None:
    """Writes to standard error past Python's buffers, which the code that was interrupted may be writing to."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
