"""The kernel for all weights of a chain: those that are pruned are computed with as zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lth_keras.backends import Arrays
from lth_keras.training.engines.native import forward, steps
from lth_keras.training.engines.native.kernels import VECTORS
from lth_keras.training.engines.native.layout import BELOW, BELOW_ROW, ROWS, ChainPart, Layout, zeros
from lth_keras.training.engines.native.team import Team

EVALUATED = 16
"""Tiles of rows that a thread evaluates at a time, 96 examples."""


class Dense:
    """Trains and evaluates with all weights; see `Kernel`.

    The optimiser updates a tile of weights while its gradient is in registers, and most of the weights that a thread
    reads are in its processor's cache.

    Args:
        layers: layers of the chain.
        softmax: whether the outputs are probabilities instead of logits.
        rule: one of `vectors.RULES`.
        batch_size: examples of a step.
        team: the threads.
    """

    def __init__(self, layers: Sequence[ChainPart], softmax: bool, rule: str, batch_size: int, team: Team) -> None:
        self._train, self._softmax, self._team = steps.make_train(rule), softmax, team
        self._layout = layout = Layout(layers, VECTORS)
        rows = -(-batch_size // ROWS) * ROWS
        self._table = layout.table(rows, batches=2)
        self._activations, self._gradients = zeros(self._table.activations), zeros(self._table.activations)
        _put_ones(self._activations, self._table.layers, layout.sizes, batch_size, rows, batches=2)
        self._turned = zeros(self._table.turned)
        self._evaluated = layout.table(EVALUATED * ROWS)
        self._own = zeros(team.threads * self._evaluated.activations).reshape(team.threads, -1)
        for own in self._own:
            _put_ones(own, self._evaluated.layers, layout.sizes, EVALUATED * ROWS, EVALUATED * ROWS, batches=1)
        self._weights, self._first, self._second, self._best = (zeros(layout.weights) for _ in range(4))
        self._example_losses, self._kept = np.zeros(batch_size), layout.kept()

    def start(self) -> None:
        """See `Kernel.start`."""
        self._first[:] = self._second[:] = 0
        self._kept = self._layout.kept()
        self.read()
        self.keep_best()

    def read(self) -> None:
        """See `Kernel.read`."""
        self._layout.read(self._weights)

    def write(self) -> None:
        """See `Kernel.write`."""
        self._layout.write(self._weights)

    def keep_best(self) -> None:
        """See `Kernel.keep_best`."""
        self._best[:] = self._weights

    def best(self) -> dict[int, np.ndarray]:
        """See `Kernel.best`."""
        return self._layout.values(self._best)

    def steps(self, data: Arrays, order: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """See `Kernel.steps`."""
        losses = np.empty(len(order))
        self._team(
            self._train, self._table.layers, *data, order, self._weights, self._first, self._second, self._kept,
            self._activations, self._gradients, self._turned, numbers, self._example_losses, losses,
        )  # fmt: skip
        return losses

    def evaluate(self, data: Arrays, losses: np.ndarray, correct: np.ndarray, outputs: np.ndarray) -> None:
        """See `Kernel.evaluate`."""
        self._team(
            forward.evaluate, self._evaluated.layers, EVALUATED, *data, self._weights, self._own, self._softmax,
            losses, correct, outputs,
        )  # fmt: skip


def _put_ones(
    activations: np.ndarray, table: np.ndarray, sizes: Sequence[int], examples: int, rows: int, batches: int
) -> None:
    """Writes ones, which biases are multiplied by, next to the inputs of each layer for `examples` examples."""
    for i, layer in enumerate(table):
        for batch in range(1 if i else batches):
            start = layer[BELOW] + batch * rows * layer[BELOW_ROW] + sizes[i]
            activations[start : start + examples * layer[BELOW_ROW] : layer[BELOW_ROW]] = 1
