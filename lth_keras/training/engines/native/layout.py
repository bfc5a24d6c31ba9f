"""The memory layout of a chain of dense layers for the native kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends import assign

LANES, ROWS = 16, 6
"""Numbers in a vector of columns, and rows in a tile."""
INPUTS, UNITS, RELU, WEIGHTS, HEIGHT, BELOW, BELOW_ROW, ABOVE, ABOVE_ROW, TURNED, FIELDS = range(11)
"""Columns of the table of layers, int64 `(layers, FIELDS)`: a layer's sizes and whether it has ReLU; the index of its
weights and the number of their rows with padding; the indices of its inputs and outputs in the activations and the
distances between their rows (their gradients have the same indices); and the index of the transposed weights, whose
rows have the length of input rows."""
_CACHE_LINE = 64


class ChainPart(NamedTuple):
    """A dense layer of a chain.

    Attributes:
        kernel: Keras variable, `(inputs, units)`.
        mask: Keras variable, boolean of that shape.
        bias: Keras variable, `(units,)`, or None.
        relu: whether it has ReLU, or no activation.
    """

    kernel: Any
    mask: Any
    bias: Any | None
    relu: bool


class Table(NamedTuple):
    """The layout for batches of one size.

    Attributes:
        layers: int64 `(layers, FIELDS)`.
        activations: number of activations of all layers.
        turned: number of transposed weights.
    """

    layers: np.ndarray
    activations: int
    turned: int


class Layout:
    """The layout of weights: each kernel followed by its bias as a row, padded with zeros.

    Columns are cut into blocks, whose rows are contiguous, so that a tile reads contiguous memory, which the processor
    prefetches.

    Args:
        layers: layers of the chain.
        most: the most vectors of a block.
    """

    def __init__(self, layers: Sequence[ChainPart], most: int) -> None:
        self._layers, self._most = list(layers), most
        self.sizes = [layers[0].kernel.shape[0], *(layer.kernel.shape[1] for layer in layers)]
        self._heights = [max(_up(inputs + 1, ROWS), _up(inputs, LANES)) for inputs in self.sizes[:-1]]
        numbers = [height * _up(units, LANES) for height, units in zip(self._heights, self.sizes[1:], strict=True)]
        *self._starts, self.weights = np.cumsum([0, *numbers]).tolist()

    def table(self, rows: int, batches: int = 1) -> Table:
        """The table for batches of `rows` rows, whole tiles, and for `batches` batches of the first layer's inputs."""
        across = [_odd_vectors(max(_up(size, LANES), _up(size + 1, ROWS))) for size in self.sizes]
        begins = np.cumsum([0, batches * rows * across[0], *(rows * row for row in across[1:])])
        layers, turned = np.zeros((len(self._layers), FIELDS), np.int64), 0
        for i, layer in enumerate(self._layers):
            weights = (self._starts[i], self._heights[i])
            below, above = (begins[i], across[i]), (begins[i + 1], across[i + 1])
            layers[i] = (*self.sizes[i : i + 2], layer.relu, *weights, *below, *above, turned)
            turned += _up(self.sizes[i + 1], LANES) * across[i] if i else 0  # the inputs' gradient is not needed
        return Table(layers, int(begins[-1]), turned)

    def read(self, weights: np.ndarray) -> None:
        """Copies the values of the Keras variables into `weights`, with zeros for pruned ones."""
        for i, layer in enumerate(self._layers):
            kernel = numpy_of(layer.kernel) * numpy_of(layer.mask)
            bias = np.zeros(self.sizes[i + 1]) if layer.bias is None else numpy_of(layer.bias)
            for block, columns in self._blocks(weights, i):
                block[:-1], block[-1] = kernel[:, columns], bias[columns]

    def kept(self) -> np.ndarray:
        """A bit for each weight, 0 for pruned weights, missing biases and padding; uint16 for each vector."""
        bits = np.zeros(self.weights, bool)
        for i, layer in enumerate(self._layers):
            mask = numpy_of(layer.mask)
            for block, columns in self._blocks(bits, i):
                block[:-1], block[-1] = mask[:, columns], layer.bias is not None
        return np.packbits(bits, bitorder="little").view("<u2")

    def values(self, weights: np.ndarray) -> dict[int, np.ndarray]:
        """Copies of the values in `weights` by the `id` of the Keras variable."""
        found: dict[int, np.ndarray] = {}
        for i, layer in enumerate(self._layers):
            whole = np.empty((self.sizes[i] + 1, self.sizes[i + 1]), weights.dtype)
            for block, columns in self._blocks(weights, i):
                whole[:, columns] = block
            found[id(layer.kernel)] = whole[:-1]
            if layer.bias is not None:
                found[id(layer.bias)] = whole[-1].copy()
        return found

    def write(self, weights: np.ndarray) -> None:
        """Assigns the values in `weights` to the Keras variables."""
        set_variables(self._layers, self.values(weights))

    def _blocks(self, numbers: np.ndarray, i: int) -> Iterator[tuple[np.ndarray, slice]]:
        """Views of a layer's blocks without padding, `(inputs + 1, columns)`, each with its columns."""
        units, height = self.sizes[i + 1], self._heights[i]
        for j in range(blocks(units, self._most)):
            first, width = (LANES * vectors for vectors in block(units, self._most, j))
            start = self._starts[i] + first * height
            rows = numbers[start : start + height * width].reshape(height, width)
            yield rows[: self.sizes[i] + 1, : min(width, units - first)], slice(first, min(first + width, units))


def set_variables(layers: Sequence[ChainPart], values: Mapping[int, np.ndarray]) -> None:
    """Assigns values, by the `id` of the Keras variable, to the layers' variables."""
    for variable in (variable for layer in layers for variable in (layer.kernel, layer.bias)):
        if variable is not None:
            assign(variable, values[id(variable)])


def numpy_of(variable: Any) -> np.ndarray:
    """The value of a Keras variable."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def blocks(columns: int, most: int) -> int:
    """The number of blocks, of at most `most` vectors each, for this number of columns."""
    return (columns + LANES * most - 1) // (LANES * most)


def block(columns: int, most: int, i: int) -> tuple[int, int]:
    """The first vector of a block and its number of vectors."""
    vectors, count = (columns + LANES - 1) // LANES, (columns + LANES * most - 1) // (LANES * most)
    first = vectors * i // count
    return first, vectors * (i + 1) // count - first


def zeros(count: int) -> np.ndarray:
    """Float32 zeros aligned to a cache line, so that no vector spans two lines."""
    room = np.zeros(4 * count + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + 4 * count].view(np.float32)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _odd_vectors(columns: int) -> int:
    """The padded length of a row: an odd number of vectors, since rows at even distances collide in the cache."""
    return (_up(columns, LANES) // LANES | 1) * LANES
