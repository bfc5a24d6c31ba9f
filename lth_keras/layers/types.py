"""The masked counterparts of the Keras layer types in the registry, and how to add one."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from lth_keras.layers.conv import MaskedConv1D, MaskedConv2D
from lth_keras.layers.dense import MaskedDense
from lth_keras.layers.embedding import MaskedEmbedding
from lth_keras.layers.masked import MaskedLayer
from lth_keras.layers.registry import KINDS, PRUNABLE, Prunable

MASKED_LAYERS: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {}
"""The masked counterpart of each Keras layer that has one."""
PLAIN_LAYERS: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {}
"""The plain counterpart of each masked layer."""


def add_prunable(layer: type[keras.layers.Layer], kind: str, variables: Mapping[str, str]) -> type[keras.layers.Layer]:
    """Makes a layer type prunable: `mask_model`, `prune` and the search mask its layers from now on.

    A masked layer adds no argument to the layer's, so that `get_config` and `from_config` must suffice to make it
    again. It is registered with Keras as `lth_keras>Masked<name>`: call this before such a model is loaded.

    Args:
        layer: a subclass of `keras.layers.Layer`.
        kind: `dense`, `conv` or `embedding`: which pruning rate applies where the layer is not the output.
        variables: name of each prunable weight, unique within the layer, to the attribute that holds its Keras
            variable once the layer is built; dots lead to layers inside. The mask is called `<name>_mask`.

    Returns:
        The masked layer type, `Masked<name>`.

    Raises:
        ValueError: for a type that is there already, another kind, or no weight.

    Example:
        >>> add_prunable(keras.layers.EinsumDense, "dense", {"kernel": "_kernel"})
    """
    if layer in PRUNABLE or kind not in KINDS[:-1] or not variables:
        raise ValueError(
            f"Expected a layer type that is not prunable yet, a kind out of {KINDS[:-1]} and at least one weight. "
            f"Received: {layer.__name__}, {kind!r}, {dict(variables)}."
        )
    PRUNABLE[layer] = Prunable(kind, dict(variables))
    return _add(layer, _masked_type(layer))


def _masked_type(layer: type[keras.layers.Layer]) -> type[keras.layers.Layer]:
    """A masked layer type that needs nothing beside its registry entry."""
    members = {"__module__": __name__, "__doc__": f"`keras.layers.{layer.__name__}` with a mask on its weights."}
    made: type = type(f"Masked{layer.__name__}", (MaskedLayer, layer), members)
    return keras.saving.register_keras_serializable(package="lth_keras")(made)


def _add(layer: type[keras.layers.Layer], masked: type[keras.layers.Layer]) -> type[keras.layers.Layer]:
    MASKED_LAYERS[layer], PLAIN_LAYERS[masked] = masked, layer
    return masked


_WRITTEN_OUT = (MaskedDense, MaskedConv1D, MaskedConv2D, MaskedEmbedding)
for _layer in PRUNABLE:
    _add(_layer, next((m for m in _WRITTEN_OUT if _layer in m.__bases__), None) or _masked_type(_layer))
