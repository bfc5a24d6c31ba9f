"""Embedding tables that can be trained row by row: large ones that read the model's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras

from lth_keras.layers import MaskedEmbedding, Rows, rows_in_use
from lth_keras.masking.places import walk

LARGE = 1 << 22
"""Least weights of a large table. Updating a smaller one as a whole takes less time than handling its rows."""


class Table(NamedTuple):
    """An embedding table of a model.

    Attributes:
        layer: the embedding layer.
        variable: its table, a Keras variable `(rows, dimension)`, unmasked.
        mask: boolean Keras variable of the same shape.
    """

    layer: Any
    variable: Any
    mask: Any


def large_tables(model: keras.Model, at_least: int = LARGE) -> list[Table]:
    """The tables of which a step uses the rows that its batch names, in the order of the model's layers.

    Such a layer is called once, on the model's input itself. Its table is float32 and trained, and has no regulariser
    and no constraint, which would read every row at every step. All have as many rows as the largest.

    Args:
        model: with masked layers; Sequential or Functional, others have no such table.
        at_least: weights of a table.
    """
    if not isinstance(model, keras.Sequential | keras.src.models.Functional):
        return []
    tables = [
        Table(layer, layer.prunable_variable("embeddings"), layer.embeddings_mask)
        for _, layer in walk(model)
        if isinstance(layer, MaskedEmbedding) and _is_suitable(model, layer, at_least)
    ]
    rows = max((table.variable.shape[0] for table in tables), default=0)
    return [table for table in tables if table.variable.shape[0] == rows]


def input_rows(model: keras.Model) -> list[int | None]:
    """For each of a model's inputs, the rows of the smallest embedding that reads it, which it may index, or None."""
    embeddings = [layer for _, layer in walk(model) if isinstance(layer, keras.layers.Embedding)]
    return [
        min((layer.input_dim for layer in embeddings if any(_reads(layer, [tensor]))), default=None)
        for tensor in model.inputs
    ]


def _is_suitable(model: keras.Model, layer: MaskedEmbedding, at_least: int) -> bool:
    variable = layer.prunable_variable("embeddings")
    return (
        variable.shape[0] * variable.shape[1] >= at_least
        and variable.dtype == "float32"
        and variable.trainable
        and variable.regularizer is None
        and variable.constraint is None
        and layer.quantization_mode is None
        and not layer.lora_enabled
        and layer.activity_regularizer is None
        and _reads(layer, model.inputs) == [True]
    )


def _reads(layer: keras.layers.Layer, tensors: Sequence[Any]) -> list[bool]:
    """For every call of the layer, whether its input is one of these."""
    inputs = {id(tensor) for tensor in tensors}
    return [id(tensor) in inputs for node in layer._inbound_nodes for tensor in node.input_tensors]


@contextmanager
def using_rows(tables: Sequence[Table], values: Sequence[Any], masks: Sequence[Any], index: Any) -> Iterator[None]:
    """Within it, the model's embeddings look up these rows in place of their tables.

    Args:
        tables: of the model.
        values: for each table `(rows, dimension)`.
        masks: the rows' masks, likewise.
        index: number of the row at each position of the model's input.
    """
    parts = zip(tables, values, masks, strict=True)
    rows = {table.layer: Rows(values, mask, index) for table, values, mask in parts}
    with rows_in_use(rows):
        yield
