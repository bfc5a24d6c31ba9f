"""Training steps and evaluations of a pruned chain of dense layers with its kept weights alone, in several threads.

Threads share blocks of columns, rows, and examples; see `SparseLayout`. A unit's activations for up to
`MOST_VECTORS * LANES` examples, a part of a batch, are contiguous.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from lth_keras.training.engines.native.barriers import COMPILED, TINY_ARE_ZERO, rounding, set_rounding, wait
from lth_keras.training.engines.native.forward import cross_entropy, share_of
from lth_keras.training.engines.native.layout import LANES
from lth_keras.training.engines.native.sparse_kernels import FOLDED, make_products, make_sparse_update
from lth_keras.training.engines.native.sparse_layout import (
    AFTER_BLOCKS,
    AFTER_COLUMNS,
    AFTER_ROWS,
    AFTER_WEIGHTS,
    BEGIN,
    END,
    FIRST_BLOCK,
    FIRST_COLUMN,
    FIRST_ROW,
    FIRST_WEIGHT,
    UNIT,
    WITH_RELU,
)

FIRST_INPUT = 1
"""The unit of the first input."""


class Passes(NamedTuple):
    """Compiled functions for one number of vectors of examples.

    Attributes:
        inputs: reads a thread's share of a part's inputs.
        layer: a thread's share of a layer's activations.
    """

    inputs: Any
    layer: Any


@cache
def make_passes(vectors: int) -> Passes:
    """The forward pass for parts of this number of vectors of examples."""
    gather, forward, width = make_products(vectors).gather, make_products(vectors).forward, vectors * LANES

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def inputs(
        values: Any, at: int, x: Any, groups: Any, order: Any, first: int, thread: int, threads: int
    ) -> None:  # fmt: skip
        start, stop = share_of(len(groups), thread, threads)
        for i in range(start, stop):
            gather(values, at + (FIRST_INPUT + groups[i]) * width, x, x.shape[1], groups[i], order, first)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def layer(of: Any, tables: Any, values: Any, at: int, weights: Any, thread: int, threads: int) -> None:
        blocks, columns, relu = tables.blocks, tables.columns, of[WITH_RELU] == 1
        start, stop = share_of(of[AFTER_BLOCKS] - of[FIRST_BLOCK], thread, threads)
        for block in range(of[FIRST_BLOCK] + start, of[FIRST_BLOCK] + stop):
            for i in range(blocks[block, FIRST_COLUMN], blocks[block, AFTER_COLUMNS]):
                forward(values, at, weights, tables.sources, columns[i, UNIT], columns[i, BEGIN], columns[i, END], relu)

    return Passes(inputs, layer)


@cache
def make_sparse_train(rule: str, vectors: int) -> Any:
    """The function that makes training steps with a rule of `vectors.RULES`, on parts of `vectors` of examples."""
    passes, products, update, width = (
        make_passes(vectors),
        make_products(vectors),
        make_sparse_update(rule),
        vectors * LANES,
    )
    read_inputs, forward, backward, fold = passes.inputs, passes.layer, products.backward, products.fold

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def output(
        values: Any, gradients: Any, first: int, classes: int, length: int, y: Any, order: Any, batch: int,
        losses: Any, thread: int, threads: int,
    ) -> None:  # fmt: skip
        """A thread's share of the examples: losses, and the gradient of the mean loss by the logits."""
        start, stop = share_of(batch, thread, threads)
        for i in range(start, stop):
            at, label = i // width * length + first * width + i % width, y[order[i]]
            losses[i], most, total = cross_entropy(values, at, width, classes, label)
            for c in range(classes):
                share = math.exp(np.float64(values[at + c * width]) - most) / total
                gradients[at + c * width] = (share - (c == label)) / batch

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def learn(
        block: Any, tables: Any, values: Any, gradients: Any, length: int, weights: Any, first: Any,
        second: Any, folded: Any, numbers: Any,
    ) -> None:  # fmt: skip
        """Updates the weights of a block."""
        columns = tables.columns
        begin, after = block[FIRST_WEIGHT], block[AFTER_WEIGHTS]
        for at in range(0, len(values), length):
            for i in range(block[FIRST_COLUMN], block[AFTER_COLUMNS]):
                start, stop = columns[i, BEGIN], columns[i, END]
                fold(
                    values, gradients, at, tables.sources, columns[i, UNIT], start, stop, folded,
                    (start - begin) * FOLDED, at == 0,
                )  # fmt: skip
        last = columns[block[AFTER_COLUMNS] - 1, END] - begin
        for i in range(last * FOLDED, (after - begin) * FOLDED):
            folded[i] = 0
        n0, n1, n2, n3 = numbers[0], numbers[1], numbers[2], numbers[3]
        for place in range(begin, after, LANES):
            update(weights, first, second, place, folded, (place - begin) * FOLDED, n0, n1, n2, n3)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def train(
        thread: int, threads: int, barrier: Any, tables: Any, x: Any, y: Any, order: Any, batch: int,
        first_output: int, classes: int, weights: Any, first: Any, second: Any, values: Any, gradients: Any,
        folded: Any, numbers: Any, example_losses: Any, losses: Any,
    ) -> None:  # fmt: skip
        """Makes one thread's part of the steps of `order`.

        Args:
            thread: index of the thread.
            threads: number of threads, which call this with the same arguments.
            barrier: zeros, see `barriers.wait`.
            tables: the `Tables` of a layout.
            x: examples, float32 `(n, inputs)`.
            y: labels, int32 `(n,)`.
            order: the examples of each step, int32 `(steps, parts * width)`; repeated ones after the first `batch`.
            batch: number of examples of a step.
            first_output: the unit of the first output.
            classes: number of outputs.
            weights: the kept weights.
            first: the optimiser's first slot.
            second: the optimiser's second slot.
            values: activations, `parts * units * width`; zeros, and ones for the unit that is one.
            gradients: zeros; receives the gradients with respect to activations before ReLU.
            folded: room for the gradients of a block, `(threads, numbers)`.
            numbers: the rule's numbers of each step, float32 `(steps, NUMBERS)`.
            example_losses: receives the losses of a batch, float64.
            losses: receives the mean loss of every step, float64.
        """
        layers, blocks, rows = tables.layers, tables.blocks, tables.rows
        length, depth = len(values) * width // order.shape[1], len(layers)
        as_it_was = rounding()
        set_rounding(as_it_was | TINY_ARE_ZERO)
        steps = len(order) if wait(barrier, threads) else 0
        for step in range(steps):
            for at in range(0, len(values), length):
                read_inputs(values, at, x, tables.groups, order[step], at // length * width, thread, threads)
            wait(barrier, threads)
            for i in range(depth):
                for at in range(0, len(values), length):
                    forward(layers[i], tables, values, at, weights, thread, threads)
                wait(barrier, threads)
            output(
                values, gradients, first_output, classes, length, y, order[step], batch, example_losses, thread, threads
            )
            wait(barrier, threads)
            if thread == 0:
                total = 0.0
                for i in range(batch):
                    total += example_losses[i]
                losses[step] = total / batch
            for i in range(depth - 1, 0, -1):
                relu = layers[i - 1, WITH_RELU] == 1
                start, stop = share_of(layers[i, AFTER_ROWS] - layers[i, FIRST_ROW], thread, threads)
                for j in range(layers[i, FIRST_ROW] + start, layers[i, FIRST_ROW] + stop):
                    for at in range(0, len(values), length):
                        backward(
                            values, gradients, at, weights, tables.to, tables.places, rows[j, UNIT], rows[j, BEGIN],
                            rows[j, END], relu,
                        )  # fmt: skip
                wait(barrier, threads)
            for i in range(depth):
                start, stop = share_of(layers[i, AFTER_BLOCKS] - layers[i, FIRST_BLOCK], thread, threads)
                for j in range(layers[i, FIRST_BLOCK] + start, layers[i, FIRST_BLOCK] + stop):
                    learn(
                        blocks[j], tables, values, gradients, length, weights, first, second, folded[thread],
                        numbers[step],
                    )  # fmt: skip
            wait(barrier, threads)
        set_rounding(as_it_was)

    return train


@cache
def make_sparse_evaluate(vectors: int) -> Any:
    """The function that evaluates parts of `vectors` of examples."""
    passes, width = make_passes(vectors), vectors * LANES
    read_inputs, forward = passes.inputs, passes.layer

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def evaluate(
        thread: int, threads: int, barrier: Any, tables: Any, x: Any, y: Any, order: Any, first_output: int,
        classes: int, weights: Any, values: Any, softmax: bool, losses: Any, correct: Any, outputs: Any,
    ) -> None:  # fmt: skip
        """A thread's share of an evaluation.

        Args:
            thread: index of the thread.
            threads: number of threads.
            barrier: not used, since threads do not wait for each other.
            tables: the `Tables` of a layout.
            x: examples, float32 `(n, inputs)`.
            y: labels, int32 `(n,)`.
            order: the numbers of the examples, int32, with repeated ones up to a multiple of the width.
            first_output: the unit of the first output.
            classes: number of outputs.
            weights: the kept weights.
            values: `(threads, units * width)`; zeros, and ones for the unit that is one.
            softmax: whether outputs are probabilities instead of logits.
            losses: receives the loss of each example, float64 `(n,)`.
            correct: receives whether the first of the highest outputs is the label, bool `(n,)`.
            outputs: receives the outputs, float32 `(n, classes)`; has no rows if they are not needed.
        """
        own = values[thread]
        start, stop = share_of(len(order) // width, thread, threads)
        as_it_was = rounding()
        set_rounding(as_it_was | TINY_ARE_ZERO)
        for part in range(start, stop):
            read_inputs(own, 0, x, tables.groups, order, part * width, 0, 1)
            for i in range(len(tables.layers)):
                forward(tables.layers[i], tables, own, 0, weights, 0, 1)
            for example in range(part * width, min((part + 1) * width, len(x))):
                at = first_output * width + example % width
                losses[example], most, total = cross_entropy(own, at, width, classes, y[example])
                best = 0
                for c in range(1, classes):
                    if own[at + c * width] > own[at + best * width]:
                        best = c
                correct[example] = best == y[example]
                if len(outputs):
                    for c in range(classes):
                        value = own[at + c * width]
                        outputs[example, c] = math.exp(np.float64(value) - most) / total if softmax else value
        set_rounding(as_it_was)

    return evaluate
