"""Drives a compiled program through a training: calls of about a second, evaluations, interruption."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lth_keras.backends import LOWER, Program
from lth_keras.backends.program import Evaluations
from lth_keras.system import interrupts
from lth_keras.training.metrics import Counter
from lth_keras.training.order import BatchOrder

CALL_SECONDS = 0.5
"""What one call of the compiled program aims to take: signals that stop a search take effect between calls."""


Hooks = Mapping[int, Callable[[], None]]
"""What to call during a training when so many steps are done."""


class NonFiniteLossError(ArithmeticError):
    """The training or validation loss became NaN or infinite.

    Attributes:
        step: the first step (counted from 1) whose loss was not finite.
    """

    def __init__(self, which: str, step: int, advice: str = LOWER) -> None:
        super().__init__(f"The {which} loss is not finite (NaN or infinity) at step {step}. {advice}")
        self.step = step


@dataclass(frozen=True)
class Curves:
    """What was measured during one training, on the steps where an evaluation fell due.

    Attributes:
        step: int64, `(evaluations,)`: optimiser updates done.
        train_loss: float32: mean loss of the batches since the evaluation before.
        validation_loss: float32: without regularisation terms.
        validation_metric: float32: the metric, such as accuracy, micro-F1 or mean absolute error (see `make_metric`).
        test_loss: float32: NaN where the test split was not evaluated.
        test_metric: float32: the same on the test split; NaN where not evaluated.
        test_confusion: int32 `(evaluations, classes, classes)`, rows true and columns predicted, -1 where the test
            split was not evaluated; None where it was not asked for, and for multi-label tasks.
        test_counts: int32 `(evaluations, classes, 3)`: true positives, false positives and false negatives of each
            class, likewise, for multi-label tasks.
    """

    step: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray
    test_loss: np.ndarray
    test_metric: np.ndarray
    test_confusion: np.ndarray | None = None
    test_counts: np.ndarray | None = None

    @property
    def validation_accuracy(self) -> np.ndarray:
        """`validation_metric` by its older name."""
        _older("validation_accuracy", "validation_metric")
        return self.validation_metric

    @property
    def test_accuracy(self) -> np.ndarray:
        """`test_metric` by its older name."""
        _older("test_accuracy", "test_metric")
        return self.test_metric

    @property
    def early_stop(self) -> int:
        """Which evaluation has the least validation loss: the first of several, the last without validation split."""
        without = np.isnan(self.validation_loss).all()
        return len(self.step) - 1 if without else int(np.argmin(self.validation_loss))

    @property
    def early_stop_step(self) -> int:
        """The step of least validation loss; the last one where there is no validation split."""
        return int(self.step[self.early_stop])


def train(
    program: Program,
    orders: Sequence[BatchOrder],
    *,
    steps: int,
    labels: Sequence[np.ndarray],
    test_every: int,
    validated: bool = True,
    counter: Counter | None = None,
    patience: int | None = None,
    ended: Callable[[int], None] | None = None,
    after: Hooks | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Curves | NonFiniteLossError]:
    """Trains the tickets of a program for `steps` updates; the program has their data and has begun.

    Where the optimiser keeps averages of weights (`use_ema`), these take their place at the end, as in Keras' `fit`:
    evaluations before see the weights themselves, the last one their averages. A training that `patience` ends has its
    last validation before that.

    Args:
        program: holds the model, the optimisers and the data.
        orders: gives each ticket its batches.
        steps: updates in all.
        labels: of each ticket's test split.
        test_every: steps between evaluations on the test split, which decide nothing; a multiple of the program's
            evaluation cadence. The last step is always tested.
        validated: whether there is a validation split; without, its loss and metric are NaN.
        counter: counts outcomes by class at every test; None for none.
        patience: evaluations without a lower validation loss after which a ticket's training ends, at once and tested;
            the others go on. None for never.
        ended: called with a ticket whose training has ended before the others', to keep what it is then.
        after: what to call when so many steps are done, 0 for before the first; changes no bit.
        progress: called with (steps done, steps in all) after every call of the program.

    Returns:
        For each ticket what was measured, or the error of one whose training or validation loss became NaN or
        infinite; the others go on.
    """
    try:
        results = _train(
            program, orders, steps, labels, test_every, validated, counter, patience, ended, after or {}, progress
        )
    except BaseException:  # Ctrl-C too: what is left of a training that does not end must not touch later weights
        program.reset()
        raise
    if all(isinstance(result, NonFiniteLossError) for result in results):
        program.reset()
    return results


def _train(
    program: Program,
    orders: Sequence[BatchOrder],
    steps: int,
    labels: Sequence[np.ndarray],
    test_every: int,
    validated: bool,
    counter: Counter | None,
    patience: int | None,
    ended: Callable[[int], None] | None,
    after: Hooks,
    progress: Callable[[int, int], None] | None,
) -> list[Curves | NonFiniteLossError]:
    records = [_Record(validated, counter, patience, program.advice) for _ in orders]
    errors: list[NonFiniteLossError | None] = [None] * len(orders)
    going = set(range(len(orders)))
    bounds = test_every if patience is None else program.every  # every evaluation can be the last, or tests fall due
    for done, count in (calls := _Calls(steps, bounds, program.capacity, after)):
        measured, first_bad = program.advance(np.stack([order.take(count) for order in orders]), done, steps)
        calls.returned()
        for i in sorted(going):
            try:
                records[i].add(measured[i], first_bad[i])
            except NonFiniteLossError as error:
                errors[i] = error
        going = {i for i in going if errors[i] is None}
        over = {i for i in going if records[i].is_over}
        if over == going:
            calls.stop()
        if over:
            program.finish(sorted(over))
        due = going if calls.test_is_due(test_every) else over
        if due:
            test = program.evaluate("test", outputs=counter is not None)
            for i in due:
                outputs = None if test.outputs is None else test.outputs[i]
                records[i].tested(float(test.loss[i]), float(test.metric[i]), outputs, labels[i])
        if ended is not None and over != going:
            for i in sorted(over):
                ended(i)
        going -= over
        if progress is not None:
            progress(done + count, steps)
    return [error or record.curves() for error, record in zip(errors, records, strict=True)]


class _Calls:
    """Cuts a training into calls of about `CALL_SECONDS`: (steps done, steps).

    They end at every multiple of `bounds`, and where something is to be called, which is called before the next.
    """

    def __init__(self, steps: int, bounds: int, capacity: int, after: Hooks) -> None:
        self._steps, self._bounds, self._capacity, self._after = steps, bounds, capacity, after
        self._done = self._count = 0
        self._started = self._seconds = 0.0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        size = 1
        while True:
            if self._done in self._after:
                self._after[self._done]()
            if self._done == self._steps:
                return
            left = [self._capacity, self._steps - self._done, self._bounds - self._done % self._bounds]
            left += [step - self._done for step in self._after if step > self._done]
            interrupts.check()
            self._count, self._started = min(size, *left), time.perf_counter()
            yield self._done, self._count
            self._done += self._count
            # Grown by no more than tenfold a call: the first ones hold compilation and say little.
            size = max(1, min(size * 10, round(self._count * CALL_SECONDS / max(self._seconds, 1e-6))))

    def returned(self) -> None:
        """The call is over; what its steps are timed by."""
        self._seconds = time.perf_counter() - self._started

    def stop(self) -> None:
        """No call after this one: its last step is the training's."""
        self._steps = self._done + self._count

    def test_is_due(self, every: int) -> bool:
        """Whether the call's last step is one to test after."""
        done = self._done + self._count
        return done % every == 0 or done == self._steps


def _older(name: str, newer: str) -> None:
    warnings.warn(f"Curves.{name} is now Curves.{newer}.", DeprecationWarning, stacklevel=3)


class _Record:
    """What one training measures."""

    def __init__(
        self, validated: bool, counter: Counter | None, patience: int | None, advice: str | None = None
    ) -> None:
        self._validated, self._counter, self._patience = validated, counter, patience
        self._advice = advice or LOWER
        self._rows: list[tuple[float, ...]] = []
        self._counts: dict[int, np.ndarray] = {}

    def add(self, evaluations: Evaluations, bad_step: int | None) -> None:
        if bad_step is not None:
            raise NonFiniteLossError("training", bad_step, self._advice)
        if self._validated and not np.isfinite(evaluations.validation_loss).all():
            first = np.argmin(np.isfinite(evaluations.validation_loss))
            raise NonFiniteLossError("validation", int(evaluations.step[first]), self._advice)
        self._rows += [(*row, np.nan, np.nan) for row in zip(*evaluations, strict=True)]

    @property
    def is_over(self) -> bool:
        """Whether the validation loss has not become lower for so many evaluations as one has patience for."""
        if self._patience is None or not self._rows:
            return False
        return len(self._rows) - 1 - int(np.argmin([row[2] for row in self._rows])) >= self._patience

    def tested(
        self, loss: float, metric: float, outputs: np.ndarray | None = None, labels: np.ndarray | None = None
    ) -> None:
        self._rows[-1] = (*self._rows[-1][:-2], loss, metric)
        if self._counter is not None:
            assert outputs is not None and labels is not None
            self._counts[len(self._rows) - 1] = self._counter.count_outcomes(labels, outputs)

    def curves(self) -> Curves:
        step, *values = zip(*self._rows, strict=True)
        counts = {}
        if self._counter is not None:
            of_all = counts[self._counter.field] = np.full((len(self._rows), *self._counter.shape), -1, np.int32)
            for evaluation, of_one in self._counts.items():
                of_all[evaluation] = of_one
        train_loss, validation_loss, validation_metric, test_loss, test_metric = (
            np.array(value, np.float32) for value in values
        )
        return Curves(
            step=np.array(step, np.int64),
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_metric=validation_metric,
            test_loss=test_loss,
            test_metric=test_metric,
            **counts,
        )
