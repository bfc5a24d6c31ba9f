"""The training program for chains of dense layers on CPUs, with kernels of this library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.backends import Arrays, Evaluations, ProgramOfOne, ProgramParts, due_steps
from lth_keras.system import uninterrupted
from lth_keras.training.engines.native.chain import check_optimizer
from lth_keras.training.engines.native.dense import Dense
from lth_keras.training.engines.native.kernel import Kernel
from lth_keras.training.engines.native.layout import LANES, ChainPart, numpy_of
from lth_keras.training.engines.native.sparse import Sparse
from lth_keras.training.engines.native.team import Team
from lth_keras.training.engines.native.vectors import NUMBERS

SPARSE_BELOW = 0.4
"""The density of all kernels from which on the kernel for kept weights alone is faster; see docs/performance.md."""
FLOAT = np.float32


class NativeProgram(ProgramOfOne):
    """Makes many training steps in one call of a kernel that runs in several threads.

    Which kernel depends on the masks alone: `Sparse` below the density `SPARSE_BELOW`, otherwise `Dense`. LLVM compiles
    each at its first training, in some seconds. Results are bit-identical for any number of threads.

    Args:
        training: its parts; the loss is sparse categorical cross-entropy, the metric accuracy.
        layers: layers of the chain.
        softmax: whether the outputs are probabilities instead of logits.
        threads: number of threads.

    Raises:
        ValueError: for optimisers that `native_rule` does not support.
    """

    def __init__(self, training: ProgramParts, layers: Sequence[ChainPart], softmax: bool, threads: int) -> None:
        super().__init__(training)
        rule, self._numbers = native_rule(training.optimizer)
        self._layers = list(layers)
        self._options = softmax, rule, training.batch_size, Team(threads)
        self._inputs, self._classes = layers[0].kernel.shape[0], layers[-1].kernel.shape[1]
        self._masks: list[np.ndarray] = []
        self._dense: Dense | None = None
        self._release()
        self._start(0)

    def _take(self, train: Arrays, validation: Arrays) -> None:
        # Does not copy contiguous float32 arrays.
        self._data, self._validation = self._examples(*train), self._examples(*validation)

    def _release(self) -> None:
        self._data = self._validation = (np.empty((0, self._inputs), FLOAT), np.empty(0, np.int32))

    def _start(self, updates: int) -> None:
        self._updates, self._best_loss, self._loss_sum = updates, float(np.inf), 0.0
        self._kernel = self._kernel_of_masks()
        self._kernel.start()

    def _kernel_of_masks(self) -> Kernel:
        """The kernel for the current masks; the same one while they stay."""
        masks = [numpy_of(layer.mask).astype(bool) for layer in self._layers]
        if self._masks and all(map(np.array_equal, masks, self._masks)):
            return self._kernel
        self._masks = masks
        density = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
        if density < SPARSE_BELOW and self._inputs >= LANES:
            return Sparse(self._layers, masks, *self._options)
        if self._dense is None:
            self._dense = Dense(self._layers, *self._options)
        return self._dense

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        stop, bad, done = start + len(order), None, start
        self._kernel.read()
        rows = []
        with uninterrupted():  # threads wait for each other
            while done < stop:
                end = min(stop, (done // self.every + 1) * self.every)
                losses = self._steps(np.ascontiguousarray(order[done - start : end - start], np.int32))
                infinite = np.flatnonzero(~np.isfinite(losses))
                if len(infinite) and bad is None:
                    bad = done + int(infinite[0]) + 1
                self._loss_sum = np.cumsum([self._loss_sum, *losses])[-1]  # in the same order for any calls
                done = end
                if done % self.every == 0 or done == total:
                    loss, accuracy, _ = self._evaluate(*self._validation)
                    rows.append((self._loss_sum / (done - (done - 1) // self.every * self.every), loss, accuracy))
                    self._loss_sum = 0.0
                    if loss < self._best_loss:
                        self._best_loss = loss
                        self._kernel.keep_best()
            self._kernel.write()
        curves = np.array(rows, FLOAT).reshape(-1, 3).T
        return Evaluations(due_steps(start, stop, total, self.every), *curves), bad

    def finish(self, tickets: Sequence[int]) -> None:
        """Does nothing, since the weights are in the model; see `Program.finish`."""

    def _evaluate_one(self, x: np.ndarray, y: np.ndarray, outputs: bool) -> tuple[float, float, np.ndarray | None]:
        self._kernel = self._kernel_of_masks()
        self._kernel.read()
        with uninterrupted():
            loss, accuracy, given = self._evaluate(*self._examples(x, y), outputs)
        return loss, accuracy, given if outputs else None

    def _best_weights(self) -> list[np.ndarray]:
        values = self._kernel.best()
        return [values[id(weight)] for weight in self._model_weights]

    def _steps(self, order: np.ndarray) -> np.ndarray:
        """Makes the steps of `order` and returns their losses, float64."""
        losses = self._kernel.steps(self._data, order, self._numbers(self._updates, len(order)))
        self._updates += len(order)
        return losses

    def _evaluate(self, x: np.ndarray, y: np.ndarray, outputs: bool = False) -> tuple[float, float, np.ndarray]:
        """Mean loss, accuracy and, if requested, outputs of the weights in the kernel's memory."""
        losses, correct = np.empty(len(x)), np.empty(len(x), bool)
        given = np.empty((len(x) if outputs else 0, self._classes), FLOAT)
        if not len(x):
            return np.nan, np.nan, given
        self._kernel.evaluate((x, y), losses, correct, given)
        return float(FLOAT(losses.mean())), float(FLOAT(correct.mean())), given

    def _examples(self, x: np.ndarray, y: np.ndarray) -> Arrays:
        examples = np.ascontiguousarray(np.reshape(x, (len(x), self._inputs)), FLOAT)
        return examples, np.ascontiguousarray(np.reshape(y, -1), np.int32)


def native_rule(optimizer: keras.Optimizer) -> tuple[str, Callable[[int, int], np.ndarray]]:
    """The kernel's rule for a Keras optimiser.

    Returns:
        One of `vectors.RULES`; and (updates done, number of next updates) -> float32 `(updates, NUMBERS)`.

    Raises:
        ValueError: see `check_optimizer`.
    """
    check_optimizer(optimizer)
    if type(optimizer).__name__ == "Adam":
        return "adam", lambda done, count: _adam_numbers(optimizer, done, count)
    rule = ("nesterov" if optimizer.nesterov else "momentum") if optimizer.momentum else "descent"
    numbers = np.array([optimizer.learning_rate, optimizer.momentum, 0, 0], FLOAT)
    return rule, lambda done, count: np.tile(numbers, (count, 1))


def _adam_numbers(optimizer: Any, done: int, count: int) -> np.ndarray:
    """Adam's numbers of each step, computed in float32 as by Keras."""
    step = np.arange(done + 1, done + count + 1).astype(FLOAT)
    first, second = (1 - FLOAT(beta) ** step for beta in (optimizer.beta_1, optimizer.beta_2))
    numbers = np.empty((count, NUMBERS), FLOAT)
    numbers[:, 0] = FLOAT(optimizer.learning_rate) * np.sqrt(second) / first
    numbers[:, 1:] = 1 - optimizer.beta_1, 1 - optimizer.beta_2, optimizer.epsilon
    return numbers
