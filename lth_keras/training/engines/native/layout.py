"""Where the numbers of a chain of dense layers stand in memory for the native kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

LANES, ROWS = 16, 6
"""Columns come in vectors of so many numbers, rows in tiles of so many."""
INPUTS, UNITS, RELU, WEIGHTS, HEIGHT, BELOW, BELOW_ROW, ABOVE, ABOVE_ROW, TURNED, FIELDS = range(11)
"""Columns of the table of layers, int64 `(layers, FIELDS)`: the sizes of a layer and whether it has ReLU; where its
weights begin, and how many rows there is room for; where the activations that come in and that go out begin, and how
far it is from row to row (their gradients have the same places); and where the transposed weights are, with rows as
those of the activations that come in."""
_CACHE_LINE = 64


class ChainPart(NamedTuple):
    """A dense layer of a chain.

    Attributes:
        kernel: Keras variable, `(inputs, units)`.
        mask: Keras variable, boolean of that shape.
        bias: Keras variable, `(units,)`, or None.
        relu: whether it has ReLU; otherwise no activation.
    """

    kernel: Any
    mask: Any
    bias: Any | None
    relu: bool


class Table(NamedTuple):
    """Places in memory for batches of one size.

    Attributes:
        layers: int64 `(layers, FIELDS)`.
        activations: how many numbers those of all layers are.
        turned: how many numbers transposed weights are.
    """

    layers: np.ndarray
    activations: int
    turned: int


class Layout:
    """Kernels with their bias as a row behind them, one after the other; rows and columns padded with zeros.

    Columns are cut into blocks, and each block's rows stand one behind the other: what a tile takes is in one piece, so
    that the processor fetches it ahead.

    Args:
        layers: of the chain.
        most: vectors of a block, at most.
    """

    def __init__(self, layers: Sequence[ChainPart], most: int) -> None:
        self._layers, self._most = list(layers), most
        self.sizes = [layers[0].kernel.shape[0], *(layer.kernel.shape[1] for layer in layers)]
        self._heights = [max(_up(inputs + 1, ROWS), _up(inputs, LANES)) for inputs in self.sizes[:-1]]
        numbers = [height * _up(units, LANES) for height, units in zip(self._heights, self.sizes[1:], strict=True)]
        *self._starts, self.weights = np.cumsum([0, *numbers]).tolist()

    def table(self, rows: int, batches: int = 1) -> Table:
        """Places for batches of `rows` rows, whole tiles, and for so many batches of the first layer's inputs."""
        across = [_odd_vectors(max(_up(size, LANES), _up(size + 1, ROWS))) for size in self.sizes]
        begins = np.cumsum([0, batches * rows * across[0], *(rows * row for row in across[1:])])
        layers, turned = np.zeros((len(self._layers), FIELDS), np.int64), 0
        for i, layer in enumerate(self._layers):
            weights = (self._starts[i], self._heights[i])
            below, above = (begins[i], across[i]), (begins[i + 1], across[i + 1])
            layers[i] = (*self.sizes[i : i + 2], layer.relu, *weights, *below, *above, turned)
            turned += _up(self.sizes[i + 1], LANES) * across[i] if i else 0  # the inputs' gradient is not asked for
        return Table(layers, int(begins[-1]), turned)

    def read(self, weights: np.ndarray) -> None:
        """Puts the values of the Keras variables in their places, with zeros for pruned weights."""
        for i, layer in enumerate(self._layers):
            kernel = keras.ops.convert_to_numpy(layer.kernel) * keras.ops.convert_to_numpy(layer.mask)
            bias = np.zeros(self.sizes[i + 1]) if layer.bias is None else keras.ops.convert_to_numpy(layer.bias)
            for block, columns in self._blocks(weights, i):
                block[:-1], block[-1] = kernel[:, columns], bias[columns]

    def kept(self) -> np.ndarray:
        """A bit for each place, 0 for a pruned weight, a missing bias and padding: uint16 for each vector."""
        bits = np.zeros(self.weights, bool)
        for i, layer in enumerate(self._layers):
            mask = keras.ops.convert_to_numpy(layer.mask)
            for block, columns in self._blocks(bits, i):
                block[:-1], block[-1] = mask[:, columns], layer.bias is not None
        return np.packbits(bits, bitorder="little").view("<u2")

    def values(self, weights: np.ndarray) -> dict[int, np.ndarray]:
        """What is in the places, copies by the `id` of the Keras variable."""
        found: dict[int, np.ndarray] = {}
        for i, layer in enumerate(self._layers):
            whole = np.empty((self.sizes[i] + 1, self.sizes[i + 1]), weights.dtype)
            for block, columns in self._blocks(weights, i):
                whole[:, columns] = block
            found[id(layer.kernel)] = whole[:-1]
            if layer.bias is not None:
                found[id(layer.bias)] = whole[-1].copy()
        return found

    def write(self, weights: np.ndarray, assign: Callable[[Any, Any], None]) -> None:
        """Gives the Keras variables the values in their places."""
        values = self.values(weights)
        for layer in self._layers:
            for variable in (layer.kernel, *([] if layer.bias is None else [layer.bias])):
                assign(variable, values[id(variable)])

    def _blocks(self, numbers: np.ndarray, i: int) -> Iterator[tuple[np.ndarray, slice]]:
        """Views of a layer's blocks without padding, `(inputs + 1, columns)`, and which columns they are."""
        units, height = self.sizes[i + 1], self._heights[i]
        for j in range(blocks(units, self._most)):
            first, width = (LANES * vectors for vectors in block(units, self._most, j))
            start = self._starts[i] + first * height
            rows = numbers[start : start + height * width].reshape(height, width)
            yield rows[: self.sizes[i] + 1, : min(width, units - first)], slice(first, min(first + width, units))


def blocks(columns: int, most: int) -> int:
    """Into how many blocks of at most so many vectors columns are cut."""
    return (columns + LANES * most - 1) // (LANES * most)


def block(columns: int, most: int, i: int) -> tuple[int, int]:
    """The first vector of a block, and how many it has."""
    vectors, count = (columns + LANES - 1) // LANES, (columns + LANES * most - 1) // (LANES * most)
    first = vectors * i // count
    return first, vectors * (i + 1) // count - first


def zeros(count: int) -> np.ndarray:
    """Float32 zeros that begin at a cache line, so that no vector is in two."""
    room = np.zeros(4 * count + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + 4 * count].view(np.float32)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _odd_vectors(columns: int) -> int:
    """Room for a row. An odd number of vectors: rows an even number apart share few places in a processor's cache."""
    return (_up(columns, LANES) // LANES | 1) * LANES
