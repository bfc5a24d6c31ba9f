"""The backend TensorFlow and its training program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from lth_keras.backends import tensorflow_derivatives
from lth_keras.backends.losses import loss_function
from lth_keras.backends.optimizers import advice, averages, restart, values_after_build
from lth_keras.backends.program import (
    NEVER,
    Arrays,
    Evaluations,
    OnDevice,
    ProgramOfOne,
    ProgramParts,
    due_steps,
    padded_order,
)
from lth_keras.backends.several import as_called, count, each, in_order, joined, rows
from lth_keras.backends.tensorflow_rowwise import RowwiseTensorFlowProgram

Tensors = tuple[tf.Tensor, ...]


class TensorFlowProgram(ProgramOfOne):
    """Makes many training steps with evaluations in one call of a `tf.function`, and keeps the best weights.

    The function is compiled once. It reads and writes the variables of the model, masks, optimiser and best weights in
    place; data and batch order are arguments.

    Args:
        training: its parts.
    """

    takes_weights = True

    def __init__(self, training: ProgramParts) -> None:
        self._model, self._optimizer = training.model, training.optimizer
        super().__init__(training)
        self._loss = loss_function(training.loss)
        self._metric = training.metric
        self._evaluation_batch_size = training.evaluation_batch_size
        self._trainable = self._model.trainable_variables
        self._pruned = training.pruned
        self._optimizer.build(self._trainable)
        self.advice = advice(self._optimizer)
        self._optimizer_start, self._averages = values_after_build(self._optimizer), averages(self._optimizer)
        self._best = [tf.Variable(v.value, trainable=False) for v in self._model_weights]
        self.traces = 0
        compiled = partial(tf.function, autograph=False, jit_compile=training.jit_compile)
        self._advance = compiled(self._steps)
        self._evaluate = compiled(self._evaluation)
        self._outputs = tf.function(partial(self._called, training=False), autograph=False)
        self._release()

    def _take(self, train: Arrays, validation: Arrays) -> None:
        self._on_device = OnDevice(_on_device, train, validation)
        weight = None if self._weight is None else tf.constant(self._weight)
        self._data: tuple[Any, ...] = (*self._on_device(*train), weight, *self._on_device(*validation))

    def _release(self) -> None:
        self._on_device = OnDevice(_on_device)
        self._data = ()

    def _start(self, updates: int) -> None:
        restart(self._optimizer, self._optimizer_start, updates)
        self._best_loss = tf.constant(np.inf, tf.float32)
        self._loss_sum = tf.constant(0.0, tf.float32)

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        stop = start + len(order)
        bounds = tuple(map(tf.constant, (start, stop, total)))
        self._loss_sum, self._best_loss, first_bad, curves = self._advance(
            self._data, padded_order(order, self.capacity), bounds, self._best_loss, self._loss_sum
        )
        step = due_steps(start, stop, total, self.every)
        bad = int(first_bad)
        return Evaluations(step, *curves.numpy()[:, : len(step)]), None if bad == NEVER else bad

    def finish(self, tickets: Sequence[int]) -> None:
        """Replaces weights by their averages; see `Program.finish`."""
        self._finalize()

    def _evaluate_one(self, x: Any, y: Any, outputs: bool) -> tuple[float, float, Any]:
        loss, metric = self._evaluate(*self._on_device(x, y))
        if not outputs:
            return float(loss), float(metric), None
        size, examples = self._evaluation_batch_size, self._on_device(x, y)[0]
        starts = range(0, count(x), size)
        parts = [self._outputs(rows(examples, slice(start, start + size))) for start in starts]
        return float(loss), float(metric), joined(parts)

    def _best_weights(self) -> list[np.ndarray]:
        return [v.numpy() for v in self._best]

    def _steps(
        self, data: Tensors, order: tf.Tensor, bounds: Tensors, best_loss: tf.Tensor, loss_sum: tf.Tensor
    ) -> Tensors:
        """Makes steps `start` + 1 to `stop`, in segments that end with an evaluation."""
        x, y, weight, *validation = data
        start, stop, total = bounds
        self.traces += 1
        self._mask_weights()
        every = tf.constant(self.every)
        slots = self.capacity // self.every + 2

        def step(i: tf.Tensor, loss_sum: tf.Tensor, bad: tf.Tensor) -> Tensors:
            batch = tf.gather(order, i - start)  # with order[...], XLA would compile again for every start
            own = None if weight is None else tf.gather(weight, batch)
            own_x, own_y = (each(lambda array: tf.gather(array, batch), part) for part in (x, y))
            loss = self._train_step(own_x, own_y, own)
            bad = tf.where(tf.math.is_finite(loss), bad, tf.minimum(bad, i + 1))
            return i + 1, loss_sum + loss, bad

        def evaluate(
            i: tf.Tensor, slot: tf.Tensor, loss_sum: tf.Tensor, best_loss: tf.Tensor, curves: tf.Tensor
        ) -> Tensors:
            loss, metric = self._evaluation(*validation)
            tf.cond(loss < best_loss, self._keep_best, lambda: tf.constant(0))
            since = i - (i - 1) // every * every
            row = tf.stack([loss_sum / tf.cast(since, tf.float32), loss, metric])
            curves = tf.tensor_scatter_nd_update(tf.transpose(curves), [[slot]], [row])
            return slot + 1, tf.zeros_like(loss_sum), tf.minimum(best_loss, loss), tf.transpose(curves)

        def segment(
            i: tf.Tensor, slot: tf.Tensor, loss_sum: tf.Tensor, bad: tf.Tensor, best_loss: tf.Tensor, curves: tf.Tensor
        ) -> Tensors:
            end = tf.minimum(stop, (i // every + 1) * every)
            i, loss_sum, bad = tf.while_loop(lambda i, *_: i < end, step, (i, loss_sum, bad), parallel_iterations=1)
            if self._averages:
                tf.cond(i == total, self._finalize, lambda: tf.constant(0))
            due = (i % every == 0) | (i == total)
            slot, loss_sum, best_loss, curves = tf.cond(
                due,
                lambda: evaluate(i, slot, loss_sum, best_loss, curves),
                lambda: (slot, loss_sum, best_loss, curves),
            )
            return i, slot, loss_sum, bad, best_loss, curves

        initial = (start, tf.constant(0), loss_sum, tf.constant(NEVER), best_loss, tf.zeros((3, slots)))
        _, _, loss_sum, bad, best_loss, curves = tf.while_loop(
            lambda i, *_: i < stop, segment, initial, parallel_iterations=1
        )
        return loss_sum, best_loss, bad, curves

    def _called(self, x: Any, training: bool) -> Any:
        return in_order(self._model(as_called(self._model, x), training=training))

    def _train_step(self, x: Any, y: Any, weight: tf.Tensor | None) -> tf.Tensor:
        with tf.GradientTape() as tape:
            with self._pruned.known():
                outputs = self._called(x, training=True)
            loss = self._loss(y, outputs, weight)
            terms = [tf.cast(term, tf.float32) for term in (loss, *self._model.losses)]  # differ in mixed precision
            objective = self._optimizer.scale_loss(tf.add_n(terms))
        # An embedding's gradient has one part per use of a row. Keras' Adam would square the parts before their sum,
        # unlike other implementations of Adam.
        gradients = [
            tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in tape.gradient(objective, self._trainable)
        ]
        self._optimizer.apply(gradients, self._trainable)
        self._mask_weights()
        return tf.cast(loss, tf.float32)

    def _mask_weights(self) -> None:
        for variable, mask in self._pruned.weights:
            variable.assign(variable.value * tf.cast(mask.value, variable.dtype))

    def _finalize(self) -> tf.Tensor:
        """Replaces weights by their averages, as at the end of Keras' `fit`."""
        for weight, average in self._averages:
            weight.assign(average.value)
        if self._averages:
            self._mask_weights()
        return tf.constant(0)

    def _keep_best(self) -> tf.Tensor:
        for best, variable in zip(self._best, self._model_weights, strict=True):
            best.assign(variable.value)
        return tf.constant(0)

    def _evaluation(self, x: Any, y: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean loss and metric over a split, in batches of a fixed size and a remainder."""
        examples, size = count(x), self._evaluation_batch_size
        if not examples:
            return tf.constant(np.nan), tf.constant(np.nan)

        def add_part(start: Any, size: int, loss: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
            part, own_x = (each(partial(_slice, start, size), arrays) for arrays in (y, x))
            outputs = self._called(own_x, training=False)
            loss = loss + tf.cast(self._loss(part, outputs), tf.float32) * size
            return loss, self._metric.update(state, part, outputs)

        def add(i: tf.Tensor, loss: tf.Tensor, state: Any) -> tuple[Any, ...]:
            return i + 1, *add_part(i * size, size, loss, state)

        full = examples // size
        loss, state = tf.constant(0.0), self._metric.start()
        if full:
            _, loss, state = tf.while_loop(
                lambda i, *_: i < full, add, (tf.constant(0), loss, state), parallel_iterations=1
            )
        if examples % size:
            loss, state = add_part(full * size, examples % size, loss, state)
        return loss / examples, self._metric.value(state, examples)


def _on_device(arrays: Arrays) -> Tensors:
    return tuple(each(tf.constant, part) for part in arrays)


def _slice(start: Any, size: int, array: tf.Tensor) -> tf.Tensor:
    return tf.slice(array, [start] + [0] * (array.shape.rank - 1), [size, *array.shape[1:]])


class TensorFlow:
    """Keras on TensorFlow; see `lth_keras.backends.backend.Backend`."""

    compiles, compiles_always = True, False
    trains_by_rows = True
    most_tickets = 1
    derivatives = tensorflow_derivatives

    def assign(self, variable: Any, value: Any) -> None:
        """Assigns by value, as TensorFlow does; see `Backend.assign`."""
        variable.assign(value)

    def set_threads(self, threads: int) -> None:
        """Sets the threads of one operation; see `Backend.set_threads`."""
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
            except RuntimeError:
                raise RuntimeError(
                    f"Expected TensorFlow to be uninitialised before its threads are set to {threads}. "
                    "Received: initialised TensorFlow; make the search before any model or tensor, in a new process, "
                    "or leave out threads."
                ) from None

    def device(self) -> tuple[str, int | None]:
        """The kind of device, `cpu` or `gpu`; its free memory is unknown."""
        return ("gpu" if tf.config.list_physical_devices("GPU") else "cpu"), None

    def program(self, training: ProgramParts, tickets: int = 1) -> ProgramOfOne:
        """The compiled training program of one ticket; see `Backend.program`."""
        return TensorFlowProgram(training)

    def rowwise_program(self, *args: Any, **kwargs: Any) -> ProgramOfOne:
        """The program for large embedding tables; see `Backend.rowwise_program`."""
        return RowwiseTensorFlowProgram(*args, **kwargs)
