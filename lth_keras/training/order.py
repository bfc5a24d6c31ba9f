"""The order of training examples."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Order(Protocol):
    """The order of a training's batches."""

    def skip(self, steps: int) -> None:
        """Leaves out the next batches."""

    def take(self, steps: int) -> np.ndarray:
        """The next batches: int32, `(steps, ...)`, indices of examples or of batches."""


class InOrder:
    """Batches in the order of their source, by their number since the beginning of the training."""

    def __init__(self) -> None:
        self._next = 0

    def skip(self, steps: int) -> None:
        """See `Order.skip`."""
        self._next += steps

    def take(self, steps: int) -> np.ndarray:
        """See `Order.take`; `(steps, 1)`."""
        self._next += steps
        return np.arange(self._next - steps, self._next, dtype=np.int32)[:, None]


class BatchOrder:
    """Batches of one training: every epoch is floor(n / batch) full batches of a fresh permutation.

    It is drawn in numpy, so the order is equal on all backends and in resumed runs.

    Args:
        examples: number of training examples, at least `batch_size`.
        batch_size: examples per step.
        generator: draws the permutations.
    """

    def __init__(self, examples: int, batch_size: int, generator: np.random.Generator) -> None:
        if not 1 <= batch_size <= examples:
            raise ValueError(
                f"Expected a batch_size from 1 to {examples}, the number of training examples. Received: {batch_size}."
            )
        self._examples = examples
        self._batch_size = batch_size
        self._generator = generator
        self._left = np.empty((0, batch_size), np.int32)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self._examples // self._batch_size

    def skip(self, steps: int) -> None:
        """Leaves out the next batches; later ones are those of an order that was used from the beginning."""
        while steps > 0:
            steps -= len(self.take(min(steps, self.steps_per_epoch)))

    def take(self, steps: int) -> np.ndarray:
        """Indices of the next batches: int32, `(steps, batch_size)`."""
        parts, missing = [], steps
        while missing > 0:
            if not len(self._left):
                permutation = self._generator.permutation(self._examples).astype(np.int32)
                full = self.steps_per_epoch * self._batch_size
                self._left = permutation[:full].reshape(-1, self._batch_size)
            parts.append(self._left[:missing])
            self._left = self._left[missing:]
            missing -= len(parts[-1])
        return np.concatenate(parts)
