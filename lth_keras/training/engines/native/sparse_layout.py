"""The memory layout of a pruned chain of dense layers for the native kernel: its kept weights alone.

Units of the network have one numbering: 0 is a unit that is always one, whose weights are the biases; then come the
inputs, and the units of each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lth_keras.training.engines.native.layout import LANES, ChainPart, numpy_of, set_variables

ONE = 0
"""The unit that is always one."""
BLOCK = 128
"""A block ends with the column that gives it this number of weights or more."""
FIRST_BLOCK, AFTER_BLOCKS, FIRST_ROW, AFTER_ROWS, WITH_RELU, LAYER_FIELDS = range(6)
"""Columns of the table of layers: the layer's blocks, the rows of its inputs' gradients, and whether it has ReLU."""
FIRST_COLUMN, AFTER_COLUMNS, FIRST_WEIGHT, AFTER_WEIGHTS, BLOCK_FIELDS = range(5)
"""Columns of the table of blocks: a block's columns, and its weights, with padding to whole vectors."""
UNIT, BEGIN, END, PART_FIELDS = range(4)
"""Columns of the tables of columns and of rows: a unit, and the range of its entries."""


class Tables(NamedTuple):
    """The tables of a `SparseLayout`, for compiled functions.

    Attributes:
        layers: int64 `(layers, LAYER_FIELDS)`.
        blocks: int64 `(blocks, BLOCK_FIELDS)`.
        columns: int64 `(columns, PART_FIELDS)`; entries are weights.
        rows: int64 `(rows, PART_FIELDS)`: units with the weights that lead away from them; entries are those of `to`.
        sources: the unit that each weight comes from, int32 `(weights,)`.
        to: the unit that each entry of a row leads to, int32.
        places: its index among the weights, int32.
        groups: the first of each `LANES` inputs that are read, int64.
    """

    layers: np.ndarray
    blocks: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    sources: np.ndarray
    to: np.ndarray
    places: np.ndarray
    groups: np.ndarray


class SparseLayout:
    """The kept weights of a chain by columns, that is by the unit they lead to, each followed by its bias.

    Units that do not affect the output are left out with all their weights, whose gradients are zero. Columns are
    grouped in blocks, whose weights are whole vectors: the parts that threads share, whatever their number.

    Args:
        layers: the layers.
        masks: their masks, boolean `(inputs, units)`.

    Attributes:
        tables: its tables.
        weights: number of weights with padding.
        units: number of units.
        first_output: the unit of the first output.
        classes: number of outputs.
    """

    def __init__(self, layers: Sequence[ChainPart], masks: Sequence[np.ndarray]) -> None:
        self._layers, self._masks = list(layers), list(masks)
        self._sizes = [masks[0].shape[0], *(mask.shape[1] for mask in masks)]
        self._starts = np.cumsum([1, *self._sizes]).tolist()  # the first unit of the inputs and of each layer
        self.units, self.first_output, self.classes = self._starts[-1], self._starts[-2], self._sizes[-1]
        self.weights = 0
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        """For each layer the indices of its kept weights in kernel and bias as one array, and among the weights."""
        of_layers: list[tuple[int, ...]] = []
        blocks: list[tuple[int, ...]] = []
        columns: list[tuple[int, ...]] = []
        rows: list[tuple[int, ...]] = []
        entries: list[tuple[np.ndarray, np.ndarray]] = []
        sources = []
        for i, (layer, used) in enumerate(zip(layers, _used(masks), strict=True)):
            kept = np.vstack([masks[i], np.full((1, self._sizes[i + 1]), layer.bias is not None)]) & used
            units, inputs = np.nonzero(kept.T)
            counts = kept.sum(0)
            here, source = self._columns(i, counts, inputs, units, blocks, columns)
            sources.append(source)
            first_row = len(rows)
            if i:  # the inputs' gradient is not needed
                self._rows(i, inputs, units, here, rows, entries)
            first_block = of_layers[-1][AFTER_BLOCKS] if of_layers else 0
            of_layers.append((first_block, len(blocks), first_row, len(rows), int(layer.relu)))
        to, places = (np.concatenate([np.zeros(0), *(pair[k] for pair in entries)]).astype(np.int32) for k in (0, 1))
        all_sources = np.concatenate(sources)
        self.tables = Tables(
            _table(of_layers, LAYER_FIELDS),
            _table(blocks, BLOCK_FIELDS),
            _table(columns, PART_FIELDS),
            _table(rows, PART_FIELDS),
            all_sources,
            to,
            places,
            _groups(self._sizes[0], all_sources),
        )

    def _columns(
        self, i: int, counts: np.ndarray, inputs: np.ndarray, units: np.ndarray, blocks: list[Any], columns: list[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adds a layer's columns in blocks; returns the index of each weight and the source of each index."""
        has = np.flatnonzero(counts)
        lengths, ends = counts[has], np.cumsum(counts[has])
        here, first, begin = np.empty(len(inputs), np.int64), 0, self.weights
        for after in _block_ends(lengths):
            start, stop = int(ends[first] - lengths[first]), int(ends[after - 1])
            here[start:stop] = np.arange(stop - start) + self.weights
            padded = -(-(stop - start) // LANES) * LANES
            blocks.append((len(columns) + first, len(columns) + after, self.weights, self.weights + padded))
            first, self.weights = after, self.weights + padded
        begins = here[ends - lengths]
        columns.extend(zip(has + self._starts[i + 1], begins, begins + lengths, strict=True))
        source = np.zeros(self.weights - begin, np.int32)
        source[here - begin] = np.where(inputs == self._sizes[i], ONE, inputs + self._starts[i])
        self._parts.append((inputs * self._sizes[i + 1] + units, here))
        return here, source

    def _rows(
        self, i: int, inputs: np.ndarray, units: np.ndarray, here: np.ndarray, rows: list[Any], entries: list[Any]
    ) -> None:
        """Adds the rows of a layer's inputs, without that of the biases."""
        order = np.lexsort((units, inputs))
        order = order[inputs[order] < self._sizes[i]]
        counts = np.bincount(inputs[order], minlength=self._sizes[i])
        has = np.flatnonzero(counts)
        ends = np.cumsum(counts[has]) + sum(len(pair[0]) for pair in entries)
        rows.extend(zip(has + self._starts[i], ends - counts[has], ends, strict=True))
        entries.append((units[order] + self._starts[i + 1], here[order]))

    def read(self, weights: np.ndarray) -> None:
        """Copies the values of the Keras variables into `weights`."""
        for layer, (where, own) in zip(self._layers, self._parts, strict=True):
            weights[own] = _whole(layer).reshape(-1)[where]

    def values(self, weights: np.ndarray) -> dict[int, np.ndarray]:
        """The values of the Keras variables by their `id`: `weights`, what was left out, and zeros for pruned ones."""
        found: dict[int, np.ndarray] = {}
        for layer, mask, (where, own) in zip(self._layers, self._masks, self._parts, strict=True):
            whole = _whole(layer)
            whole[:-1] *= mask
            whole.reshape(-1)[where] = weights[own]
            found[id(layer.kernel)] = whole[:-1]
            if layer.bias is not None:
                found[id(layer.bias)] = whole[-1].copy()
        return found

    def write(self, weights: np.ndarray) -> None:
        """Assigns the values in `weights` to the Keras variables."""
        set_variables(self._layers, self.values(weights))


def _table(rows: Sequence[tuple[int, ...]], fields: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), fields)


def _used(masks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Which units of each layer lead to an output."""
    used = [np.ones(masks[-1].shape[1], bool)]
    for mask in reversed(masks[1:]):
        used.insert(0, mask[:, used[0]].any(1))
    return used


def _block_ends(lengths: np.ndarray) -> list[int]:
    """The index after the last column of each block."""
    found, held = [], 0
    for i, length in enumerate(lengths.tolist()):
        held += length
        if held >= BLOCK or (held and i == len(lengths) - 1):
            found.append(i + 1)
            held = 0
    return found


def _groups(inputs: int, sources: np.ndarray) -> np.ndarray:
    """The first input of each group of `LANES` inputs with one that is read; the last ends with the last."""
    read = np.zeros(inputs, bool)
    read[sources[(sources > ONE) & (sources <= inputs)] - 1] = True
    starts = [min(start, inputs - LANES) for start in range(0, inputs, LANES)]
    return np.array([start for start in starts if read[start : start + LANES].any()], np.int64)


def _whole(layer: ChainPart) -> np.ndarray:
    """A layer's kernel and below it its bias, `(inputs + 1, units)`."""
    kernel = numpy_of(layer.kernel)
    return np.vstack([kernel, np.zeros_like(kernel[0]) if layer.bias is None else numpy_of(layer.bias)])
