"""Masked Keras layers: the Keras layer, plus one boolean mask per prunable weight."""

from __future__ import annotations

from typing import Any

from lth_keras.layers.conv import MaskedConv1D, MaskedConv2D
from lth_keras.layers.dense import MaskedDense
from lth_keras.layers.embedding import MaskedEmbedding
from lth_keras.layers.masked import MaskedLayer, MaskedWeight, has_lora, mask_in_place, mask_name, unmask_in_place
from lth_keras.layers.reading import pruned_weights_are_zero
from lth_keras.layers.registry import KINDS, NOT_PRUNABLE, PRUNABLE, Prunable
from lth_keras.layers.rows import Rows, rows_in_use
from lth_keras.layers.types import (
    MASKED_LAYERS,
    PLAIN_LAYERS,
    REGISTERED,
    class_entry,
    register_prunable,
    registrations,
)

__all__ = [
    "KINDS",
    "MASKED_LAYERS",
    "NOT_PRUNABLE",
    "PLAIN_LAYERS",
    "PRUNABLE",
    "REGISTERED",
    "MaskedConv1D",
    "MaskedConv2D",
    "MaskedDense",
    "MaskedEmbedding",
    "MaskedLayer",
    "MaskedWeight",
    "Prunable",
    "Rows",
    "class_entry",
    "has_lora",
    "mask_in_place",
    "mask_name",
    "pruned_weights_are_zero",
    "register_prunable",
    "registrations",
    "rows_in_use",
    "unmask_in_place",
]


def __getattr__(name: str) -> Any:
    """A masked layer type that is made from its registry entry alone, by name."""
    for masked in PLAIN_LAYERS:
        if masked.__name__ == name:
            return masked
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
