"""Which weights of which Keras layer are prunable: their kind, and where Keras keeps their variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras

KINDS = ("dense", "conv", "embedding", "output")
"""Kinds of weights, as pruning rates name them. `output` is decided by the layer's place in the model."""


class Prunable(NamedTuple):
    """The prunable weights of a layer type.

    Attributes:
        kind: one of `KINDS` but `output`.
        variables: name of each weight, unique within the layer, to the attribute that holds its Keras variable. Dots
            lead to layers inside: `_kernel`, `cell.recurrent_kernel`, `_query_dense._kernel`. The forward pass reads
            the weight under the same name without a leading underscore, as a Keras property.
    """

    kind: str
    variables: Mapping[str, str]


PRUNABLE: dict[type[keras.layers.Layer], Prunable] = {
    keras.layers.Dense: Prunable("dense", {"kernel": "_kernel"}),
    keras.layers.Conv1D: Prunable("conv", {"kernel": "_kernel"}),
    keras.layers.Conv2D: Prunable("conv", {"kernel": "_kernel"}),
    keras.layers.Embedding: Prunable("embedding", {"embeddings": "_embeddings"}),
}
"""The layer types that are masked. `types.add_prunable` adds one."""
