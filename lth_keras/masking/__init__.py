"""Masks on a whole model: convert it to masked layers and back, find its weights, read, set and check its mask."""

from __future__ import annotations

from lth_keras.layers import pruned_weights_are_zero
from lth_keras.masking.chains import ChainLayer, dense_chain, living_units
from lth_keras.masking.choosing import (
    Choice,
    candidates_of,
    choose,
    decided,
    grouped,
    layers_to_choose,
    weights_to_choose,
)
from lth_keras.masking.connectivity import check_connected, is_connected
from lth_keras.masking.conversion import mask_model, masked_copy, rebuild, strip_masks
from lth_keras.masking.drawing import (
    STARTS,
    check_start,
    draw_weights,
    own_array,
    redrawing,
    seeded,
    settled_seeds,
)
from lth_keras.masking.inside import has_graph
from lth_keras.masking.layer_state import copy_flags, copy_state
from lth_keras.masking.places import seed_states, variables, walk
from lth_keras.masking.prunable import (
    PrunableWeight,
    check_not_quantised,
    get_mask,
    lora_updates,
    prunable_weights,
    set_mask,
)
from lth_keras.masking.summary import Summary, summary
from lth_keras.masking.tables import Table, input_rows, large_tables, using_rows
from lth_keras.masking.unmasked import Unmasked, unmasked_layers, warn_of_unmasked
