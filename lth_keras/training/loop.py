"""The training loop: calls a compiled program in parts of about a second, and records evaluations."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from lth_keras.backends import LOWER, Evaluations, Program, each
from lth_keras.system import interrupts
from lth_keras.training.metrics import Counter
from lth_keras.training.order import Order

CALL_SECONDS = 0.5
"""Target seconds of one call of the compiled program; signals that stop a search take effect between calls."""


Hooks = Mapping[int, Callable[[], None]]
"""Step -> function to call after that step."""


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
    """The evaluations of one training.

    Attributes:
        step: int64, `(evaluations,)`: optimiser updates done.
        train_loss: float32: mean loss of the batches since the previous evaluation.
        validation_loss: float32: without regularisation terms.
        validation_metric: float32: the metric, such as accuracy, micro-F1 or mean absolute error (see `make_metric`).
        test_loss: float32: NaN where the test split was not evaluated.
        test_metric: float32: the metric on the test split; NaN where it was not evaluated.
        test_confusion: int32 `(evaluations, classes, classes)`, rows true and columns predicted, -1 where the test
            split was not evaluated; None if not requested, and for multi-label tasks.
        test_counts: int32 `(evaluations, classes, 3)`: for multi-label tasks instead, true positives, false positives
            and false negatives of each class.
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
        """Index of the evaluation with the least validation loss: the first of several, the last without validation."""
        without = np.isnan(self.validation_loss).all()
        return len(self.step) - 1 if without else int(np.argmin(self.validation_loss))

    @property
    def early_stop_step(self) -> int:
        """The step with the least validation loss; the last step without a validation split."""
        return int(self.step[self.early_stop])


def train(
    program: Program,
    orders: Sequence[Order],
    *,
    steps: int,
    start: int = 0,
    labels: Sequence[Any],
    test_every: int,
    validated: bool = True,
    counter: Counter | None = None,
    patience: int | None = None,
    ended: Callable[[int], None] | None = None,
    after: Hooks | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Curves | NonFiniteLossError]:
    """Trains the tickets of a program for `steps` updates; `Program.load` and `Program.begin` were called before.

    If the optimiser keeps averages of weights (`use_ema`), they replace the weights at the end, as in Keras' `fit`: the
    last evaluation uses the averages, earlier ones the weights. If `patience` ends a training, its last validation
    uses the weights.

    Args:
        program: has the model, the optimisers and the data.
        orders: the batch order of each ticket.
        steps: number of updates, including `start`.
        start: number of updates done before; evaluations are counted from the first of these. The orders begin with the
            next update.
        labels: labels of each ticket's test split.
        test_every: steps between evaluations on the test split, which affect nothing; a multiple of the program's
            `every`. The last step is always tested.
        validated: whether there is a validation split; without it, its loss and metric are NaN.
        counter: counts outcomes by class at every test, or None.
        patience: evaluations without a lower validation loss after which a ticket's training ends with a test; other
            tickets continue. None for never.
        ended: called with the index of a ticket whose training ends before the others', to copy its weights.
        after: functions to call after given steps, 0 for before the first; they do not affect results.
        progress: called with (steps done, number of steps) after every call of the program.

    Returns:
        For each ticket its curves, or the error if its training or validation loss became NaN or infinite; other
        tickets continue.
    """
    records = [_Record(own, (start, program.every), validated, counter, patience, program.advice) for own in labels]
    bounds = test_every if patience is None else program.every  # with patience, any evaluation can be the last
    calls = _Calls(start, steps, bounds, program.capacity, after or {}, progress)
    try:
        _train(program, orders, records, calls, test_every, ended)
    except BaseException:  # including Ctrl-C: state of an interrupted training must not affect later ones
        program.reset()
        raise
    if all(record.error for record in records):
        program.reset()
    return [record.error or record.curves() for record in records]


def _train(
    program: Program,
    orders: Sequence[Order],
    records: Sequence[_Record],
    calls: _Calls,
    test_every: int,
    ended: Callable[[int], None] | None,
) -> None:
    going = set(range(len(orders)))
    for done, count in calls:
        measured, first_bad = program.advance(np.stack([order.take(count) for order in orders]), done, calls.steps)
        calls.returned()
        for i in going:
            records[i].add(measured[i], first_bad[i])
        going = {i for i in going if records[i].error is None}
        over = {i for i in going if records[i].is_over}
        if over == going:
            calls.steps = done + count
        if over:
            program.finish(sorted(over))
        due = going if (done + count) % test_every == 0 or done + count == calls.steps else over
        if due:
            test = program.evaluate("test", outputs=records[0].counter is not None)
            for i in due:
                outputs = None if test.outputs is None else each(itemgetter(i), test.outputs)
                records[i].tested(float(test.loss[i]), float(test.metric[i]), outputs)
        if ended is not None and over != going:
            for i in sorted(over):
                ended(i)
        going -= over


class _Calls:
    """Cuts a training into calls of about `CALL_SECONDS`: (steps done, steps of the call).

    Calls end at every multiple of `bounds` and at every step of `after`, whose function is called before the next call.
    Assigning `steps` shortens the training.
    """

    def __init__(
        self,
        start: int,
        steps: int,
        bounds: int,
        capacity: int,
        after: Hooks,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._start, self.steps, self._whole = start, steps, steps
        self._bounds, self._capacity, self._after, self._progress = bounds, capacity, after, progress
        self._started = self._seconds = 0.0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        done, size = self._start, 1
        while True:
            if done in self._after:
                self._after[done]()
            if done == self.steps:
                return
            left = [self._capacity, self.steps - done, self._bounds - done % self._bounds]
            left += [step - done for step in self._after if step > done]
            interrupts.check()
            count, self._started = min(size, *left), time.perf_counter()
            yield done, count
            done += count
            if self._progress is not None:
                self._progress(done, self._whole)
            # At most tenfold per call, since the first calls include compilation.
            size = max(1, min(size * 10, round(count * CALL_SECONDS / max(self._seconds, 1e-6))))

    def returned(self) -> None:
        """Records the end of a call, to time its steps."""
        self._seconds = time.perf_counter() - self._started


def _older(name: str, newer: str) -> None:
    warnings.warn(f"Curves.{name} is now Curves.{newer}.", DeprecationWarning, stacklevel=3)


class _Record:
    """Collects the evaluations of one training; `error` ends it."""

    def __init__(
        self,
        labels: Any,
        begins: tuple[int, int],
        validated: bool,
        counter: Counter | None,
        patience: int | None,
        advice: str,
    ) -> None:
        start, every = begins
        self._start, self._before = start, start % every
        self._labels, self._validated, self.counter, self._patience = labels, validated, counter, patience
        self._advice = advice
        self.error: NonFiniteLossError | None = None
        self._rows: list[tuple[float, ...]] = []
        self._counts: dict[int, np.ndarray] = {}

    def add(self, evaluations: Evaluations, bad_step: int | None) -> None:
        finite = np.isfinite(evaluations.validation_loss)
        if bad_step is not None:
            self.error = NonFiniteLossError("training", bad_step, self._advice)
        elif self._validated and not finite.all():
            self.error = NonFiniteLossError("validation", int(evaluations.step[np.argmin(finite)]), self._advice)
        if self._before and len(evaluations.step):  # programs divide by all steps since the evaluation before `start`
            own, losses = evaluations.step[0] - self._start, np.array(evaluations.train_loss)
            losses[0] *= (own + self._before) / own
            evaluations, self._before = evaluations._replace(train_loss=losses), 0
        self._rows += [(*row, np.nan, np.nan) for row in zip(*evaluations, strict=True)]

    @property
    def is_over(self) -> bool:
        """Whether the validation loss has not decreased for `patience` evaluations."""
        if self._patience is None or not self._rows:
            return False
        return len(self._rows) - 1 - int(np.argmin([row[2] for row in self._rows])) >= self._patience

    def tested(self, loss: float, metric: float, outputs: Any) -> None:
        self._rows[-1] = (*self._rows[-1][:-2], loss, metric)
        if self.counter is not None:
            assert outputs is not None
            self._counts[len(self._rows) - 1] = self.counter.count_outcomes(self._labels, outputs)

    def curves(self) -> Curves:
        step, *values = zip(*self._rows, strict=True)
        counts = {}
        if self.counter is not None:
            of_all = counts[self.counter.field] = np.full((len(self._rows), *self.counter.shape), -1, np.int32)
            for evaluation, of_one in self._counts.items():
                of_all[evaluation] = of_one
        # In the order of the fields of `Curves`.
        return Curves(np.array(step, np.int64), *(np.array(value, np.float32) for value in values), **counts)
