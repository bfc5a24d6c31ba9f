"""The training program for chains of dense layers on CPUs, with a kernel of this library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import keras
import numba
import numpy as np

from lth_keras.backends import Arrays, Evaluations, ProgramOfOne, ProgramParts, due_steps
from lth_keras.system import uninterrupted
from lth_keras.training.engines.native import forward, steps
from lth_keras.training.engines.native.barriers import ABORTED, BARRIER, GENERATION
from lth_keras.training.engines.native.chain import check_optimizer
from lth_keras.training.engines.native.kernels import VECTORS
from lth_keras.training.engines.native.layout import BELOW, BELOW_ROW, ROWS, ChainPart, Layout, zeros
from lth_keras.training.engines.native.vectors import NUMBERS

EVALUATED = 16
"""Tiles of rows that a thread evaluates at a time, 96 examples."""
FLOAT = np.float32


class NativeProgram(ProgramOfOne):
    """Makes many training steps in one call of a kernel that runs in several threads.

    The optimiser updates a tile of weights while its gradient is in registers, and most of the weights that a thread
    reads are in its processor's cache. LLVM compiles the kernel at the first training, in some seconds. Results are
    bit-identical for any number of threads.

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
        self._train = steps.make_train(rule)
        batch_size = training.batch_size
        self._softmax, self._threads = softmax, threads
        self._layout = layout = Layout(layers, VECTORS)
        rows = -(-batch_size // ROWS) * ROWS
        self._table = layout.table(rows, batches=2)
        self._activations, self._gradients = zeros(self._table.activations), zeros(self._table.activations)
        _put_ones(self._activations, self._table.layers, layout.sizes, batch_size, rows, batches=2)
        self._turned = zeros(self._table.turned)
        self._evaluated = layout.table(EVALUATED * ROWS)
        self._own = zeros(threads * self._evaluated.activations).reshape(threads, -1)
        for own in self._own:
            _put_ones(own, self._evaluated.layers, layout.sizes, EVALUATED * ROWS, EVALUATED * ROWS, batches=1)
        self._weights, self._first, self._second, self._best = (zeros(layout.weights) for _ in range(4))
        self._example_losses, self._barrier = np.zeros(batch_size), np.zeros(BARRIER, np.int64)
        self._release()
        self._start(0)

    def _take(self, train: Arrays, validation: Arrays) -> None:
        # Does not copy contiguous float32 arrays.
        self._data, self._validation = self._examples(*train), self._examples(*validation)

    def _release(self) -> None:
        self._data = self._validation = (np.empty((0, self._layout.sizes[0]), FLOAT), np.empty(0, np.int32))

    def _start(self, updates: int) -> None:
        self._first[:] = self._second[:] = 0
        self._updates, self._best_loss, self._loss_sum = updates, float(np.inf), 0.0
        self._layout.read(self._best)

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        stop, bad, done = start + len(order), None, start
        self._layout.read(self._weights)
        kept, rows = self._layout.kept(), []
        with uninterrupted():  # threads wait for each other
            while done < stop:
                end = min(stop, (done // self.every + 1) * self.every)
                losses = self._steps(np.ascontiguousarray(order[done - start : end - start], np.int32), kept)
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
                        self._best[:] = self._weights
            self._layout.write(self._weights)
        curves = np.array(rows, FLOAT).reshape(-1, 3).T
        return Evaluations(due_steps(start, stop, total, self.every), *curves), bad

    def finish(self, tickets: Sequence[int]) -> None:
        """Does nothing, since the weights are in the model; see `Program.finish`."""

    def _evaluate_one(self, x: np.ndarray, y: np.ndarray, outputs: bool) -> tuple[float, float, np.ndarray | None]:
        self._layout.read(self._weights)
        with uninterrupted():
            loss, accuracy, given = self._evaluate(*self._examples(x, y), outputs)
        return loss, accuracy, given if outputs else None

    def _best_weights(self) -> list[np.ndarray]:
        values = self._layout.values(self._best)
        return [values[id(weight)] for weight in self._model_weights]

    def _steps(self, order: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Makes the steps of `order` and returns their losses, float64."""
        losses, numbers = np.empty(len(order)), self._numbers(self._updates, len(order))
        self._barrier = np.zeros(BARRIER, np.int64)
        self._together(
            self._train, self._barrier, self._table.layers, *self._data, order, self._weights, self._first,
            self._second, kept, self._activations, self._gradients, self._turned, numbers, self._example_losses,
            losses,
        )  # fmt: skip
        self._updates += len(order)
        return losses

    def _evaluate(self, x: np.ndarray, y: np.ndarray, outputs: bool = False) -> tuple[float, float, np.ndarray]:
        """Mean loss, accuracy and, if requested, outputs of the weights in the kernel's memory."""
        losses, correct = np.empty(len(x)), np.empty(len(x), bool)
        given = np.empty((len(x) if outputs else 0, self._layout.sizes[-1]), FLOAT)
        if not len(x):
            return np.nan, np.nan, given
        self._together(
            forward.evaluate, self._evaluated.layers, EVALUATED, x, y, self._weights, self._own, self._softmax,
            losses, correct, given,
        )  # fmt: skip
        return float(FLOAT(losses.mean())), float(FLOAT(correct.mean())), given

    def _together(self, function: Any, *arguments: Any) -> None:
        """Calls a compiled function, which releases Python's lock, in all threads and waits for them."""
        function.compile(tuple(map(numba.typeof, (0, self._threads, *arguments))))  # raises errors here
        threads = [Thread(target=function, args=(i, self._threads, *arguments)) for i in range(1, self._threads)]
        try:
            for thread in threads:
                thread.start()
            function(0, self._threads, *arguments)
        except BaseException:  # e.g. from a signal handler: threads at a barrier must not wait forever
            self._barrier[GENERATION] = ABORTED
            raise
        finally:
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _examples(self, x: np.ndarray, y: np.ndarray) -> Arrays:
        examples = np.ascontiguousarray(np.reshape(x, (len(x), self._layout.sizes[0])), FLOAT)
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


def _put_ones(
    activations: np.ndarray, table: np.ndarray, sizes: Sequence[int], examples: int, rows: int, batches: int
) -> None:
    """Writes ones, which biases are multiplied by, next to the inputs of each layer for `examples` examples."""
    for i, layer in enumerate(table):
        for batch in range(1 if i else batches):
            start = layer[BELOW] + batch * rows * layer[BELOW_ROW] + sizes[i]
            activations[start : start + examples * layer[BELOW_ROW] : layer[BELOW_ROW]] = 1
