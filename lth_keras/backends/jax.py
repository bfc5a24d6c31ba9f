"""The compiled training program on JAX, and what else a backend must have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lth_keras.backends.jax_pure import Pure, State, assign, exactly
from lth_keras.backends.jax_together import JaxPrograms
from lth_keras.backends.program import (
    NEVER,
    NOTHING_PRUNED,
    Arrays,
    Evaluations,
    OnDevice,
    Pruned,
    due_steps,
    padded_order,
)
from lth_keras.system.interrupts import uninterrupted

__all__ = [
    "COMPILES_ALWAYS",
    "PROGRAM",
    "TRAINS_TOGETHER",
    "JaxProgram",
    "JaxPrograms",
    "assign",
    "derivatives",
    "device",
    "programs",
    "rowwise_program",
    "set_threads",
]


def set_threads(threads: int) -> None:
    """Sets the threads of JAX on CPUs; only before JAX has run anything in this process.

    Raises:
        RuntimeError: where JAX is already initialised with another number.
    """
    wanted = str(threads)
    if os.environ.get("NPROC") == wanted:
        return
    if _is_initialized():
        raise RuntimeError(
            f"Expected JAX not to have run anything yet, so that its threads can be set to {threads}. "
            f"Received: a JAX that was initialised with {os.environ.get('NPROC', 'its own number')}."
        )
    os.environ["NPROC"] = wanted


def _is_initialized() -> bool:
    """Whether JAX has made its devices. It does not say so publicly; where it has moved, it is taken not to have."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    return bool(getattr(bridge, "backends_are_initialized", bool)())


class JaxProgram:
    """Many training steps, with evaluation and the best weights kept, in one call of one compiled function.

    It is traced and compiled once. The values of the model's and the optimiser's variables are handed over to it and
    taken back at every call (their buffers are reused), and are the variables' own between calls.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimiser of its own; built here.
        loss: as Keras' `compile` takes it.
        weights: the Keras variables to keep the best values of.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
        jit_compile: must be true: JAX compiles everything with XLA.
        pruned: weights to keep at zero where they are pruned, from the start of every `advance` on.
        metric: what to measure beside the loss, as `lth_keras.training.make_metric` gives it.

    Raises:
        ValueError: where `jit_compile` is false.
    """

    keeps_best = True

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Any,
        weights: Sequence[Any],
        *,
        batch_size: int,
        evaluate_every: int,
        evaluation_batch_size: int,
        jit_compile: bool = True,
        pruned: Pruned = NOTHING_PRUNED,
        metric: Any,
    ) -> None:
        if not jit_compile:
            raise ValueError("Expected jit_compile=True or None with JAX, which compiles with XLA. Received: False.")
        self._pure = Pure(
            model,
            optimizer,
            loss,
            weights,
            batch_size=batch_size,
            evaluate_every=evaluate_every,
            evaluation_batch_size=evaluation_batch_size,
            pruned=pruned,
            metric=metric,
        )
        self.capacity, self.every = self._pure.capacity, evaluate_every
        self.advice = self._pure.advice
        self._weights = list(weights)
        self._slots_start = [np.array(variable) for variable in self._pure.slots]
        self._advance = jax.jit(exactly(self._pure.advance), donate_argnums=0)
        self._evaluate = jax.jit(exactly(self._pure.evaluation))
        self._outputs = jax.jit(exactly(self._pure.outputs))
        self._data: tuple[Any, ...] = ()
        self._on_device = OnDevice(_on_device)

    @property
    def traces(self) -> int:
        """How often the training was traced, and so compiled."""
        return self._pure.traces

    def load(self, train: Arrays, validation: Arrays) -> None:
        """Puts the data on the device; see `Program.load`."""
        self.unload()  # what was there makes room first
        self._on_device = OnDevice(_on_device, train, validation)
        rows = jnp.arange(len(validation[0]), dtype=jnp.int32)
        self._data = (*self._on_device(*train), *self._on_device(*validation), rows)

    def unload(self) -> None:
        """Lets go of the data; see `Program.unload`."""
        self._data, self._on_device = (), OnDevice(_on_device)

    def reset(self, updates: int = 0) -> None:
        """Puts the optimiser back to its start; see `Program.reset`."""
        for variable, value in zip(self._pure.slots, self._slots_start, strict=True):
            weight = self._pure.begin_as_weights.get(id(variable))
            beginning = value if weight is None else weight.value
            assign(variable, updates if id(variable) in self._pure.counts else beginning)
        for variable in (*self._pure.trainable, *self._pure.others):  # models made of this one may share its buffers
            assign(variable, variable.value)
        self._best = [jnp.array(variable.value, copy=True) for variable in self._weights]
        self._best_loss, self._loss_sum = jnp.float32(np.inf), jnp.float32(0)

    def advance(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """Trains on the batches of `order`; see `Program.advance`."""
        stop = start + len(order)
        bounds = map(jnp.int32, (start, stop, total))
        state = {**self._state(), "best": self._best, "best_loss": self._best_loss, "loss_sum": self._loss_sum}
        with uninterrupted():  # what was handed over must not be in the variables when Ctrl-C is heard
            state, bad, curves = self._advance(state, self._data, padded_order(order, self.capacity), *bounds)
            for group, variables in self._groups().items():
                for variable, value in zip(variables, state[group], strict=True):
                    variable.assign(value)
            self._best, self._best_loss, self._loss_sum = (state[name] for name in ("best", "best_loss", "loss_sum"))
        step = due_steps(start, stop, total, self._pure.every)
        return Evaluations(step, *np.array(curves)[:, : len(step)]), None if bad == NEVER else int(bad)

    def finish(self) -> None:
        """Puts averages in the place of weights; see `Program.finish`."""
        if self._pure.averages:
            finalized = self._pure.finalized(self._state())
            for variable, value in zip(self._pure.trainable, finalized["trainable"], strict=True):
                assign(variable, value)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean loss and metric; see `Program.evaluate`."""
        rows = np.arange(len(x), dtype=np.int32)
        with uninterrupted():
            loss, metric = self._evaluate(self._state(), *self._on_device(x, y), rows)
        return float(loss), float(metric)

    def test(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Mean loss, metric and outputs; see `Program.test`."""
        size, state, outputs = self._pure.evaluation_batch_size, self._state(), []
        examples, _ = self._on_device(x, y)
        for start in range(0, len(x), size):
            with uninterrupted():
                outputs.append(np.array(self._outputs(state, examples[start : start + size])))
        return *self.evaluate(x, y), np.concatenate(outputs)

    def best_weights(self) -> list[np.ndarray]:
        """The weights of least validation loss; see `Program.best_weights`."""
        return [np.array(value) for value in self._best]

    def _groups(self) -> dict[str, list[Any]]:
        return {"trainable": self._pure.trainable, "others": self._pure.others, "slots": self._pure.slots}

    def _state(self) -> State:
        return {name: [variable.value for variable in group] for name, group in self._groups().items()}


def _on_device(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(jnp.array(array, copy=True) for array in arrays)


def programs(*args: Any, **kwargs: Any) -> JaxPrograms:
    """Several trainings as one; arguments as `JaxPrograms`."""
    return JaxPrograms(*args, **kwargs)


def device() -> tuple[str, int | None]:
    """The kind of device that trains, such as `cpu` or `gpu`, and its free memory in bytes, where known."""
    first = jax.devices()[0]
    statistics = first.memory_stats() or {}
    free = statistics.get("bytes_limit", 0) - statistics.get("bytes_in_use", 0)
    return first.platform, free or None


PROGRAM = JaxProgram
COMPILES_ALWAYS = True
TRAINS_TOGETHER = True


def rowwise_program() -> type[Any]:
    """The class of programs for models with large embedding tables."""
    from lth_keras.backends.jax_rowwise import RowwiseJaxProgram

    return RowwiseJaxProgram


def derivatives() -> Any:
    """The module that differentiates functions."""
    from lth_keras.backends import jax_derivatives

    return jax_derivatives
