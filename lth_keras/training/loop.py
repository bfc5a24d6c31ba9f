"""Drives a compiled program through one training: calls of about a second, evaluations, interruption."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lth_keras.training.order import BatchOrder
from lth_keras.training.program import Program

CALL_SECONDS = 0.5
"""What one call of the compiled program aims to take: Ctrl-C is heard between calls."""


class NonFiniteLossError(ArithmeticError):
    """The training or validation loss became NaN or infinite.

    Attributes:
        step: the first step (counted from 1) whose loss was not finite.
    """

    def __init__(self, which: str, step: int) -> None:
        super().__init__(
            f"The {which} loss is not finite (NaN or infinity) at step {step}. "
            "Lower the learning rate, or check the data for NaN and the labels for the loss that is used."
        )
        self.step = step


@dataclass(frozen=True)
class Curves:
    """What was measured during one training, on the steps where an evaluation fell due.

    Attributes:
        step: int64, `(evaluations,)`: optimiser updates done.
        train_loss: float32: mean loss of the batches since the evaluation before.
        validation_loss: float32: without regularisation terms.
        validation_accuracy: float32: fraction in [0, 1].
        test_loss: float32: NaN where the test split was not evaluated.
        test_accuracy: float32: fraction in [0, 1]; NaN where not evaluated.
        test_confusion: int32 `(evaluations, classes, classes)`, rows true and columns predicted, -1 where the test
            split was not evaluated; None where it was not asked for.
    """

    step: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    validation_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    test_confusion: np.ndarray | None = None

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
    order: BatchOrder,
    *,
    steps: int,
    test: tuple[np.ndarray, np.ndarray],
    test_every: int,
    validated: bool = True,
    classes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Curves:
    """Trains for `steps` updates from the weights as they are, with a fresh optimiser.

    Args:
        program: holds the model, the optimiser and the data.
        order: gives the batches.
        steps: updates in all.
        test: x and y of the test split: measured, and decides nothing.
        test_every: steps between evaluations on the test split; a multiple of the program's evaluation cadence. The
            last step is always tested.
        validated: whether there is a validation split; without, its loss and accuracy are NaN.
        classes: number of classes to count a confusion matrix of at every test, for class indices as labels; None
            counts none.
        progress: called with (steps done, steps in all) after every call of the program.

    Raises:
        NonFiniteLossError: where the training or validation loss is NaN or infinite.
    """
    program.reset()
    try:
        return _train(program, order, steps, test, test_every, validated, classes, progress)
    except BaseException:  # Ctrl-C too: what is left of a training that does not end must not touch later weights
        program.reset()
        raise


def _train(
    program: Program,
    order: BatchOrder,
    steps: int,
    test: tuple[np.ndarray, np.ndarray],
    test_every: int,
    validated: bool,
    classes: int | None,
    progress: Callable[[int, int], None] | None,
) -> Curves:
    rows: list[tuple[float, ...]] = []
    matrices: dict[int, np.ndarray] = {}
    done, size = 0, 1
    while done < steps:
        count = min(size, program.capacity, steps - done, test_every - done % test_every)
        started = time.perf_counter()
        evaluations, bad_step = program.advance(order.take(count), done, steps)
        seconds = time.perf_counter() - started
        if bad_step is not None:
            raise NonFiniteLossError("training", bad_step)
        if validated and not np.isfinite(evaluations.validation_loss).all():
            first = np.argmin(np.isfinite(evaluations.validation_loss))
            raise NonFiniteLossError("validation", int(evaluations.step[first]))
        done += count
        rows += [(*row, np.nan, np.nan) for row in zip(*evaluations, strict=True)]
        if done % test_every == 0 or done == steps:
            if classes is None:
                loss, accuracy = program.evaluate(*test)
            else:
                loss, accuracy, outputs = program.test(*test)
                matrices[len(rows) - 1] = confusion_matrix(test[1], outputs, classes)
            rows[-1] = (*rows[-1][:-2], loss, accuracy)
        if progress is not None:
            progress(done, steps)
        # Grown by no more than tenfold a call: the first ones hold compilation and say little.
        size = max(1, min(size * 10, round(count * CALL_SECONDS / max(seconds, 1e-6))))
    step, *values = zip(*rows, strict=True)
    confusion = None
    if classes is not None:
        confusion = np.full((len(rows), classes, classes), -1, np.int32)
        for evaluation, matrix in matrices.items():
            confusion[evaluation] = matrix
    train_loss, validation_loss, validation_accuracy, test_loss, test_accuracy = (
        np.array(value, np.float32) for value in values
    )
    return Curves(
        step=np.array(step, np.int64),
        train_loss=train_loss,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        test_confusion=confusion,
    )


def confusion_matrix(y: np.ndarray, outputs: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (row) was taken for each class (column): integers `(classes, classes)`.

    Args:
        y: class indices, `(n,)` or `(n, 1)`.
        outputs: `(n, classes)`; the highest is the prediction, the first of several.
        classes: number of classes.
    """
    pairs = np.reshape(y, -1).astype(np.int64) * classes + outputs.argmax(axis=-1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
