"""Embedding tables that can be trained row by row: large ones that read the model's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras

from lth_keras.layers import MaskedEmbedding
from lth_keras.layers.rows import Rows, rows_in_use
from lth_keras.masking.places import walk

LARGE = 1 << 22
"""Weights from which a table counts as large: below, its whole update takes less than the handling of its rows."""


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
    """The tables whose rows in use a step can tell from the batch alone, in the order of the model's layers.

    Such a layer is called once, on the model's input itself; its table is float32 and trained, and has no regulariser
    and no constraint, which would look at every row at every step. All have as many rows as the longest.

    Args:
        model: with masked layers; others than Sequential and Functional have no such table.
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


def input_rows(model: keras.Model) -> int | None:
    """How many rows the model's input may name: those of the shortest embedding that reads it; None without any."""
    embeddings = [layer for _, layer in walk(model) if isinstance(layer, keras.layers.Embedding)]
    return min((layer.input_dim for layer in embeddings if any(_reads_input(model, layer))), default=None)


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
        and _reads_input(model, layer) == [True]
    )


def _reads_input(model: keras.Model, layer: keras.layers.Layer) -> list[bool]:
    """For every call of the layer whether it reads the model's input itself."""
    inputs = {id(tensor) for tensor in model.inputs}
    return [id(tensor) in inputs for node in layer._inbound_nodes for tensor in node.input_tensors]


@contextmanager
def using_rows(tables: Sequence[Table], values: Sequence[Any], masks: Sequence[Any], index: Any) -> Iterator[None]:
    """Within it, the model looks up in these rows of its tables.

    Args:
        tables: of the model.
        values: for each table `(rows, dimension)`.
        masks: the rows' masks, likewise.
        index: which of the rows stands where in the model's input.
    """
    parts = zip(tables, values, masks, strict=True)
    rows = {table.layer: Rows(values, mask, index) for table, values, mask in parts}
    with rows_in_use(rows):
        yield
