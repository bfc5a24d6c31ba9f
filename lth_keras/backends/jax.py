"""The backend JAX and its training program for one ticket."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_keras.backends.jax_pure import Pure, State, assign, exactly
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

    def __init__(self, training: ProgramParts) -> None:
        if not training.jit_compile:
            raise ValueError("Expected jit_compile=True or None with JAX, which compiles with XLA. Received: False.")
        super().__init__(training.model.variables, training.weights, assign)
        self._pure = Pure(training)
        self.capacity, self.every, self.advice = self._pure.capacity, self._pure.every, self._pure.advice
        self._slots_start = [np.array(variable) for variable in self._pure.slots]
        self._advance = jax.jit(exactly(self._pure.advance), donate_argnums=0)
        self._evaluate = jax.jit(exactly(self._pure.evaluation))
        self._outputs = jax.jit(exactly(self._pure.outputs))
        self._data: tuple[Any, ...] = ()
        self._release()

    @property
    def traces(self) -> int:
        """Number of compilations of the training function."""
        return self._pure.traces

    def _take(self, train: Arrays, validation: Arrays) -> None:
        self._on_device = OnDevice(_on_device, train, validation)
        rows = jnp.arange(len(validation[0]), dtype=jnp.int32)
        self._data = (*self._on_device(*train), *self._on_device(*validation), rows)

    def _release(self) -> None:
        self._data = ()
        self._on_device = OnDevice(_on_device)

    def _start(self, updates: int) -> None:
        for variable, value in zip(self._pure.slots, self._slots_start, strict=True):
            weight = self._pure.begin_as_weights.get(id(variable))
            beginning = value if weight is None else weight.value
            assign(variable, updates if id(variable) in self._pure.counts else beginning)
        for variable in (*self._pure.trainable, *self._pure.others):  # copies, since other models may share the buffers
            assign(variable, variable.value)
        self._best = [jnp.array(variable.value, copy=True) for variable in self._model_weights]
        self._best_loss, self._loss_sum = jnp.float32(np.inf), jnp.float32(0)

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        stop = start + len(order)
        bounds = map(jnp.int32, (start, stop, total))
        state = {**self._state(), "best": self._best, "best_loss": self._best_loss, "loss_sum": self._loss_sum}
        with uninterrupted():  # Ctrl-C must not leave donated buffers in the variables
            state, bad, curves = self._advance(state, self._data, padded_order(order, self.capacity), *bounds)
            for group, variables in self._groups().items():
                for variable, value in zip(variables, state[group], strict=True):
                    variable.assign(value)
            self._best, self._best_loss, self._loss_sum = (state[name] for name in ("best", "best_loss", "loss_sum"))
        step = due_steps(start, stop, total, self.every)
        return Evaluations(step, *np.array(curves)[:, : len(step)]), None if bad == NEVER else int(bad)

    def _end(self) -> None:
        if self._pure.averages:
            finalized = self._pure.finalized(self._state())
            for variable, value in zip(self._pure.trainable, finalized["trainable"], strict=True):
                assign(variable, value)

    def _evaluate_one(self, x: np.ndarray, y: np.ndarray, outputs: bool) -> tuple[float, float, np.ndarray | None]:
        rows = np.arange(len(x), dtype=np.int32)
        with uninterrupted():
            loss, metric = self._evaluate(self._state(), *self._on_device(x, y), rows)
        if not outputs:
            return float(loss), float(metric), None
        size, state, parts = self._pure.evaluation_batch_size, self._state(), []
        examples, _ = self._on_device(x, y)
        for start in range(0, len(x), size):
            with uninterrupted():
                parts.append(np.array(self._outputs(state, examples[start : start + size])))
        return float(loss), float(metric), np.concatenate(parts)

    def _best_weights(self) -> list[np.ndarray]:
        return [np.array(value) for value in self._best]

    def _groups(self) -> dict[str, list[Any]]:
        return {"trainable": self._pure.trainable, "others": self._pure.others, "slots": self._pure.slots}

    def _state(self) -> State:
        return {name: [variable.value for variable in group] for name, group in self._groups().items()}


def _on_device(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(jnp.array(array, copy=True) for array in arrays)


class Jax:
    """Keras on JAX; see `lth_keras.backends.backend.Backend`."""

    compiles_always = True
    most_tickets = None

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
        if tickets == 1:
            return JaxProgram(training)
        from lth_keras.backends.jax_batched import BatchedJaxProgram

        return BatchedJaxProgram(training, tickets)

    def rowwise_program(self, *args: Any, **kwargs: Any) -> Program:
        """The program for large embedding tables; see `Backend.rowwise_program`."""
        from lth_keras.backends.jax_rowwise import RowwiseJaxProgram

        return RowwiseJaxProgram(*args, **kwargs)

    def derivatives(self) -> Any:
        """The module that differentiates functions; see `Backend.derivatives`."""
        from lth_keras.backends import jax_derivatives

        return jax_derivatives


def _is_initialized() -> bool:
    """Whether JAX is initialised, by a private function of JAX; False if that function does not exist."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    return bool(getattr(bridge, "backends_are_initialized", bool)())
