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
    """

    step: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    validation_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray

    @property
    def early_stop_step(self) -> int:
        """The step of least validation loss, the first where several are equal."""
        return int(self.step[np.argmin(self.validation_loss)])


def train(
    program: Program,
    order: BatchOrder,
    *,
    steps: int,
    test: tuple[np.ndarray, np.ndarray],
    test_every: int,
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
        progress: called with (steps done, steps in all) after every call of the program.

    Raises:
        NonFiniteLossError: where the training or validation loss is NaN or infinite.
    """
    program.reset()
    rows: list[tuple[float, ...]] = []
    done, size = 0, 1
    while done < steps:
        count = min(size, program.capacity, steps - done, test_every - done % test_every)
        started = time.perf_counter()
        evaluations, bad_step = program.advance(order.take(count), done, steps)
        seconds = time.perf_counter() - started
        if bad_step is not None:
            raise NonFiniteLossError("training", bad_step)
        if not np.isfinite(evaluations.validation_loss).all():
            first = np.argmin(np.isfinite(evaluations.validation_loss))
            raise NonFiniteLossError("validation", int(evaluations.step[first]))
        done += count
        rows += [(*row, np.nan, np.nan) for row in zip(*evaluations, strict=True)]
        if done % test_every == 0 or done == steps:
            rows[-1] = (*rows[-1][:-2], *program.evaluate(*test))
        if progress is not None:
            progress(done, steps)
        # Grown by no more than tenfold a call: the first ones hold compilation and say little.
        size = max(1, min(size * 10, round(count * CALL_SECONDS / max(seconds, 1e-6))))
    step, *values = zip(*rows, strict=True)
    return Curves(np.array(step, np.int64), *(np.array(value, np.float32) for value in values))
