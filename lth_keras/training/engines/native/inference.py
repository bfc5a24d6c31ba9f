"""Forward passes with the kept weights of a pruned chain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lth_keras.training.engines.native.layout import LANES, ChainPart, numpy_of, zeros
from lth_keras.training.engines.native.sparse import evaluation_room, padded
from lth_keras.training.engines.native.sparse_kernels import MOST_VECTORS
from lth_keras.training.engines.native.sparse_layout import SparseLayout
from lth_keras.training.engines.native.sparse_steps import make_sparse_evaluate
from lth_keras.training.engines.native.team import Team

PARTS_OF_A_THREAD = 4
"""Parts of a batch, of 64 examples each, for which another thread pays."""


class SparseForward:
    """Computes outputs from inputs; see `sparse_forward`.

    Args:
        layers: layers of the chain, whose values are copied.
        softmax: whether the outputs are probabilities instead of logits.
        threads: the most threads.
    """

    def __init__(self, layers: Sequence[ChainPart], softmax: bool, threads: int) -> None:
        masks = [numpy_of(layer.mask).astype(bool) for layer in layers]
        self._inputs, self._softmax, self._threads = masks[0].shape[0], softmax, threads
        if self._inputs < LANES:
            raise ValueError(f"Expected a model with at least {LANES} inputs. Received: {self._inputs}.")
        self._layout = SparseLayout(layers, masks)
        self._weights = zeros(self._layout.weights)
        self._layout.read(self._weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs, float32 `(examples, units)`.

        Raises:
            ValueError: for inputs of another size.
        """
        given, layout = np.asarray(x), self._layout
        if not given.ndim or given.size != len(given) * self._inputs:
            raise ValueError(
                f"Expected inputs of shape (examples, ...) with {self._inputs} numbers each. Received: {given.shape}."
            )
        examples = len(given)
        outputs = np.empty((examples, layout.classes), np.float32)
        if not examples:
            return outputs
        data = np.ascontiguousarray(given.reshape(examples, self._inputs), np.float32)
        vectors = 1 if examples <= LANES else MOST_VECTORS
        width = vectors * LANES
        parts = -(-examples // width)
        team = Team(max(1, min(self._threads, parts // PARTS_OF_A_THREAD)))
        team(
            make_sparse_evaluate(vectors), layout.tables, data, np.zeros(examples, np.int32),
            padded(np.arange(examples, dtype=np.int32), parts * width), layout.first_output, layout.classes,
            self._weights, evaluation_room(team.threads, layout.units, width), self._softmax, np.empty(examples),
            np.empty(examples, bool), outputs,
        )  # fmt: skip
        return outputs
