"""Masked Keras layers: the Keras layer, plus one boolean mask per prunable weight."""

from __future__ import annotations

import keras

from lth_keras.layers.conv import MaskedConv1D, MaskedConv2D
from lth_keras.layers.dense import MaskedDense
from lth_keras.layers.embedding import MaskedEmbedding
from lth_keras.layers.masked import MaskedLayer, mask_name, pruned_weights_are_zero

MASKED_LAYERS: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {
    keras.layers.Dense: MaskedDense,
    keras.layers.Conv1D: MaskedConv1D,
    keras.layers.Conv2D: MaskedConv2D,
    keras.layers.Embedding: MaskedEmbedding,
}
"""The masked counterpart of each Keras layer that has one."""

KINDS: dict[type[keras.layers.Layer], str] = {
    MaskedDense: "dense",
    MaskedConv1D: "conv",
    MaskedConv2D: "conv",
    MaskedEmbedding: "embedding",
}
"""The kind of each masked layer, as pruning rates name it."""

__all__ = [
    "KINDS",
    "MASKED_LAYERS",
    "MaskedConv1D",
    "MaskedConv2D",
    "MaskedDense",
    "MaskedEmbedding",
    "MaskedLayer",
    "mask_name",
    "pruned_weights_are_zero",
]
