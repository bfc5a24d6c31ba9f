"""What trains and differentiates on Keras' active backend: the only room that imports one."""

from __future__ import annotations

from typing import Any

import keras

from lth_keras.backends.derivatives import Differentiator
from lth_keras.backends.linearised import not_followed
from lth_keras.backends.losses import OWN, Told, has_several, is_multi_label, told_by
from lth_keras.backends.optimizers import as_fit_takes_it
from lth_keras.backends.program import NOTHING_PRUNED, Program, Programs, Pruned
from lth_keras.backends.skipped import skipped

__all__ = [
    "NOTHING_PRUNED",
    "OWN",
    "Differentiator",
    "Program",
    "Programs",
    "Pruned",
    "Told",
    "as_fit_takes_it",
    "assign",
    "compiles_always",
    "device",
    "has_several",
    "is_multi_label",
    "make_differentiator",
    "make_program",
    "make_programs",
    "make_rowwise_program",
    "not_followed",
    "set_threads",
    "skipped",
    "threads",
    "told_by",
    "trains_together",
]

_threads: int | None = None
"""As `set_threads` was told."""


def _backend() -> Any:
    name = keras.backend.backend()
    if name == "tensorflow":
        from lth_keras.backends import tensorflow

        return tensorflow
    if name == "jax":
        from lth_keras.backends import jax

        return jax
    raise RuntimeError(
        f"Expected the Keras backend to be tensorflow or jax. Received: {name!r}. Set KERAS_BACKEND=tensorflow or "
        "KERAS_BACKEND=jax before the first import of keras."
    )


def make_program(*args: Any, **kwargs: Any) -> Program:
    """The compiled training program of Keras' active backend; arguments as `TensorFlowProgram`."""
    program: Program = _backend().PROGRAM(*args, **kwargs)
    return program


def make_rowwise_program(*args: Any, **kwargs: Any) -> Program:
    """The program for models with large embedding tables; arguments as `RowwiseProgram`."""
    program: Program = _backend().rowwise_program()(*args, **kwargs)
    return program


def make_programs(*args: Any, **kwargs: Any) -> Programs:
    """A program that trains several weights of one model at once; arguments as `JaxPrograms`.

    Raises:
        NotImplementedError: on a backend that has none.
    """
    programs: Programs = _backend().programs(*args, **kwargs)
    return programs


def make_differentiator(*args: Any, **kwargs: Any) -> Differentiator:
    """Derivatives of a model on Keras' active backend; arguments as `Differentiator` but for the backend."""
    return Differentiator(_backend().derivatives(), *args, **kwargs)


def device() -> tuple[str, int | None]:
    """The kind of device that trains, such as `cpu` or `gpu`, and its free memory in bytes, where known."""
    kind: str
    kind, free = _backend().device()
    return kind, free


def compiles_always() -> bool:
    """Whether Keras' active backend knows no training that is not compiled by XLA."""
    return bool(_backend().COMPILES_ALWAYS)


def trains_together() -> bool:
    """Whether Keras' active backend has a program for several trainings at once; see `make_programs`."""
    return bool(_backend().TRAINS_TOGETHER)


def assign(variable: Any, value: Any) -> None:
    """Assigns an array's values to a Keras variable; what happens to the array later does not matter."""
    _backend().assign(variable, value)


def set_threads(threads: int) -> None:
    """Sets how many threads one operation may use; only before the backend has run anything in this process.

    Raises:
        RuntimeError: where the backend is already initialised with another number.
    """
    global _threads
    _backend().set_threads(threads)
    _threads = threads


def threads() -> int | None:
    """As `set_threads` was told; None where it was not."""
    return _threads
