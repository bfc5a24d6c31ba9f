"""Training steps of a chain of dense layers in several threads.

Each thread computes a fixed share of every product's tiles, so that it has written most of the weights that it reads.
Threads wait for each other between dependent products, twice per layer and step.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from lth_keras.training.engines.native.barriers import COMPILED, TINY_ARE_ZERO, rounding, set_rounding, wait
from lth_keras.training.engines.native.forward import (
    block_at,
    block_count,
    block_forward,
    cross_entropy,
    gather,
    next_part,
    rows_forward,
    share_of,
    tiles_of,
    weights_at,
)
from lth_keras.training.engines.native.kernels import VECTORS, make_update, multiply, transpose
from lth_keras.training.engines.native.layout import (
    ABOVE,
    ABOVE_ROW,
    BELOW,
    BELOW_ROW,
    INPUTS,
    LANES,
    RELU,
    ROWS,
    TURNED,
    UNITS,
)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _forward(
    layer: Any, weights: Any, activations: Any, below: int, rows: int, batch: int, thread: int, threads: int
) -> None:
    """A thread's share of a hidden layer's activations; `rows` are tiles, `batch` examples."""
    position, stop = tiles_of(rows, layer[UNITS], thread, threads)
    while position < stop:
        tile, tiles, vector, vectors = next_part(position, stop, rows, layer[UNITS])
        block_forward(layer, weights, activations, below, tile, tiles, vector, vectors, batch)
        position += tiles


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _output(
    layer: Any, weights: Any, activations: Any, below: int, gradients: Any, y: Any, examples: Any, losses: Any,
    rows: int, thread: int, threads: int,
) -> None:  # fmt: skip
    """A thread's share of the examples: logits, losses, and the gradient of the mean loss by the logits."""
    start, stop = share_of(rows, thread, threads)
    if start == stop:
        return
    batch, classes = len(examples), layer[UNITS]
    rows_forward(layer, weights, activations, below, start, stop - start, batch)
    for i in range(start * ROWS, min(stop * ROWS, batch)):
        at, label = layer[ABOVE] + i * layer[ABOVE_ROW], y[examples[i]]
        losses[i], most, total = cross_entropy(activations, at, 1, classes, label)
        for c in range(classes):
            share = math.exp(np.float64(activations[at + c]) - most) / total
            gradients[at + c] = (share - (c == label)) / batch


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _turn(layer: Any, weights: Any, turned: Any, thread: int, threads: int) -> None:
    """A thread's share of a layer's transposed weights."""
    start, stop = share_of((layer[INPUTS] + LANES - 1) // LANES, thread, threads)
    for block in range(block_count(layer[UNITS], VECTORS)):
        first, vectors = block_at(layer[UNITS], VECTORS, block)
        row = vectors * LANES
        for i in range(start * LANES, stop * LANES, LANES):
            source = weights_at(layer, first) + i * row
            for vector in range(vectors):
                place = layer[TURNED] + (first + vector) * LANES * layer[BELOW_ROW] + i
                transpose(turned, place, layer[BELOW_ROW], weights, source + vector * LANES, row)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _backward(
    layer: Any, relu: bool, turned: Any, activations: Any, gradients: Any, rows: int, thread: int, threads: int
) -> None:
    """A thread's share of the gradient with respect to the previous layer's outputs before ReLU."""
    inputs, row = layer[INPUTS], layer[BELOW_ROW]
    position, stop = tiles_of(rows, inputs, thread, threads)
    while position < stop:
        tile, tiles, vector, vectors = next_part(position, stop, rows, inputs)
        start, source = layer[BELOW] + tile * ROWS * row, layer[ABOVE] + tile * ROWS * layer[ABOVE_ROW]
        multiply(
            gradients, start + vector * LANES, row, gradients, source, layer[ABOVE_ROW],
            turned, layer[TURNED] + vector * LANES, row, layer[UNITS], tiles, vectors,
        )  # fmt: skip
        for i in range(tiles * ROWS):
            place = start + i * row
            for column in range(vector * LANES, (vector + vectors) * LANES):
                if column >= inputs or (relu and activations[place + column] <= 0):
                    gradients[place + column] = 0
        position += tiles


@cache
def make_train(rule: str) -> Any:
    """The function that makes training steps with a rule of `vectors.RULES`."""
    update = make_update(rule)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def train(
        thread: int, threads: int, barrier: Any, layers: Any, x: Any, y: Any, order: Any, weights: Any, first: Any,
        second: Any, kept: Any, activations: Any, gradients: Any, turned: Any, numbers: Any, example_losses: Any,
        losses: Any,
    ) -> None:  # fmt: skip
        """Makes one thread's part of the steps of `order`.

        Args:
            thread: index of the thread.
            threads: number of threads, which call this with the same arguments.
            barrier: zeros, see `barriers.wait`.
            layers: the table of layers in forward order.
            x: examples, float32 `(n, inputs)`.
            y: labels, int32 `(n,)`.
            order: the examples of each step, int32 `(steps, batch)`.
            weights: weights of all layers, each kernel followed by its bias as a row.
            first: the optimiser's first slot.
            second: the optimiser's second slot.
            kept: a bit for each weight, 0 if it is pruned; uint16 for each vector.
            activations: zeros, except for the ones next to each layer's inputs. Contains two batches of the first
                layer's inputs, since the next batch is read while the current one is in use.
            gradients: zeros; receives the gradients with respect to activations.
            turned: receives transposed weights.
            numbers: the rule's numbers of each step, float32 `(steps, NUMBERS)`.
            example_losses: receives the losses of a batch, float64.
            losses: receives the mean loss of every step, float64.
        """
        batch, depth = order.shape[1], len(layers) - 1
        rows = (batch + ROWS - 1) // ROWS
        row = layers[0, BELOW_ROW]
        # Cache lines of the next examples to prefetch with each tile of the first layer's update.
        first_tiles = (layers[0, INPUTS] + ROWS) // ROWS * block_count(layers[0, UNITS], VECTORS)
        lines = batch * (x.shape[1] // LANES + 1) // first_tiles + 1
        as_it_was = rounding()
        set_rounding(as_it_was | TINY_ARE_ZERO)
        gather(x, order[0], activations, layers[0, BELOW], row, thread, threads)
        steps = len(order) if wait(barrier, threads) else 0
        for step in range(steps):
            below = layers[0, BELOW] + step % 2 * rows * ROWS * row
            for i in range(depth):
                _forward(
                    layers[i], weights, activations, layers[i, BELOW] if i else below, rows, batch, thread, threads
                )
                wait(barrier, threads)
            last = layers[depth]
            source = last[BELOW] if depth else below
            _output(
                last, weights, activations, source, gradients, y, order[step], example_losses, rows, thread, threads
            )
            for i in range(1, depth + 1):
                _turn(layers[i], weights, turned, thread, threads)
            wait(barrier, threads)
            if thread == 0:
                total = 0.0
                for i in range(batch):
                    total += example_losses[i]
                losses[step] = total / batch
            for i in range(depth, 0, -1):
                relu = layers[i - 1, RELU] == 1
                _backward(layers[i], relu, turned, activations, gradients, rows, thread, threads)
                wait(barrier, threads)
            start, stop = share_of(batch, thread, threads)
            ahead = order[min(step + 1, len(order) - 1), start:stop]
            line = 0
            for i in range(depth + 1):
                layer, source = layers[i], layers[i, BELOW] if i else below
                down, gradient = (layer[INPUTS] + ROWS) // ROWS, layer[ABOVE]  # including the bias
                position, stop = tiles_of(down, layer[UNITS], thread, threads)
                while position < stop:
                    tile, tiles, vector, vectors = next_part(position, stop, down, layer[UNITS])
                    at, across = weights_at(layer, vector), vectors * LANES
                    update(
                        weights, first, second, kept, at + tile * ROWS * across, across, activations,
                        source + tile * ROWS, layer[BELOW_ROW], gradients, gradient + vector * LANES, layer[ABOVE_ROW],
                        batch, tiles, vectors, numbers[step], x, ahead, line, lines,
                    )  # fmt: skip
                    position += tiles
                    line += tiles * lines
            if step + 1 < len(order):
                other = layers[0, BELOW] + (step + 1) % 2 * rows * ROWS * row
                gather(x, order[step + 1], activations, other, row, thread, threads)
            wait(barrier, threads)
        set_rounding(as_it_was)

    return train
