"""What trains and differentiates on Keras' active backend: the only room that imports one."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import keras

from lth_keras.backends.backend import Backend
from lth_keras.backends.derivatives import Differentiator
from lth_keras.backends.linearised import not_followed
from lth_keras.backends.losses import OWN, Told, has_several, is_multi_label, told_by
from lth_keras.backends.optimizers import LOWER, as_fit_takes_it
from lth_keras.backends.program import NOTHING_PRUNED, Program, ProgramParts, Pruned, Splits
from lth_keras.backends.skipped import skipped

__all__ = [
    "BACKENDS",
    "LOWER",
    "NOTHING_PRUNED",
    "OWN",
    "Backend",
    "Differentiator",
    "Program",
    "Pruned",
    "Splits",
    "Told",
    "ProgramParts",
    "as_fit_takes_it",
    "assign",
    "backend",
    "has_several",
    "is_multi_label",
    "make_differentiator",
    "not_followed",
    "set_threads",
    "skipped",
    "threads",
    "told_by",
]

BACKENDS = {"tensorflow": "TensorFlow", "jax": "Jax"}
"""Keras' name of a backend, which is its module's here, and the class in it; see `Backend`."""

_threads: int | None = None
"""As `set_threads` was told."""


def backend() -> Backend:
    """What trains on Keras' active backend.

    Raises:
        RuntimeError: where Keras runs on a backend that is none of `BACKENDS`.
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


def make_differentiator(*args: Any, **kwargs: Any) -> Differentiator:
    """Derivatives of a model on Keras' active backend; arguments as `Differentiator` but for the backend."""
    return Differentiator(backend().derivatives(), *args, **kwargs)


def assign(variable: Any, value: Any) -> None:
    """Assigns an array's values to a Keras variable; see `Backend.assign`."""
    backend().assign(variable, value)


def set_threads(threads: int) -> None:
    """Sets how many threads one operation may use; see `Backend.set_threads`.

    Raises:
        RuntimeError: where the backend is already initialised with another number.
    """
    global _threads
    backend().set_threads(threads)
    _threads = threads


def threads() -> int | None:
    """As `set_threads` was told; None where it was not."""
    return _threads
