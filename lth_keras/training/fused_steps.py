"""Training steps and evaluations of a chain of dense layers, as several threads make them together.

A thread takes its share of every product's tiles, so that most of the weights that it reads it has written itself. It
waits for the others where one product needs what another made: twice per layer and step.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from lth_keras.training import fused_layout
from lth_keras.training.fused_kernels import (
    COMPILED,
    TINY_ARE_ZERO,
    VECTORS,
    make_update,
    multiply,
    rounding,
    set_rounding,
    transpose,
    wait,
)
from lth_keras.training.fused_layout import (
    ABOVE,
    ABOVE_ROW,
    BELOW,
    BELOW_ROW,
    HEIGHT,
    INPUTS,
    LANES,
    RELU,
    ROWS,
    TURNED,
    UNITS,
    WEIGHTS,
)

_ZERO = np.float32(0)


_blocks, _block = njit(**COMPILED)(fused_layout.blocks), njit(**COMPILED)(fused_layout.block)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _share(whole: int, thread: int, threads: int) -> tuple[int, int]:
    return whole * thread // threads, whole * (thread + 1) // threads


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _edge(rows: int, columns: int, part: int, parts: int) -> int:
    """The tile at which a part begins, counted block by block, where all parts have as many vectors."""
    left = (columns + LANES - 1) // LANES * rows * part // parts
    for i in range(_blocks(columns, VECTORS)):
        _, vectors = _block(columns, VECTORS, i)
        if left < rows * vectors:
            return i * rows + left // vectors
        left -= rows * vectors
    return _blocks(columns, VECTORS) * rows


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _tiles(rows: int, columns: int, thread: int, threads: int) -> tuple[int, int]:
    """A thread's share of tiles, counted block by block."""
    return _edge(rows, columns, thread, threads), _edge(rows, columns, thread + 1, threads)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _part(position: int, stop: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """What comes next in a share, of one block: its first tile, how many tiles, its first vector, how many vectors."""
    tile = position % rows
    vector, vectors = _block(columns, VECTORS, position // rows)
    return tile, min(rows - tile, stop - position), vector, vectors


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _weights_at(layer: Any, vector: int) -> int:
    """Where the weights of the block begin that begins with this vector."""
    return layer[WEIGHTS] + vector * LANES * layer[HEIGHT]


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _gather(x: Any, examples: Any, activations: Any, at: int, row: int, thread: int, threads: int) -> None:
    """Copies a thread's share of the examples to the rows of a batch."""
    start, stop = _share(len(examples), thread, threads)
    for i in range(start, stop):
        place, example = at + i * row, examples[i]
        for column in range(x.shape[1]):
            activations[place + column] = x[example, column]


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _activate(
    layer: Any, activations: Any, at: int, tile: int, tiles: int, vector: int, vectors: int, batch: int
) -> None:
    """ReLU, where a layer has it, and the one beside the units, by which the next layer's bias is multiplied."""
    start, stop, units = vector * LANES, (vector + vectors) * LANES, layer[UNITS]
    for i in range(tile * ROWS, (tile + tiles) * ROWS):
        place = at + i * layer[ABOVE_ROW]
        if layer[RELU]:
            for column in range(start, stop):
                value = activations[place + column]
                activations[place + column] = _ZERO if value <= 0 else value  # NaN stays
        if start <= units < stop:
            activations[place + units] = 1 if i < batch else 0


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _forward(
    layer: Any, weights: Any, activations: Any, below: int, rows: int, batch: int, thread: int, threads: int
) -> None:
    """A thread's share of a hidden layer's activations; `rows` are tiles, `batch` examples."""
    position, stop = _tiles(rows, layer[UNITS], thread, threads)
    while position < stop:
        tile, tiles, vector, vectors = _part(position, stop, rows, layer[UNITS])
        place, source = layer[ABOVE] + tile * ROWS * layer[ABOVE_ROW], below + tile * ROWS * layer[BELOW_ROW]
        multiply(
            activations, place + vector * LANES, layer[ABOVE_ROW], activations, source, layer[BELOW_ROW],
            weights, _weights_at(layer, vector), vectors * LANES, layer[INPUTS] + 1, tiles, vectors,
        )  # fmt: skip
        _activate(layer, activations, layer[ABOVE], tile, tiles, vector, vectors, batch)
        position += tiles


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _rows_forward(
    layer: Any, weights: Any, activations: Any, below: int, above: int, tile: int, tiles: int, batch: int
) -> None:
    """All of a layer's units for some tiles of rows."""
    for block in range(_blocks(layer[UNITS], VECTORS)):
        vector, vectors = _block(layer[UNITS], VECTORS, block)
        multiply(
            activations, above + tile * ROWS * layer[ABOVE_ROW] + vector * LANES, layer[ABOVE_ROW],
            activations, below + tile * ROWS * layer[BELOW_ROW], layer[BELOW_ROW],
            weights, _weights_at(layer, vector), vectors * LANES, layer[INPUTS] + 1, tiles, vectors,
        )  # fmt: skip
        _activate(layer, activations, above, tile, tiles, vector, vectors, batch)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _cross_entropy(logits: Any, at: int, classes: int, label: int) -> tuple[float, float, float]:
    """The loss of an example, float64; and the greatest logit and the sum of exponentials, of which softmax is made."""
    most = logits[at]
    for c in range(1, classes):
        if logits[at + c] > most:
            most = logits[at + c]
    total = 0.0
    for c in range(classes):
        total += math.exp(float(logits[at + c]) - float(most))
    return math.log(total) - (float(logits[at + label]) - float(most)), float(most), total


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _output(
    layer: Any, weights: Any, activations: Any, below: int, gradients: Any, y: Any, examples: Any, losses: Any,
    rows: int, thread: int, threads: int,
) -> None:  # fmt: skip
    """A thread's share of the examples: logits, losses, and the gradient of the mean loss by the logits."""
    start, stop = _share(rows, thread, threads)
    if start == stop:
        return
    batch, classes = len(examples), layer[UNITS]
    _rows_forward(layer, weights, activations, below, layer[ABOVE], start, stop - start, batch)
    for i in range(start * ROWS, min(stop * ROWS, batch)):
        at, label = layer[ABOVE] + i * layer[ABOVE_ROW], y[examples[i]]
        losses[i], most, total = _cross_entropy(activations, at, classes, label)
        for c in range(classes):
            share = math.exp(float(activations[at + c]) - most) / total
            gradients[at + c] = (share - (c == label)) / batch


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _turn(layer: Any, weights: Any, turned: Any, thread: int, threads: int) -> None:
    """A thread's share of a layer's transposed weights."""
    start, stop = _share((layer[INPUTS] + LANES - 1) // LANES, thread, threads)
    for block in range(_blocks(layer[UNITS], VECTORS)):
        first, vectors = _block(layer[UNITS], VECTORS, block)
        row = vectors * LANES
        for i in range(start * LANES, stop * LANES, LANES):
            source = _weights_at(layer, first) + i * row
            for vector in range(vectors):
                place = layer[TURNED] + (first + vector) * LANES * layer[BELOW_ROW] + i
                transpose(turned, place, layer[BELOW_ROW], weights, source + vector * LANES, row)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def _backward(
    layer: Any, relu: bool, turned: Any, activations: Any, gradients: Any, rows: int, thread: int, threads: int
) -> None:
    """A thread's share of the gradient with respect to what the layer below gave before its ReLU."""
    inputs, row = layer[INPUTS], layer[BELOW_ROW]
    position, stop = _tiles(rows, inputs, thread, threads)
    while position < stop:
        tile, tiles, vector, vectors = _part(position, stop, rows, inputs)
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
    """The function that makes training steps with one of `fused_vectors.RULES`."""
    update = make_update(rule)

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def train(
        thread: int, threads: int, barrier: Any, layers: Any, x: Any, y: Any, order: Any, weights: Any, first: Any,
        second: Any, kept: Any, activations: Any, gradients: Any, turned: Any, numbers: Any, example_losses: Any,
        losses: Any,
    ) -> None:  # fmt: skip
        """What one of the threads does for the steps of `order`.

        Args:
            thread: which, from 0.
            threads: how many call this with the same arguments.
            barrier: zeros, see `fused_kernels.wait`.
            layers: their table, from the input on.
            x: examples, float32 `(n, inputs)`.
            y: labels, int32 `(n,)`.
            order: the examples of each step, int32 `(steps, batch)`.
            weights: of all layers, the bias as a row behind the kernel's.
            first: the optimiser's first number of each weight.
            second: its second.
            kept: a bit for each weight, 0 where it is pruned; uint16 for each vector.
            activations: zeros but for the ones beside each layer's inputs. Two batches of the first layer's inputs,
                one behind the other, as the next is fetched while this one is in use.
            gradients: with respect to them; zeros.
            turned: for transposed weights.
            numbers: of each step, for the rule, float32 `(steps, NUMBERS)`.
            example_losses: for the losses of a batch, float64.
            losses: gets the mean loss of every step, float64.
        """
        batch, depth = order.shape[1], len(layers) - 1
        rows = (batch + ROWS - 1) // ROWS
        row = layers[0, BELOW_ROW]
        # Lines of the next examples for each tile of the first layer's update, which most have been fetched after.
        first_tiles = (layers[0, INPUTS] + ROWS) // ROWS * _blocks(layers[0, UNITS], VECTORS)
        fetched = batch * (x.shape[1] // LANES + 1) // first_tiles + 1
        as_it_was = rounding()
        set_rounding(as_it_was | TINY_ARE_ZERO)
        _gather(x, order[0], activations, layers[0, BELOW], row, thread, threads)
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
            start, stop = _share(batch, thread, threads)
            ahead = order[min(step + 1, len(order) - 1), start:stop]
            lines, line = fetched, 0
            for i in range(depth + 1):
                layer, source = layers[i], layers[i, BELOW] if i else below
                down, gradient = (layer[INPUTS] + ROWS) // ROWS, layer[ABOVE]  # the bias too
                position, stop = _tiles(down, layer[UNITS], thread, threads)
                while position < stop:
                    tile, tiles, vector, vectors = _part(position, stop, down, layer[UNITS])
                    at, across = _weights_at(layer, vector), vectors * LANES
                    update(
                        weights, first, second, kept, at + tile * ROWS * across, across, activations,
                        source + tile * ROWS, layer[BELOW_ROW], gradients, gradient + vector * LANES, layer[ABOVE_ROW],
                        batch, tiles, vectors, numbers[step], x, ahead, line, lines,
                    )  # fmt: skip
                    position += tiles
                    line += tiles * lines
            if step + 1 < len(order):
                other = layers[0, BELOW] + (step + 1) % 2 * rows * ROWS * row
                _gather(x, order[step + 1], activations, other, row, thread, threads)
            wait(barrier, threads)
        set_rounding(as_it_was)

    return train


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def evaluate(
    thread: int, threads: int, layers: Any, tiles: int, x: Any, y: Any, weights: Any, activations: Any, softmax: bool,
    losses: Any, correct: Any, outputs: Any,
) -> None:  # fmt: skip
    """A thread's share of an evaluation.

    Args:
        thread: which, from 0.
        threads: how many.
        layers: the table of layers, with places in `activations[thread]`.
        tiles: the rows that are evaluated at a time, in tiles.
        x: examples, float32 `(n, inputs)`.
        y: labels, int32 `(n,)`.
        weights: as in training.
        activations: `(threads, numbers)`; zeros but for the ones beside the first layer's inputs.
        softmax: whether outputs are probabilities instead of logits.
        losses: gets the loss of each example, float64 `(n,)`.
        correct: gets whether the first of its highest outputs is its label, bool `(n,)`.
        outputs: gets the outputs, float32 `(n, classes)`; without rows they are not asked for.
    """
    size, own = tiles * ROWS, activations[thread]
    start, stop = _share((len(x) + size - 1) // size, thread, threads)
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
            _rows_forward(layer, weights, own, layer[BELOW], layer[ABOVE], 0, (end - begin + ROWS - 1) // ROWS, size)
        for i in range(begin, end):
            at = last[ABOVE] + (i - begin) * last[ABOVE_ROW]
            losses[i], most, total = _cross_entropy(own, at, classes, y[i])
            best = 0
            for c in range(1, classes):
                if own[at + c] > own[at + best]:
                    best = c
            correct[i] = best == y[i]
            if len(outputs):
                for c in range(classes):
                    value = own[at + c]
                    outputs[i, c] = math.exp(float(value) - most) / total if softmax else value
    set_rounding(as_it_was)
