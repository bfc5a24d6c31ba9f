"""Forward passes and evaluations of the native kernel.

Tiles of a product are counted block by block, so that a thread's tiles lie in as few blocks as possible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from lth_keras.training.engines.native import layout
from lth_keras.training.engines.native.barriers import COMPILED, TINY_ARE_ZERO, rounding, set_rounding
from lth_keras.training.engines.native.kernels import VECTORS, multiply
from lth_keras.training.engines.native.layout import (
    ABOVE,
    ABOVE_ROW,
    BELOW,
    BELOW_ROW,
    HEIGHT,
    INPUTS,
    LANES,
    RELU,
    ROWS,
    UNITS,
    WEIGHTS,
)

_ZERO = np.float32(0)


block_count, block_at = njit(**COMPILED)(layout.blocks), njit(**COMPILED)(layout.block)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def share_of(whole: int, thread: int, threads: int) -> tuple[int, int]:
    """A thread's share of `whole` items: the first index and the index after the last."""
    return whole * thread // threads, whole * (thread + 1) // threads


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _edge(rows: int, columns: int, part: int, parts: int) -> int:
    """The first tile of a part, counted block by block, where all parts have equal numbers of vectors."""
    left = (columns + LANES - 1) // LANES * rows * part // parts
    for i in range(block_count(columns, VECTORS)):
        _, vectors = block_at(columns, VECTORS, i)
        if left < rows * vectors:
            return i * rows + left // vectors
        left -= rows * vectors
    return block_count(columns, VECTORS) * rows


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def tiles_of(rows: int, columns: int, thread: int, threads: int) -> tuple[int, int]:
    """A thread's share of tiles, counted block by block."""
    return _edge(rows, columns, thread, threads), _edge(rows, columns, thread + 1, threads)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def next_part(position: int, stop: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """The next part of a share within one block: first tile, number of tiles, first vector, number of vectors."""
    tile = position % rows
    vector, vectors = block_at(columns, VECTORS, position // rows)
    return tile, min(rows - tile, stop - position), vector, vectors


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def weights_at(layer: Any, vector: int) -> int:
    """The index of the first weight of the block that begins with this vector."""
    return layer[WEIGHTS] + vector * LANES * layer[HEIGHT]


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def gather(x: Any, examples: Any, activations: Any, at: int, row: int, thread: int, threads: int) -> None:
    """Copies a thread's share of the examples to the rows of a batch."""
    start, stop = share_of(len(examples), thread, threads)
    for i in range(start, stop):
        place, example = at + i * row, examples[i]
        for column in range(x.shape[1]):
            activations[place + column] = x[example, column]


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _activate(layer: Any, activations: Any, tile: int, tiles: int, vector: int, vectors: int, batch: int) -> None:
    """Applies a layer's ReLU, if any, and writes the one that the next layer's bias is multiplied by."""
    start, stop, units = vector * LANES, (vector + vectors) * LANES, layer[UNITS]
    for i in range(tile * ROWS, (tile + tiles) * ROWS):
        place = layer[ABOVE] + i * layer[ABOVE_ROW]
        if layer[RELU]:
            for column in range(start, stop):
                value = activations[place + column]
                activations[place + column] = _ZERO if value <= 0 else value  # keeps NaN
        if start <= units < stop:
            activations[place + units] = 1 if i < batch else 0


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def block_forward(
    layer: Any, weights: Any, activations: Any, below: int, tile: int, tiles: int, vector: int, vectors: int, batch: int
) -> None:
    """A layer's activations in a block of its units for some tiles of rows; `below` is the index of its inputs."""
    multiply(
        activations, layer[ABOVE] + tile * ROWS * layer[ABOVE_ROW] + vector * LANES, layer[ABOVE_ROW],
        activations, below + tile * ROWS * layer[BELOW_ROW], layer[BELOW_ROW],
        weights, weights_at(layer, vector), vectors * LANES, layer[INPUTS] + 1, tiles, vectors,
    )  # fmt: skip
    _activate(layer, activations, tile, tiles, vector, vectors, batch)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def rows_forward(layer: Any, weights: Any, activations: Any, below: int, tile: int, tiles: int, batch: int) -> None:
    """A layer's activations in all units for some tiles of rows."""
    for block in range(block_count(layer[UNITS], VECTORS)):
        vector, vectors = block_at(layer[UNITS], VECTORS, block)
        block_forward(layer, weights, activations, below, tile, tiles, vector, vectors, batch)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def cross_entropy(logits: Any, at: int, distance: int, classes: int, label: int) -> tuple[float, float, float]:
    """The loss of an example, float64; and the greatest logit and the sum of exponentials, for the softmax.

    Its logits are at this distance from each other.
    """
    most = logits[at]
    for c in range(1, classes):
        if logits[at + c * distance] > most:
            most = logits[at + c * distance]
    total = 0.0
    for c in range(classes):
        total += math.exp(np.float64(logits[at + c * distance]) - np.float64(most))
    return math.log(total) - (np.float64(logits[at + label * distance]) - np.float64(most)), np.float64(most), total


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def evaluate(
    thread: int, threads: int, barrier: Any, layers: Any, tiles: int, x: Any, y: Any, weights: Any, activations: Any,
    softmax: bool, losses: Any, correct: Any, outputs: Any,
) -> None:  # fmt: skip
    """A thread's share of an evaluation.

    Args:
        thread: index of the thread.
        threads: number of threads.
        barrier: not used, since threads do not wait for each other.
        layers: the table of layers, with indices in `activations[thread]`.
        tiles: number of tiles of rows that are evaluated at a time.
        x: examples, float32 `(n, inputs)`.
        y: labels, int32 `(n,)`.
        weights: the weights, as in training.
        activations: `(threads, numbers)`; zeros, except for the ones next to the first layer's inputs.
        softmax: whether outputs are probabilities instead of logits.
        losses: receives the loss of each example, float64 `(n,)`.
        correct: receives whether the first of the highest outputs is the label, bool `(n,)`.
        outputs: receives the outputs, float32 `(n, classes)`; has no rows if they are not needed.
    """
    size, own = tiles * ROWS, activations[thread]
    start, stop = share_of((len(x) + size - 1) // size, thread, threads)
    last = layers[len(layers) - 1]
    classes = last[UNITS]
    as_it_was = rounding()
    set_rounding(as_it_was | TINY_ARE_ZERO)
    for part in range(start, stop):
        begin, end = part * size, min((part + 1) * size, len(x))
        for i in range(begin, end):
            place = layers[0, BELOW] + (i - begin) * layers[0, BELOW_ROW]
            for column in range(x.shape[1]):
                own[place + column] = x[i, column]
        for j in range(len(layers)):
            layer = layers[j]
            rows_forward(layer, weights, own, layer[BELOW], 0, (end - begin + ROWS - 1) // ROWS, size)
        for i in range(begin, end):
            at = last[ABOVE] + (i - begin) * last[ABOVE_ROW]
            losses[i], most, total = cross_entropy(own, at, 1, classes, y[i])
            best = 0
            for c in range(1, classes):
                if own[at + c] > own[at + best]:
                    best = c
            correct[i] = best == y[i]
            if len(outputs):
                for c in range(classes):
                    value = own[at + c]
                    outputs[i, c] = math.exp(np.float64(value) - most) / total if softmax else value
    set_rounding(as_it_was)
