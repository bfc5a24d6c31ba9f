"""Training with large embedding tables by rows: a step reads and updates only the rows that its batch uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends.losses import loss_function
from lth_keras.backends.optimizers import values_after_build
from lth_keras.backends.program import Arrays, Evaluations, ProgramOfOne, ProgramParts
from lth_keras.backends.skipped import Skipped

ROWS_STEP = 512
"""The rows in use are padded to a multiple of this, or of about a quarter of their number, to limit compilations."""
FLUSHED_ROWS = 4096


class Batch(NamedTuple):
    """Examples and the table rows that they use.

    Attributes:
        rows: the rows in use, padded with row 0, int32.
        count: number of rows in use, int32.
        index: the index in `rows` of each entry of `x`, int32.
        x: the examples.
        y: their labels.
        coefficients: coefficients of `Skipped.catch_up` by row.
    """

    rows: Any
    count: Any
    index: Any
    x: Any
    y: Any
    coefficients: Any


class RowwiseProgram(ProgramOfOne):
    """A training program whose step reads, masks, differentiates and updates only the table rows in use.

    The host finds the rows of a batch. A compiled function gathers them with their slots, applies the updates that a
    dense optimiser would have made since their last use (`skipped`), trains them and writes them back. Evaluations
    apply skipped updates without writing them; the end of a training writes them for all rows.

    No copy of the best weights is kept, since it would be as large as the tables; so every evaluation includes the test
    split. This class is the host's part; a backend's subclass gathers, computes and writes.

    Args:
        training: its parts; its optimiser trains all variables but the tables.
        tables: the tables to train by rows, objects with the Keras variables `variable` and `mask`; all of them read
            the model's input.
        using_rows: (tables, values, masks, index) -> a context in which the model's embeddings read these rows.
        rule: (steps) -> the update rule of rows; see `skipped`.
    """

    keeps_best = False

    def __init__(
        self,
        training: ProgramParts,
        tables: Sequence[Any],
        using_rows: Callable[..., Any],
        rule: Callable[[int], Skipped],
    ) -> None:
        model, optimizer = training.model, training.optimizer
        super().__init__(training)
        self.capacity = 1 << 30
        self._model, self._optimizer, self._loss = model, optimizer, loss_function(training.loss)
        self._metric = training.metric
        self._tables, self._using_rows = list(tables), using_rows
        self._make_rule, self._before = rule, rule(1)  # before a training, no updates are skipped
        self._evaluation_batch_size = training.evaluation_batch_size
        by_row = {id(table.variable) for table in tables}
        self._trainable = [v for v in model.trainable_variables if id(v) not in by_row]
        optimizer.build(self._trainable)
        self._optimizer_start = values_after_build(optimizer)
        self._last = np.zeros(max(table.variable.shape[0] for table in tables), np.int64)
        self._now = 0
        self._rule: Skipped | None = None

    @abstractmethod
    def _reset_optimizer(self) -> None:
        """Resets the optimiser and the tables' slots."""

    @abstractmethod
    def _step(self, batch: Batch, scalars: np.ndarray) -> Any:
        """Applies skipped updates to rows, trains them on a batch and writes them; returns the loss before the update.

        `scalars` are those of `Skipped.update`.
        """

    @abstractmethod
    def _forward(self, batch: Batch) -> Any:
        """Mean loss, mean of the metric's summands and outputs, with skipped updates that are not written."""

    @abstractmethod
    def _flush(self, rows: np.ndarray, count: np.int32, coefficients: np.ndarray) -> None:
        """Applies skipped updates to rows and writes them."""

    def _take(self, train: Arrays, validation: Arrays) -> None:
        self._train, self._validation = train, validation  # they stay on the host

    def _release(self) -> None:
        self._train = self._validation = np.empty(0), np.empty(0)

    def _start(self, updates: int) -> None:
        if updates:
            raise ValueError(
                "Expected a step count that starts at 0 in every level if large embedding tables are trained by rows. "
                f"Received: {updates} updates before the level; use engine='compiled'."
            )
        self._reset_optimizer()
        self._last[:] = 0
        self._now = 0
        self._loss_sum = 0.0
        self._rule = None

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        if self._rule is None:
            self._rule = self._make_rule(total)
        measured = []
        for step, batch in enumerate(order, start + 1):
            loss = self._train_batch(step, batch)
            if not np.isfinite(loss):
                return Evaluations(*np.empty((4, 0))), step
            self._loss_sum += loss
            if step % self.every == 0 or step == total:
                mean = self._loss_sum / (step - (step - 1) // self.every * self.every)
                measured.append((step, mean, *self._evaluate_one(*self._validation, False)[:2]))
                self._loss_sum = 0.0
        if self._now == total:
            self._bring_up_to_date()
        return Evaluations(*np.array(measured).reshape(-1, 4).T), None

    def finish(self, tickets: Sequence[int]) -> None:
        """Applies the updates that rows have skipped; see `Program.finish`."""
        if self._rule is not None:
            self._bring_up_to_date()

    def _evaluate_one(self, x: np.ndarray, y: np.ndarray, outputs: bool) -> tuple[float, float, np.ndarray | None]:
        if not len(x):
            return np.nan, np.nan, np.empty((0, *self._model.output_shape[1:]), np.float32)
        start = self._metric.start()
        adds_up = self._metric.of_examples is not None
        losses, parts, state = 0.0, [], np.zeros(np.shape(start)) if adds_up else start
        for first in range(0, len(x), self._evaluation_batch_size):
            part = slice(first, first + self._evaluation_batch_size)
            loss, mean, output = self._forward(self._batch(x[part], y[part], self._now))
            losses += float(loss) * len(x[part])
            if adds_up:
                state += np.array(mean, np.float64) * len(x[part])
            else:
                state = self._metric.update(state, keras.ops.convert_to_tensor(y[part]), output)
            if outputs:
                parts.append(np.array(output))
        return losses / len(x), float(self._metric.value(state, len(x))), np.concatenate(parts) if outputs else None

    def _best_weights(self) -> list[np.ndarray]:
        raise RuntimeError("Expected a program that keeps the best weights. Received: a program with large tables.")

    def _train_batch(self, step: int, batch: np.ndarray) -> float:
        assert self._rule is not None
        used = self._batch(self._train[0][batch], self._train[1][batch], step - 1)
        loss = float(self._step(used, self._rule.scalars(step)))
        self._last[used.rows[: used.count]] = step
        self._now = step
        return loss

    def _batch(self, x: np.ndarray, y: np.ndarray, now: int) -> Batch:
        """The batch of these examples after step `now`."""
        rows, index = np.unique(x.astype(np.int32), return_inverse=True)  # as Keras' Embedding casts
        multiple = max(ROWS_STEP, 1 << max(0, len(rows).bit_length() - 3))
        padded = np.zeros(-(-len(rows) // multiple) * multiple, np.int32)
        padded[: len(rows)] = rows
        index = index.reshape(x.shape).astype(np.int32)
        return Batch(padded, np.int32(len(rows)), index, x, y, self._coefficients(padded, now))

    def _coefficients(self, rows: np.ndarray, now: int) -> np.ndarray:
        rule = self._rule or self._before
        return rule.coefficients(self._last[rows], now)

    def _bring_up_to_date(self) -> None:
        """Applies the updates that rows have skipped so far."""
        assert self._rule is not None
        moving = (self._last > 0) | self._rule.moves_unused
        behind = np.flatnonzero(moving & (self._last < self._now)).astype(np.int32)
        for start in range(0, len(behind), FLUSHED_ROWS):
            part = behind[start : start + FLUSHED_ROWS]
            rows = np.zeros(FLUSHED_ROWS, np.int32)
            rows[: len(part)] = part
            self._flush(rows, np.int32(len(part)), self._coefficients(rows, self._now))
        self._last[behind] = self._now

    # Computations for both backends, in Keras operations.

    def _catch_up(self, values: list[Any], slots: list[list[Any]], coefficients: Any) -> tuple[list[Any], list[Any]]:
        rule = self._rule or self._before
        numbers = [row[:, None] for row in keras.ops.unstack(coefficients)]
        return _apart(rule.catch_up(keras.ops, *part, numbers) for part in zip(values, slots, strict=True))

    def _updated(
        self, values: list[Any], slots: list[list[Any]], gradients: list[Any], scalars: Any
    ) -> tuple[list[Any], list[list[Any]]]:
        assert self._rule is not None
        parts = zip(values, slots, gradients, strict=True)
        return _apart(self._rule.update(keras.ops, *part, scalars) for part in parts)

    def _measures(self, y: Any, outputs: Any) -> tuple[Any, Any, Any]:
        of_examples = self._metric.of_examples
        mean = keras.ops.zeros(()) if of_examples is None else keras.ops.mean(of_examples(y, outputs), axis=0)
        return keras.ops.cast(self._loss(y, outputs), "float32"), mean, outputs


def _apart(pairs: Iterable[tuple[Any, list[Any]]]) -> tuple[list[Any], list[list[Any]]]:
    values, slots = zip(*pairs, strict=True)
    return list(values), list(slots)
