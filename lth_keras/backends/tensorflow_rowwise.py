"""Training with large embedding tables on TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lth_keras.backends.optimizers import restart
from lth_keras.backends.rowwise import Batch, RowwiseProgram

Tensors = list[tf.Tensor]
Gathered = tuple[Tensors, list[Tensors], Tensors]
"""Each table's rows, their slots and their mask."""


class RowwiseTensorFlowProgram(RowwiseProgram):
    """Training by rows with tables and slots that are TensorFlow variables, read and written in place."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._slots = [
            [tf.Variable(tf.zeros(table.variable.shape), trainable=False) for _ in range(self._before.slots)]
            for table in self._tables
        ]
        self._graph_step = tf.function(self._train_in_place, autograph=False)
        self._graph_forward = tf.function(self._forward_gathered, autograph=False)
        self._graph_flush = tf.function(self._catch_up_in_place, autograph=False)
        self._compiled_step = tf.function(self._train_rows, autograph=False, jit_compile=True)
        self._compiled_forward = tf.function(self._forward_rows, autograph=False, jit_compile=True)
        self._compiled_catch_up = tf.function(self._catch_up, autograph=False, jit_compile=True)

    def _reset_optimizer(self) -> None:
        restart(self._optimizer, self._optimizer_start)
        for slot in (slot for slots in self._slots for slot in slots):
            slot.assign(tf.zeros_like(slot))

    def _step(self, batch: Batch, scalars: np.ndarray) -> Any:
        return self._graph_step(batch, scalars)

    def _forward(self, batch: Batch) -> Any:
        return self._graph_forward(batch)

    def _flush(self, rows: np.ndarray, count: np.int32, coefficients: np.ndarray) -> None:
        self._graph_flush(rows, count, coefficients)

    def _train_in_place(self, batch: Batch, scalars: tf.Tensor) -> tf.Tensor:
        loss, values, slots = self._compiled_step(self._gathered(batch.rows), batch, scalars)
        self._scatter(batch.rows, batch.count, values, slots)
        return loss

    def _gathered(self, rows: tf.Tensor) -> Gathered:
        return (
            [tf.gather(table.variable.value, rows) for table in self._tables],
            [[tf.gather(slot, rows) for slot in slots] for slots in self._slots],
            [tf.gather(table.mask.value, rows) for table in self._tables],
        )

    def _scatter(self, rows: tf.Tensor, count: tf.Tensor, values: Tensors, slots: list[Tensors]) -> None:
        rows = rows[:count]
        for table, own, value, others in zip(self._tables, self._slots, values, slots, strict=True):
            for variable, new in zip((table.variable.value, *own), (value, *others), strict=True):
                variable.scatter_update(tf.IndexedSlices(new[:count], rows))

    def _train_rows(
        self, gathered: Gathered, batch: Batch, scalars: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors, list[Tensors]]:
        values, slots, masks = gathered
        values, slots = self._catch_up(values, slots, batch.coefficients)
        with tf.GradientTape() as tape:
            tape.watch(values)
            with self._using_rows(self._tables, values, masks, batch.index):
                loss = self._loss(batch.y, self._model(batch.x, training=True))
            objective = tf.add_n([tf.cast(term, tf.float32) for term in (loss, *self._model.losses)])
        gradients, others = tape.gradient(objective, (values, self._trainable))
        self._optimizer.apply(others, self._trainable)
        values, slots = self._updated(values, slots, gradients, scalars)
        return tf.cast(loss, tf.float32), values, slots

    def _catch_up_in_place(self, rows: tf.Tensor, count: tf.Tensor, coefficients: tf.Tensor) -> None:
        values, slots, _ = self._gathered(rows)
        self._scatter(rows, count, *self._compiled_catch_up(values, slots, coefficients))

    def _forward_gathered(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return self._compiled_forward(self._gathered(batch.rows), batch)

    def _forward_rows(self, gathered: Gathered, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        values, slots, masks = gathered
        values, _ = self._catch_up(values, slots, batch.coefficients)
        with self._using_rows(self._tables, values, masks, batch.index):
            outputs = self._model(batch.x, training=False)
        return self._measures(batch.y, outputs)
