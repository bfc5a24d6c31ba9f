"""Masks on a whole model: convert it to masked layers and back, find its weights, read, set and check its mask."""

from __future__ import annotations

from lth_keras.masking.connectivity import check_connected
from lth_keras.masking.conversion import mask_model, strip_masks
from lth_keras.masking.places import seed_states, variables, walk
from lth_keras.masking.prunable import PrunableWeight, get_mask, prunable_weights, set_mask

__all__ = [
    "PrunableWeight",
    "check_connected",
    "get_mask",
    "mask_model",
    "prunable_weights",
    "seed_states",
    "set_mask",
    "strip_masks",
    "variables",
    "walk",
]
