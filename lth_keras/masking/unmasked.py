"""Layers with weights that could be pruned and have no mask."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from lth_keras.layers import NOT_PRUNABLE, PRUNABLE, MaskedLayer
from lth_keras.masking.places import walk

_NOT_PRUNED = ("bias", "gamma", "beta", "alpha")
"""Names of weights that are not pruned on their own: biases, normalisation, slopes of activations."""
_FROZEN_KERNELS = ("kernel", "embeddings", "quantized_kernel", "reverse_embeddings")
"""Names of kernels that Keras does not train, such as quantised ones."""
_WITHOUT_KERNELS = (
    "keras.src.layers.normalization.",
    "keras.src.layers.activations.",
    "keras.src.layers.preprocessing.",
)


class Unmasked(NamedTuple):
    """A layer with weights that have no mask.

    Attributes:
        place: its place inside the model.
        kind: the name of its class.
        weights: how many such weights it has.
        reason: why they have no mask.
    """

    place: str
    kind: str
    weights: int
    reason: str


def unmasked_layers(
    model: keras.Model, frozen: bool = True, excluded: Sequence[str] = ()
) -> tuple[list[Unmasked], int]:
    """The layers with kernels that have no mask, and the number of weights in all kernels of the model.

    A kernel is a weight with two axes or more that is no bias and not part of a normalisation. Layers inside of others
    (an LSTM's cell, an attention's projections) count as the outermost one that has no masked layer inside.

    Args:
        model: with masked layers or without.
        frozen: whether layers with `trainable=False` count.
        excluded: places of layers that do not count, nor those inside.
    """
    outer = tuple(f"{place}/" for place in excluded)
    layers = {place: one for place, one in walk(model) if not f"{place}/".startswith(outer or ("//",))}
    masked = {id(variable): variable for layer in layers.values() for variable in _masked(layer)}
    counted, found = set(masked), dict[str, int]()
    for place, layer in layers.items():
        for variable in _kernels(layer) if frozen or layer.trainable else ():
            if id(variable) not in counted:  # SpectralNormalization lists the kernel of the layer inside as its own
                counted.add(id(variable))
                owner = _owner(place, layers)
                found[owner] = found.get(owner, 0) + math.prod(variable.shape)
    unmasked = [
        Unmasked(place, type(layers[place]).__name__, count, _reason(layers[place])) for place, count in found.items()
    ]
    return unmasked, sum(found.values()) + sum(math.prod(variable.shape) for variable in masked.values())


def _reason(layer: Any) -> str:
    kind = type(layer).__name__
    if kind in NOT_PRUNABLE and type(layer).__module__.startswith("keras."):
        return NOT_PRUNABLE[kind]
    if type(layer) in PRUNABLE:
        return "it is left out, or not masked yet (mask_model)" if layer.trainable else "it is frozen"
    return f"its class is not registered, see lth_keras.register_prunable({kind}, weights=[...])"


def warn_of_unmasked(
    model: keras.Model, stacklevel: int = 2, *, frozen: bool = True, excluded: Sequence[str] = ()
) -> None:
    """Warns of the layers of a masked model that stay dense, with their share of the weights in kernels."""
    layers, weights = unmasked_layers(model, frozen, excluded)
    if not layers:
        return
    share = sum(layer.weights for layer in layers) / weights
    named = ", ".join(f"{layer.place} ({layer.kind}, {layer.weights / weights:.1%})" for layer in layers)
    warnings.warn(
        f"Not masked, and so not pruned: {named}; in all {share:.1%} of the weights of the model's kernels, without "
        "biases and normalisation. Densities count masked weights alone. lth_keras.register_prunable makes classes "
        "prunable.",
        stacklevel=stacklevel + 1,
    )


def _masked(layer: Any) -> list[Any]:
    if not isinstance(layer, MaskedLayer) or not layer.built:  # type: ignore[attr-defined]
        return []
    return [weight.variable for weight in layer.masked_weights()]


def _kernels(layer: Any) -> list[Any]:
    """The weights of a layer that could be pruned, without those of layers inside."""
    if isinstance(layer, MaskedLayer) or type(layer).__module__.startswith(_WITHOUT_KERNELS):
        return []
    frozen = [variable for variable in layer._non_trainable_variables if variable.name in _FROZEN_KERNELS]
    return [variable for variable in [*layer._trainable_variables, *frozen] if _is_kernel(variable)]


def _is_kernel(variable: Any) -> bool:
    name = variable.name
    return len(variable.shape) > 1 and not name.endswith(_NOT_PRUNED) and not name.startswith("lora_")


def _owner(place: str, layers: dict[str, Any]) -> str:
    """The outermost layer around a place that is no model and has no masked layer inside."""
    parts = place.split("/")
    for i in range(1, len(parts)):
        outer = "/".join(parts[:i])
        if outer in layers and not isinstance(layers[outer], keras.Model) and not _has_masked(layers[outer]):
            return outer
    return place


def _has_masked(layer: Any) -> bool:
    return any(isinstance(inner, MaskedLayer) for _, inner in walk(layer))
