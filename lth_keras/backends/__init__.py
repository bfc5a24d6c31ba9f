"""Training and differentiation on Keras' active backend. Only this package imports backends."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import keras

from lth_keras.backends.backend import Backend
from lth_keras.backends.derivatives import Differentiator
from lth_keras.backends.linearised import not_followed
from lth_keras.backends.losses import (
    BINARY,
    CATEGORICAL,
    DIRECTION,
    HINGE,
    OVERLAP,
    OWN,
    REGRESSION,
    SPARSE,
    LossFacts,
    has_several,
    is_multi_label,
    loss_facts,
    with_axis_of,
)
from lth_keras.backends.optimizers import LOWER, as_fit_takes_it
from lth_keras.backends.program import (
    NOTHING_PRUNED,
    Arrays,
    Evaluations,
    Program,
    ProgramOfOne,
    ProgramParts,
    Pruned,
    Splits,
    Values,
    due_steps,
)
from lth_keras.backends.skipped import is_plain, skipped

BACKENDS = {"tensorflow": "TensorFlow", "jax": "Jax"}
"""Keras' name of a backend, which is also the module's name in this folder -> the class in it; see `Backend`."""

_threads: int | None = None
"""The argument of `set_threads`."""


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


def make_differentiator(*args: Any, **kwargs: Any) -> Differentiator:
    """Derivatives of a model on Keras' active backend; arguments as `Differentiator` without the backend."""
    return Differentiator(backend().derivatives(), *args, **kwargs)


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
