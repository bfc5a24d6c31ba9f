"""Training with large embedding tables on TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lth_keras.backends.rowwise import RowwiseProgram


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
        for variable, value in zip(self._optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)
        for slot in (slot for slots in self._slots for slot in slots):
            slot.assign(tf.zeros_like(slot))

    def _step(self, *arguments: Any) -> float:
        return float(self._graph_step(*arguments))

    def _forward(self, *arguments: Any) -> tuple[Any, Any, Any]:
        loss, mean, outputs = self._graph_forward(*arguments)
        return loss, mean, outputs

    def _flush(self, rows: np.ndarray, count: np.int32, coefficients: np.ndarray) -> None:
        self._graph_flush(rows, count, coefficients)

    def _train_in_place(
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
        values, slots = self._updated(values, slots, gradients, scalars)
        return tf.cast(loss, tf.float32), values, slots

    def _catch_up_in_place(self, rows: tf.Tensor, count: tf.Tensor, coefficients: tf.Tensor) -> None:
        values, slots, _ = self._gathered(rows)
        self._scatter(rows[:count], count, *self._compiled_catch_up(values, slots, coefficients))

    def _forward_gathered(
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
        return self._measures(y, outputs)
