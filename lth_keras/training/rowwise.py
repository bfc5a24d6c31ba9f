"""Training with large embedding tables on TensorFlow: a step touches the rows that its batch uses, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_keras.training.program import Evaluations, accuracy_function, loss_function
from lth_keras.training.skipped import Lazy, Skipped

ROWS_STEP = 512
"""Rows in use are padded to a multiple of this, or of about a quarter of them, so that there are few compilations."""
FLUSHED_ROWS = 4096


class RowwiseTensorFlowProgram:
    """A training program whose step reads, masks, differentiates and updates only the table rows in use.

    The rows of a batch are found on the host, gathered from the tables and their slots, brought up to date with the
    updates that a dense optimiser would have made meanwhile (`skipped`), trained in one compiled function, and written
    back. A training ends with all rows up to date; evaluations in between see them so, without writing them.

    The copy of the best weights, as large as the tables, is not kept: the test split is measured at every evaluation.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimiser of its own; built here, for all but the tables.
        loss: as Keras' `compile` takes it.
        tables: the tables to train by rows, objects with the Keras variables `variable` and `mask`; all of them read
            the model's input.
        using_rows: (tables, values, masks, index) -> a context in which the model looks up in these rows.
        rule: (steps) -> how rows move; see `skipped`.
        lazy: whether rows stand still while no batch uses them, instead.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
    """

    keeps_best = False
    capacity = 1 << 30

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Any,
        tables: Sequence[Any],
        using_rows: Callable[..., Any],
        rule: Callable[[int], Skipped],
        *,
        lazy: bool,
        batch_size: int,
        evaluate_every: int,
        evaluation_batch_size: int,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss_function(loss)
        self._tables, self._using_rows = list(tables), using_rows
        self._make_rule = (lambda steps: Lazy(rule(steps))) if lazy else rule
        self._before = self._make_rule(1)  # as long as no training runs, nothing is skipped
        self._batch_size, self._every = batch_size, evaluate_every
        self._evaluation_batch_size = evaluation_batch_size
        by_row = {id(table.variable) for table in tables}
        self._trainable = [v for v in model.trainable_variables if id(v) not in by_row]
        optimizer.build(self._trainable)
        self._optimizer_start = [keras.ops.convert_to_numpy(v).copy() for v in optimizer.variables]
        self._slots = [
            [tf.Variable(tf.zeros(table.variable.shape), trainable=False) for _ in range(self._before.slots)]
            for table in tables
        ]
        self._last = np.zeros(max(table.variable.shape[0] for table in tables), np.int64)
        self._now = 0
        self._rule: Skipped | None = None
        self._advance = tf.function(self._step, autograph=False)
        self._forward = tf.function(self._evaluation, autograph=False)
        self._flush = tf.function(self._catch_up_in_place, autograph=False)
        self._compiled_step = tf.function(self._train_rows, autograph=False, jit_compile=True)
        self._compiled_forward = tf.function(self._forward_rows, autograph=False, jit_compile=True)
        self._compiled_catch_up = tf.function(self._catch_up, autograph=False, jit_compile=True)

    def load(self, train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]) -> None:
        """Takes the data, which stay on the host; see `Program.load`."""
        self._train, self._validation = train, validation

    def reset(self) -> None:
        """Puts the optimiser back to its start; see `Program.reset`."""
        for variable, value in zip(self._optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)
        for slot in (slot for slots in self._slots for slot in slots):
            slot.assign(tf.zeros_like(slot))
        self._last[:] = 0
        self._now = 0
        self._loss_sum = 0.0
        self._rule = None

    def advance(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """Trains on the batches of `order`; see `Program.advance`."""
        if self._rule is None:
            self._rule = self._make_rule(total)
        measured = []
        for step, batch in enumerate(order, start + 1):
            loss = self._train_batch(step, batch)
            if not np.isfinite(loss):
                return Evaluations(*np.empty((4, 0))), step
            self._loss_sum += loss
            if step % self._every == 0 or step == total:
                mean = self._loss_sum / (step - (step - 1) // self._every * self._every)
                measured.append((step, mean, *self.evaluate(*self._validation)))
                self._loss_sum = 0.0
        if self._now == total:
            self._bring_up_to_date()
        return Evaluations(*np.array(measured).reshape(-1, 4).T), None

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean loss and accuracy; see `Program.evaluate`."""
        loss, accuracy, _ = self.test(x, y)
        return loss, accuracy

    def test(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Mean loss, accuracy and outputs; see `Program.test`."""
        if not len(x):
            return np.nan, np.nan, np.empty((0, *self._model.output_shape[1:]), np.float32)
        losses, correct, outputs = 0.0, 0.0, []
        for start in range(0, len(x), self._evaluation_batch_size):
            part = slice(start, start + self._evaluation_batch_size)
            rows, _, index = self._rows_of(x[part])
            loss, accuracy, output = self._forward(rows, index, x[part], y[part], self._coefficients(rows, self._now))
            losses += float(loss) * len(x[part])
            correct += float(accuracy) * len(x[part])
            outputs.append(output.numpy())
        return losses / len(x), correct / len(x), np.concatenate(outputs)

    def best_weights(self) -> list[np.ndarray]:
        """Not kept; see `Program.best_weights`."""
        raise RuntimeError("Expected a program that keeps the best weights. With large tables they are not kept.")

    def _train_batch(self, step: int, batch: np.ndarray) -> float:
        assert self._rule is not None
        x, y = self._train[0][batch], self._train[1][batch]
        rows, count, index = self._rows_of(x)
        coefficients = self._coefficients(rows, step - 1)
        loss = self._advance(rows, count, index, x, y, coefficients, self._rule.scalars(step))
        self._last[rows[:count]] = step
        self._now = step
        return float(loss)

    def _rows_of(self, x: np.ndarray) -> tuple[np.ndarray, np.int32, np.ndarray]:
        """The rows that examples use, padded with row 0; how many they are; and which stands where in `x`."""
        rows, index = np.unique(x.astype(np.int32), return_inverse=True)  # as Keras' Embedding casts
        multiple = max(ROWS_STEP, 1 << max(0, len(rows).bit_length() - 3))
        padded = np.zeros(-(-len(rows) // multiple) * multiple, np.int32)
        padded[: len(rows)] = rows
        return padded, np.int32(len(rows)), index.reshape(x.shape).astype(np.int32)

    def _coefficients(self, rows: np.ndarray, now: int) -> np.ndarray:
        rule = self._rule or self._before
        return rule.coefficients(self._last[rows], now)

    def _bring_up_to_date(self) -> None:
        """Makes the updates that rows in use have skipped so far."""
        assert self._rule is not None
        moving = (self._last > 0) | self._rule.moves_unused
        behind = np.flatnonzero(moving & (self._last < self._now)).astype(np.int32)
        for start in range(0, len(behind), FLUSHED_ROWS):
            part = behind[start : start + FLUSHED_ROWS]
            rows = np.zeros(FLUSHED_ROWS, np.int32)
            rows[: len(part)] = part
            self._flush(rows, np.int32(len(part)), self._coefficients(rows, self._now))
        self._last[behind] = self._now

    def _step(
        self,
        rows: tf.Tensor,
        count: tf.Tensor,
        index: tf.Tensor,
        x: tf.Tensor,
        y: tf.Tensor,
        coefficients: tf.Tensor,
        scalars: tf.Tensor,
    ) -> tf.Tensor:
        values, slots, masks = self._gathered(rows)
        loss, values, slots = self._compiled_step(values, slots, masks, index, x, y, coefficients, scalars)
        self._scatter(rows[:count], count, values, slots)
        return loss

    def _gathered(self, rows: tf.Tensor) -> tuple[list[tf.Tensor], list[list[tf.Tensor]], list[tf.Tensor]]:
        return (
            [tf.gather(table.variable.value, rows) for table in self._tables],
            [[tf.gather(slot, rows) for slot in slots] for slots in self._slots],
            [tf.gather(table.mask.value, rows) for table in self._tables],
        )

    def _scatter(
        self, rows: tf.Tensor, count: tf.Tensor, values: list[tf.Tensor], slots: list[list[tf.Tensor]]
    ) -> None:
        for table, own, value, others in zip(self._tables, self._slots, values, slots, strict=True):
            for variable, new in zip((table.variable.value, *own), (value, *others), strict=True):
                variable.scatter_update(tf.IndexedSlices(new[:count], rows))

    def _train_rows(
        self,
        values: list[tf.Tensor],
        slots: list[list[tf.Tensor]],
        masks: list[tf.Tensor],
        index: tf.Tensor,
        x: tf.Tensor,
        y: tf.Tensor,
        coefficients: tf.Tensor,
        scalars: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[list[tf.Tensor]]]:
        values, slots = self._catch_up(values, slots, coefficients)
        with tf.GradientTape() as tape:
            tape.watch(values)
            with self._using_rows(self._tables, values, masks, index):
                loss = self._loss(y, self._model(x, training=True))
            objective = tf.add_n([tf.cast(term, tf.float32) for term in (loss, *self._model.losses)])
        gradients, others = tape.gradient(objective, (values, self._trainable))
        self._optimizer.apply(others, self._trainable)
        assert self._rule is not None
        updated = [self._rule.update(keras.ops, *part, scalars) for part in zip(values, slots, gradients, strict=True)]
        return tf.cast(loss, tf.float32), [value for value, _ in updated], [new for _, new in updated]

    def _catch_up(
        self, values: list[tf.Tensor], slots: list[list[tf.Tensor]], coefficients: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[list[tf.Tensor]]]:
        rule = self._rule or self._before
        numbers = [row[:, None] for row in tf.unstack(coefficients)]
        moved = [rule.catch_up(keras.ops, *part, numbers) for part in zip(values, slots, strict=True)]
        return [value for value, _ in moved], [new for _, new in moved]

    def _catch_up_in_place(self, rows: tf.Tensor, count: tf.Tensor, coefficients: tf.Tensor) -> None:
        values, slots, _ = self._gathered(rows)
        self._scatter(rows[:count], count, *self._compiled_catch_up(values, slots, coefficients))

    def _evaluation(
        self, rows: tf.Tensor, index: tf.Tensor, x: tf.Tensor, y: tf.Tensor, coefficients: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return self._compiled_forward(*self._gathered(rows), index, x, y, coefficients)

    def _forward_rows(
        self,
        values: list[tf.Tensor],
        slots: list[list[tf.Tensor]],
        masks: list[tf.Tensor],
        index: tf.Tensor,
        x: tf.Tensor,
        y: tf.Tensor,
        coefficients: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        values, _ = self._catch_up(values, slots, coefficients)
        with self._using_rows(self._tables, values, masks, index):
            outputs = self._model(x, training=False)
        accuracy = accuracy_function(y, self._model.output_shape)(y, outputs)
        return tf.cast(self._loss(y, outputs), tf.float32), tf.reduce_mean(tf.cast(accuracy, tf.float32)), outputs
