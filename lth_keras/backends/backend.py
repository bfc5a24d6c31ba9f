"""The backend protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lth_keras.backends.program import Program, ProgramParts


class Backend(Protocol):
    """Trains and differentiates Keras models on a backend of Keras.

    A new backend is a module with a class that has these members and a line in `lth_keras.backends.BACKENDS`.
    """

    compiles_always: bool
    """Whether all training is compiled with XLA."""
    most_tickets: int | None
    """The most tickets that a program can train at once; None for any number."""

    def assign(self, variable: Any, value: Any) -> None:
        """Assigns an array's values to a Keras variable; later changes of the array have no effect."""

    def set_threads(self, threads: int) -> None:
        """Sets how many threads one operation may use, before the backend has run anything in this process.

        Raises:
            RuntimeError: if it has run with another number.
        """

    def device(self) -> tuple[str, int | None]:
        """The kind of device, such as `cpu` or `gpu`, and its free memory in bytes, or None if unknown."""

    def program(self, training: ProgramParts, tickets: int = 1) -> Program:
        """The compiled training program of a model.

        Args:
            training: its parts.
            tickets: number of tickets that it trains at once, at most `most_tickets`.

        Raises:
            ValueError: for layers that the backend cannot compile.
        """

    def rowwise_program(
        self,
        training: ProgramParts,
        tables: Sequence[Any],
        using_rows: Callable[..., Any],
        rule: Callable[[int], Any],
        assign: Callable[[Any, Any], None],
        *,
        lazy: bool,
    ) -> Program:
        """The program for models with large embedding tables; arguments as `RowwiseProgram`."""

    def derivatives(self) -> Any:
        """The module that differentiates functions; see `lth_keras.backends.derivatives`."""
