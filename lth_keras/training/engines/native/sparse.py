"""The kernel for the kept weights of a pruned chain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lth_keras.backends import Arrays
from lth_keras.training.engines.native.layout import LANES, ChainPart, zeros
from lth_keras.training.engines.native.sparse_kernels import FOLDED, MOST_VECTORS
from lth_keras.training.engines.native.sparse_layout import (
    AFTER_WEIGHTS,
    FIRST_WEIGHT,
    ONE,
    SparseLayout,
)
from lth_keras.training.engines.native.sparse_steps import make_sparse_evaluate, make_sparse_train
from lth_keras.training.engines.native.team import Team


class Sparse:
    """Trains and evaluates with the kept weights alone; see `Kernel`.

    Weights and the optimiser's slots exist for kept weights only, and a step takes time in proportion to their number.

    Args:
        layers: layers of the chain.
        masks: their masks.
        softmax: whether the outputs are probabilities instead of logits.
        rule: one of `vectors.RULES`.
        batch_size: examples of a step.
        team: the threads.
    """

    def __init__(
        self, layers: Sequence[ChainPart], masks: Sequence[np.ndarray], softmax: bool, rule: str, batch_size: int,
        team: Team,
    ) -> None:  # fmt: skip
        self._softmax, self._team, self._batch = softmax, team, batch_size
        self._layout = layout = SparseLayout(layers, masks)
        vectors = min(MOST_VECTORS, -(-batch_size // LANES))
        self._width, self._evaluated = vectors * LANES, MOST_VECTORS * LANES
        self._train, self._evaluate = make_sparse_train(rule, vectors), make_sparse_evaluate(MOST_VECTORS)
        self._parts = -(-batch_size // self._width)
        shape = self._parts, layout.units, self._width
        self._values, self._gradients = (zeros(int(np.prod(shape))) for _ in range(2))
        self._values.reshape(shape)[:, ONE] = 1
        self._own = evaluation_room(team.threads, layout.units, self._evaluated)
        blocks = layout.tables.blocks
        most = int((blocks[:, AFTER_WEIGHTS] - blocks[:, FIRST_WEIGHT]).max(initial=0))
        self._folded = zeros(team.threads * most * FOLDED).reshape(team.threads, -1)
        self._weights, self._first, self._second, self._best = (zeros(layout.weights) for _ in range(4))
        self._example_losses = np.zeros(batch_size)

    def start(self) -> None:
        """See `Kernel.start`."""
        self._first[:] = self._second[:] = 0
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
        layout, losses = self._layout, np.empty(len(order))
        self._team(
            self._train, layout.tables, *data, padded(order, self._parts * self._width), self._batch,
            layout.first_output, layout.classes, self._weights, self._first, self._second, self._values,
            self._gradients, self._folded, numbers, self._example_losses, losses,
        )  # fmt: skip
        return losses

    def evaluate(self, data: Arrays, losses: np.ndarray, correct: np.ndarray, outputs: np.ndarray) -> None:
        """See `Kernel.evaluate`."""
        layout, examples = self._layout, len(data[0])
        order = padded(np.arange(examples, dtype=np.int32), -(-examples // self._evaluated) * self._evaluated)
        self._team(
            self._evaluate, layout.tables, *data, order, layout.first_output, layout.classes, self._weights, self._own,
            self._softmax, losses, correct, outputs,
        )  # fmt: skip


def evaluation_room(threads: int, units: int, width: int) -> np.ndarray:
    """Activations for evaluations, `(threads, units * width)`."""
    room = zeros(threads * units * width).reshape(threads, units, width)
    room[:, ONE] = 1
    return room.reshape(threads, -1)


def padded(order: np.ndarray, length: int) -> np.ndarray:
    """Examples with the last one repeated up to this length."""
    return np.pad(order, [(0, 0)] * (order.ndim - 1) + [(0, length - order.shape[-1])], mode="edge")
