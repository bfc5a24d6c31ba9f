"""The backend PyTorch and its training program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import keras
import numpy as np
import torch

from lth_keras.backends import torch_derivatives
from lth_keras.backends.losses import loss_function
from lth_keras.backends.optimizers import advice, averages, restart, values_after_build
from lth_keras.backends.program import (
    Arrays,
    Evaluations,
    OnDevice,
    ProgramOfOne,
    ProgramParts,
    due_steps,
)
from lth_keras.backends.several import as_called, count, each, in_order, joined, rows


class TorchProgram(ProgramOfOne):
    """Makes training steps one by one in eager mode, with evaluations, and keeps the best weights.

    Keras' dropout without a seed of its own draws from PyTorch's global generator. Within a training that generator has
    a state of the program's, which the model's seed generators decide when the training begins.

    Args:
        training: its parts.

    Raises:
        ValueError: for jit_compile=True, since nothing is compiled.
    """

    takes_weights = True

    def __init__(self, training: ProgramParts) -> None:
        if training.jit_compile:
            raise ValueError("Expected jit_compile=False or None with PyTorch, which runs eagerly. Received: True.")
        super().__init__(training)
        self._model, self._optimizer = training.model, training.optimizer
        self._loss, self._metric, self._pruned = loss_function(training.loss), training.metric, training.pruned
        self._evaluation_batch_size = training.evaluation_batch_size
        self._trainable = list(self._model.trainable_variables)
        self._optimizer.build(self._trainable)
        self.advice = advice(self._optimizer)
        self._optimizer_start, self._averages = values_after_build(self._optimizer), averages(self._optimizer)
        self._best = [variable.value.detach().clone() for variable in self._model_weights]
        weights = {id(variable) for variable in self._model.weights}
        self._seeds = [v for v in self._model.variables if id(v) not in weights and "seed" in v.name]
        self._release()

    def _take(self, train: Arrays, validation: Arrays) -> None:
        self._on_device = OnDevice(_on_device, train, validation)
        weight = None if self._weight is None else _on_device((self._weight,))[0]
        self._data: tuple[Any, ...] = (*self._on_device(*train), weight, *self._on_device(*validation))

    def _release(self) -> None:
        self._on_device = OnDevice(_on_device)
        self._data = ()

    def _start(self, updates: int) -> None:
        restart(self._optimizer, self._optimizer_start, updates)
        self._best_loss = keras.ops.full((), np.inf, "float32")
        self._loss_sum = keras.ops.zeros((), "float32")
        seeds = np.concatenate([[0], *map(_array, self._seeds)]).astype(np.uint32)
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence(seeds.tolist()).generate_state(1)[0]))
            self._random = _random_state()

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        with torch.random.fork_rng():
            _set_random_state(self._random)
            try:
                return self._steps(order, start, total)
            finally:
                self._random = _random_state()

    def _steps(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        x, y, weight, *validation = self._data
        due = due_steps(start, start + len(order), total, self.every)
        losses, curves = [], []
        self._mask_weights()
        for step, batch in enumerate(keras.ops.convert_to_tensor(order, "int64"), start + 1):
            own = None if weight is None else weight.index_select(0, batch)
            own_x, own_y = (each(partial(_taken, batch), part) for part in (x, y))
            losses.append(self._train_step(own_x, own_y, own))
            self._loss_sum = self._loss_sum + losses[-1]
            if step == total:
                self._finalize()
            if step in due:
                since = step - (step - 1) // self.every * self.every
                curves.append(torch.stack([self._loss_sum / since, *self._validate(*validation)]))
                self._loss_sum = torch.zeros_like(self._loss_sum)
        bad = np.flatnonzero(~np.isfinite(_array(torch.stack(losses))))
        columns = _array(torch.stack(curves)).T if curves else np.empty((3, 0), np.float32)
        return Evaluations(due, *columns), start + 1 + int(bad[0]) if len(bad) else None

    def finish(self, tickets: Sequence[int]) -> None:
        """Replaces weights by their averages; see `Program.finish`."""
        self._finalize()

    def _evaluate_one(self, x: Any, y: Any, outputs: bool) -> tuple[float, float, Any]:
        kept: list[Any] | None = [] if outputs else None
        loss, metric = self._evaluation(*self._on_device(x, y), kept)
        return float(loss), float(metric), None if kept is None else joined(kept)

    def _best_weights(self) -> list[np.ndarray]:
        return [_array(value) for value in self._best]

    def _called(self, x: Any, training: bool) -> Any:
        return in_order(self._model(as_called(self._model, x), training=training))

    def _train_step(self, x: Any, y: Any, weight: Any) -> Any:
        with self._pruned.known():
            outputs = self._called(x, training=True)
        loss = self._loss(y, outputs, weight)
        terms = [term.to(torch.float32) for term in (loss, *self._model.losses)]  # differ in mixed precision
        objective = self._optimizer.scale_loss(torch.stack(terms).sum())
        values = [variable.value for variable in self._trainable]
        gradients = torch.autograd.grad(objective, values, allow_unused=True)
        with torch.no_grad():
            self._optimizer.apply(list(gradients), self._trainable)
            self._mask_weights()
        return loss.detach().to(torch.float32)

    def _mask_weights(self) -> None:
        for variable, mask in self._pruned.weights:
            variable.assign(variable.value.detach() * mask.value.to(variable.value.dtype))

    def _finalize(self) -> None:
        """Replaces weights by their averages, as at the end of Keras' `fit`."""
        for weight, average in self._averages:
            weight.assign(average.value)
        if self._averages:
            self._mask_weights()

    def _validate(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Loss and metric of the validation split; keeps the weights if the loss is the least so far."""
        loss, metric = self._evaluation(x, y)
        if loss < self._best_loss:
            self._best_loss = loss
            for best, variable in zip(self._best, self._model_weights, strict=True):
                best.copy_(variable.value.detach())
        return loss, metric

    @torch.no_grad()
    def _evaluation(self, x: Any, y: Any, kept: list[Any] | None = None) -> tuple[Any, Any]:
        """Mean loss and metric over a split, in batches; outputs are added to `kept`."""
        examples = count(x)
        if not examples:
            return keras.ops.full((), np.nan, "float32"), keras.ops.full((), np.nan, "float32")
        loss, state, size = keras.ops.zeros((), "float32"), self._metric.start(), self._evaluation_batch_size
        for start in range(0, examples, size):
            part, labels = (rows(arrays, slice(start, start + size)) for arrays in (x, y))
            outputs = self._called(part, training=False)
            loss = loss + self._loss(labels, outputs).to(torch.float32) * count(part)
            state = self._metric.update(state, labels, outputs)
            if kept is not None:
                kept.append(each(_array, outputs))
        return loss / examples, self._metric.value(state, examples)


def _random_state() -> tuple[Any, list[Any]]:
    """The state of PyTorch's global generators, on the host and on GPUs."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[Any, list[Any]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _on_device(arrays: Sequence[Any]) -> tuple[Any, ...]:
    # In PyTorch's own memory: on CPUs the rounding of a matrix product depends on how its factors are aligned.
    return tuple(each(lambda array: keras.ops.convert_to_tensor(array).clone(), part) for part in arrays)


def _taken(chosen: Any, array: Any) -> Any:
    return array.index_select(0, chosen)


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(tensor)  # a copy
    return array


class Torch:
    """Keras on PyTorch; see `lth_keras.backends.backend.Backend`."""

    compiles = compiles_always = False
    trains_by_rows = False
    most_tickets = 1
    derivatives = torch_derivatives

    def assign(self, variable: Any, value: Any) -> None:
        """Assigns by value, as Keras does on PyTorch; see `Backend.assign`."""
        variable.assign(value)

    def set_threads(self, threads: int) -> None:
        """Sets the threads of one operation, at any time; see `Backend.set_threads`."""
        torch.set_num_threads(threads)

    def device(self) -> tuple[str, int | None]:
        """The kind of device and its free memory; see `Backend.device`."""
        kind = keras.ops.zeros(()).device.type
        return ("gpu", torch.cuda.mem_get_info()[0]) if kind == "cuda" else (kind, None)

    def program(self, training: ProgramParts, tickets: int = 1) -> ProgramOfOne:
        """The training program of one ticket; see `Backend.program`."""
        return TorchProgram(training)

    def rowwise_program(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not written for PyTorch; see `Backend.rowwise_program`."""
        raise NotImplementedError(
            "Expected Keras on TensorFlow or JAX to train embedding tables by rows. Received: torch. "
            "Use engine='compiled'."
        )
