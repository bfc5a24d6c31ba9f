"""The backend JAX and its training program for one ticket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_keras.backends import jax_derivatives
from lth_keras.backends.jax_batched import BatchedJaxProgram
from lth_keras.backends.jax_pure import Pure, assign, exactly, put_back, values_of
from lth_keras.backends.jax_rowwise import RowwiseJaxProgram
from lth_keras.backends.optimizers import restart, values_after_build
from lth_keras.backends.program import (
    NEVER,
    Arrays,
    Evaluations,
    OnDevice,
    Program,
    ProgramOfOne,
    ProgramParts,
    due_steps,
    padded_order,
)
from lth_keras.backends.several import count, each, joined, rows
from lth_keras.system import uninterrupted


class JaxProgram(ProgramOfOne):
    """Makes many training steps with evaluations in one call of a compiled function, and keeps the best weights.

    The function is compiled once. Each call donates the buffers of the model's and the optimiser's variables to it, and
    assigns its results to the variables.

    Args:
        training: its parts.

    Raises:
        ValueError: for jit_compile=False, since JAX always compiles with XLA.
    """

    takes_weights = True

    def __init__(self, training: ProgramParts) -> None:
        if not training.jit_compile:
            raise ValueError("Expected jit_compile=True or None with JAX, which compiles with XLA. Received: False.")
        super().__init__(training)
        self._pure = Pure(training)
        self.advice = self._pure.advice
        self._slots_start = values_after_build(self._pure.optimizer)
        self._advance = jax.jit(exactly(self._pure.advance), donate_argnums=0)
        self._evaluate = jax.jit(exactly(self._pure.evaluation))
        self._outputs = jax.jit(exactly(self._pure.outputs))
        self._release()

    @property
    def traces(self) -> int:
        """Number of compilations of the training function."""
        return self._pure.traces

    def _take(self, train: Arrays, validation: Arrays) -> None:
        self._on_device = OnDevice(_on_device, train, validation)
        numbers = jnp.arange(count(validation[0]), dtype=jnp.int32)
        weight = None if self._weight is None else jnp.array(self._weight)
        self._data: tuple[Any, ...] = (*self._on_device(*train), weight, *self._on_device(*validation), numbers)

    def _release(self) -> None:
        self._data = ()
        self._on_device = OnDevice(_on_device)

    def _start(self, updates: int) -> None:
        restart(self._pure.optimizer, self._slots_start, updates)
        for variable in (*self._pure.trainable, *self._pure.others):  # copies, since other models may share the buffers
            assign(variable, variable.value)
        self._best = [jnp.array(variable.value, copy=True) for variable in self._model_weights]
        self._best_loss, self._loss_sum = jnp.float32(np.inf), jnp.float32(0)

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        stop = start + len(order)
        bounds = map(jnp.int32, (start, stop, total))
        best = {"best": self._best, "best_loss": self._best_loss, "loss_sum": self._loss_sum}
        state = {**values_of(self._pure.groups), **best}
        with uninterrupted():  # Ctrl-C must not leave donated buffers in the variables
            state, bad, curves = self._advance(state, self._data, padded_order(order, self.capacity), *bounds)
            put_back(self._pure.groups, state)
            self._best, self._best_loss, self._loss_sum = (state[name] for name in best)
        step = due_steps(start, stop, total, self.every)
        return Evaluations(step, *np.array(curves)[:, : len(step)]), None if bad == NEVER else int(bad)

    def finish(self, tickets: Sequence[int]) -> None:
        """Replaces weights by their averages; see `Program.finish`."""
        if self._pure.averages:
            finalized = self._pure.finalized(values_of(self._pure.groups))
            for variable, value in zip(self._pure.trainable, finalized["trainable"], strict=True):
                assign(variable, value)

    def _evaluate_one(self, x: Any, y: Any, outputs: bool) -> tuple[float, float, Any]:
        numbers, state = np.arange(count(x), dtype=np.int32), values_of(self._pure.groups)
        examples, labels = self._on_device(x, y)
        with uninterrupted():
            loss, metric = self._evaluate(state, examples, labels, numbers)
        if not outputs:
            return float(loss), float(metric), None
        size, parts = self._pure.evaluation_batch_size, []
        for start in range(0, count(x), size):
            with uninterrupted():
                parts.append(each(np.array, self._outputs(state, rows(examples, slice(start, start + size)))))
        return float(loss), float(metric), joined(parts)

    def _best_weights(self) -> list[np.ndarray]:
        return [np.array(value) for value in self._best]


def _on_device(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(each(lambda array: jnp.array(array, copy=True), part) for part in arrays)


class Jax:
    """Keras on JAX; see `lth_keras.backends.backend.Backend`."""

    compiles, compiles_always = True, True
    trains_by_rows = True
    most_tickets = None
    derivatives = jax_derivatives

    def assign(self, variable: Any, value: Any) -> None:
        """Assigns by value; see `Backend.assign`."""
        assign(variable, value)

    def set_threads(self, threads: int) -> None:
        """Sets the threads of one operation on CPUs; see `Backend.set_threads`."""
        wanted = str(threads)
        if os.environ.get("NPROC") == wanted:
            return
        if _is_initialized():
            raise RuntimeError(
                f"Expected JAX to be uninitialised before its threads are set to {threads}. "
                f"Received: JAX initialised with {os.environ.get('NPROC', 'its default number')}."
            )
        os.environ["NPROC"] = wanted

    def device(self) -> tuple[str, int | None]:
        """The kind of device and its free memory; see `Backend.device`."""
        first = jax.devices()[0]
        statistics = first.memory_stats() or {}
        free = statistics.get("bytes_limit", 0) - statistics.get("bytes_in_use", 0)
        return first.platform, free or None

    def program(self, training: ProgramParts, tickets: int = 1) -> Program:
        """The compiled training program; see `Backend.program`."""
        return JaxProgram(training) if tickets == 1 else BatchedJaxProgram(training, tickets)

    def rowwise_program(self, *args: Any, **kwargs: Any) -> Program:
        """The program for large embedding tables; see `Backend.rowwise_program`."""
        return RowwiseJaxProgram(*args, **kwargs)


def _is_initialized() -> bool:
    """Whether JAX is initialised, by a private function of JAX; False if that function does not exist."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    return bool(getattr(bridge, "backends_are_initialized", bool)())
