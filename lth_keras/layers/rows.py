"""Looks up the rows of embedding tables that one training step uses, in place of whole tables.

A batch uses a few thousand rows of a large table. Within `rows_in_use` an embedding looks up in those rows only, so
that its gradient has no more rows; outside, it looks up in the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from keras import ops


class Rows(NamedTuple):
    """The rows of one table that a batch uses.

    Attributes:
        values: `(rows, dimension)`, unmasked.
        mask: boolean, of the same shape.
        index: number of the row at each position; integers of the shape of the layer's input.
    """

    values: Any
    mask: Any
    index: Any


class LookedUp(NamedTuple):
    """The source of an embedding's output: `output == take(table, index, axis=0)`."""

    output: Any
    table: Any
    index: Any


class _Step(NamedTuple):
    rows: Mapping[int, Rows]
    looked_up: list[LookedUp]


_step: ContextVar[_Step | None] = ContextVar("lth_keras_rows_in_use", default=None)


@contextmanager
def rows_in_use(rows: Mapping[Any, Rows]) -> Iterator[None]:
    """Within it, these layers look up in these rows in place of their tables.

    Args:
        rows: embedding layer to its rows.
    """
    token = _step.set(_Step({id(layer): part for layer, part in rows.items()}, []))
    try:
        yield
    finally:
        _step.reset(token)


def look_up(layer: Any) -> Any | None:
    """The masked output of an embedding layer from its rows in use; None where it uses its whole table."""
    step = _step.get()
    if step is None or id(layer) not in step.rows:
        return None
    rows = step.rows[id(layer)]
    values = ops.cast(rows.values, layer.compute_dtype)
    table = ops.multiply(values, ops.cast(rows.mask, values.dtype))
    output = ops.take(table, rows.index, axis=0)
    step.looked_up.append(LookedUp(output, table, rows.index))
    return output


def looked_up(tensor: Any) -> LookedUp | None:
    """The source of this tensor object; None where no embedding has output it."""
    step = _step.get()
    found = [entry for entry in step.looked_up if entry.output is tensor] if step is not None else []
    return found[0] if found else None


def convolve_rows(source: LookedUp, kernel: Any) -> Any:
    """The convolution of a looked-up sequence, computed on the table's rows before the lookup.

    `sum_j x[b, t + j] @ kernel[j]` with `x = table[index]` is `sum_j (table @ kernel[j])[index[b, t + j]]`: every row
    is multiplied once, however often a batch repeats it, and looked-up products are shorter than rows.

    Args:
        source: of the sequences, with an index `(batch, length)`.
        kernel: `(width, dimension, filters)`.

    Returns:
        `(batch, length - width + 1, filters)`: a `valid` convolution with stride 1.
    """
    width, dimension, filters = kernel.shape
    length = source.index.shape[1]
    by_row = ops.reshape(ops.transpose(kernel, (1, 0, 2)), (dimension, width * filters))
    products = ops.take(ops.matmul(source.table, by_row), source.index, axis=0)
    # Row j of each (width, length) is to be read from column j on. One more column a row, filled from the next
    # row's start, shifts row j by j places: then columns add up.
    taps = ops.transpose(ops.reshape(products, (-1, length, width, filters)), (0, 2, 1, 3))
    flat = ops.pad(ops.reshape(taps, (-1, width * length, filters)), ((0, 0), (0, width), (0, 0)))
    shifted = ops.reshape(flat, (-1, width, length + 1, filters))
    return ops.sum(shifted[:, :, : length - width + 1], axis=1)
