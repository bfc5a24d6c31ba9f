"""What `NativeProgram` needs of a kernel."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lth_keras.backends import Arrays


class Kernel(Protocol):
    """Makes steps and evaluations with weights in its own memory."""

    def start(self) -> None:
        """Begins a training with the masks and values of the Keras variables and empty slots of the optimiser."""

    def read(self) -> None:
        """Copies the values of the Keras variables."""

    def write(self) -> None:
        """Assigns its weights to the Keras variables."""

    def keep_best(self) -> None:
        """Keeps a copy of its weights."""

    def best(self) -> dict[int, np.ndarray]:
        """Values of the Keras variables, by their `id`, for the copy that is kept."""

    def steps(self, data: Arrays, order: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Makes steps and returns their losses, float64 `(steps,)`.

        Args:
            data: examples, float32 `(n, inputs)`, and labels, int32 `(n,)`.
            order: the examples of each step, int32 `(steps, batch)`.
            numbers: the optimiser's numbers of each step, float32 `(steps, NUMBERS)`.
        """

    def evaluate(self, data: Arrays, losses: np.ndarray, correct: np.ndarray, outputs: np.ndarray) -> None:
        """Evaluates its weights.

        Args:
            data: as for `steps`, at least one example.
            losses: receives the loss of each example, float64 `(n,)`.
            correct: receives whether the first of the highest outputs is the label, bool `(n,)`.
            outputs: receives the outputs, float32 `(n, classes)`; has no rows if they are not needed.
        """
