"""The backend protocol, and the active backend."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import keras

if TYPE_CHECKING:
    from lth_keras.backends.derivatives import Derivatives
    from lth_keras.backends.program import Program, ProgramParts

BACKENDS = {"tensorflow": "TensorFlow", "jax": "Jax", "torch": "Torch"}
"""Keras' name of a backend, which is also the module's name in this folder -> the class in it; see `Backend`."""

_threads: int | None = None
"""The argument of `set_threads`."""


class Backend(Protocol):
    """Trains and differentiates Keras models on a backend of Keras.

    A new backend is a module with a class that has these members and a line in `lth_keras.backends.BACKENDS`.
    """

    compiles: bool
    """Whether training can be compiled with XLA."""
    compiles_always: bool
    """Whether all training is compiled with XLA."""
    trains_by_rows: bool
    """Whether `rowwise_program` is written for it."""
    most_tickets: int | None
    """The most tickets that a program can train at once; None for any number."""
    derivatives: Derivatives
    """The module that differentiates functions."""

    def assign(self, variable: Any, value: Any) -> None:
        """Assigns an array's values to a Keras variable; later changes of the array have no effect."""

    def set_threads(self, threads: int) -> None:
        """Sets how many threads one operation may use, before the backend has run anything in this process.

        Raises:
            RuntimeError: if it has run with another number, unless the backend can change it then.
        """

    def device(self) -> tuple[str, int | None]:
        """The kind of device, such as `cpu` or `gpu`, and its free memory in bytes, or None if unknown."""

    def program(self, training: ProgramParts, tickets: int = 1) -> Program:
        """The training program of a model, compiled where the backend compiles.

        Args:
            training: its parts.
            tickets: number of tickets that it trains at once, at most `most_tickets`.

        Raises:
            ValueError: for layers that the backend cannot compile, or a `jit_compile` that it does not have.
        """

    def rowwise_program(
        self,
        training: ProgramParts,
        tables: Sequence[Any],
        using_rows: Callable[..., Any],
        rule: Callable[[int], Any],
    ) -> Program:
        """The program for models with large embedding tables; arguments as `RowwiseProgram`.

        Raises:
            NotImplementedError: unless it `trains_by_rows`.
        """


def backend() -> Backend:
    """Keras' active backend.

    Raises:
        RuntimeError: if Keras runs on a backend that is not in `BACKENDS`.
    """
    return _made(keras.backend.backend())


@cache
def _made(name: str) -> Backend:
    if name not in BACKENDS:
        raise RuntimeError(
            f"Expected the Keras backend to be one of {', '.join(BACKENDS)}. Received: {name!r}. Set KERAS_BACKEND to "
            "one of them before the first import of keras."
        )
    made: Backend = getattr(importlib.import_module(f"lth_keras.backends.{name}"), BACKENDS[name])()
    return made


def assign(variable: Any, value: Any) -> None:
    """Assigns an array's values to a Keras variable; see `Backend.assign`."""
    backend().assign(variable, value)


def set_threads(threads: int) -> None:
    """Sets how many threads one operation may use; see `Backend.set_threads`.

    Raises:
        RuntimeError: if the backend is already initialised with another number.
    """
    global _threads
    backend().set_threads(threads)
    _threads = threads


def threads() -> int | None:
    """The argument of `set_threads`; None if it was not called."""
    return _threads
