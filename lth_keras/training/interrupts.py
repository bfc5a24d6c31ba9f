"""Ctrl-C that waits until a compiled call has handed back what it was given."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Within it, signals that Python handles are put off: what was asked meanwhile happens at its end.

    JAX writes into buffers that it is given, so an exception between a call and the taking of its results would leave
    variables without values; and it may swallow one while it traces or compiles. Elsewhere than in the main thread, and
    for signals that Python does not handle, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handled:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])
