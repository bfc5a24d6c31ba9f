"""Chains of dense layers, and which of their units a mask leaves connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lth_keras.layers import MaskedDense
from lth_keras.masking.places import walk

_BY_UNIT = ("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh", "softplus")
"""Activations that look at one unit at a time, by Keras' names."""


@dataclass(frozen=True)
class ChainLayer:
    """A dense layer of a chain.

    Attributes:
        place: its place inside the model: its weights are `<place>/kernel` and `<place>/bias`.
        layer: the layer.
        zero_without_input: whether a unit without incoming weights and with a bias of zero outputs zero and gives its
            bias no gradient.
    """

    place: str
    layer: MaskedDense
    zero_without_input: bool


def dense_chain(model: keras.Model) -> list[ChainLayer]:
    """The layers of a model that is a chain of masked dense layers, after at most a `Flatten`.

    Raises:
        ValueError: for any other model, for layers that share weights or have weights beside kernel and bias, and for
            regularisers and constraints, where an update depends on more than the gradient.
    """
    places = {id(layer): place for place, layer in walk(model)}
    operations = _operations(model)
    flatten = operations.pop(0) if type(operations[0]) is keras.layers.Flatten else None
    chain: list[ChainLayer] = []
    for i, layer in enumerate(operations):
        last = i == len(operations) - 1
        place = places.get(id(layer), getattr(layer, "name", "?"))
        _check_layer(layer, place, last)
        if any(layer is part.layer for part in chain):
            raise ValueError(_expected(f"{place!r} more than once"))
        chain.append(ChainLayer(place, layer, layer.activation is keras.activations.relu))
    if flatten is not None:
        _check_flatten(flatten, places[id(flatten)], chain)
    return chain


def living_units(kernels: Sequence[np.ndarray], constant: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Which inputs and units of a chain of dense layers can be nonzero and are connected to an output.

    Args:
        kernels: which weights are kept, `(inputs, units)` for each layer.
        constant: which units can be nonzero without incoming weights, `(units,)` for each layer.

    Returns:
        Boolean arrays: of the inputs, and of the units of each layer. All outputs are True.
    """
    nonzero = [np.ones(kernels[0].shape[0], bool)]
    for kernel, always in zip(kernels, constant, strict=True):
        nonzero.append(kernel[nonzero[-1]].any(0) | always)
    used = [np.ones(kernels[-1].shape[1], bool)]
    for kernel in reversed(kernels):
        used.insert(0, kernel[:, used[0]].any(1))
    return [*(one & other for one, other in zip(nonzero[:-1], used[:-1], strict=True)), used[-1]]


def _operations(model: keras.Model) -> list[Any]:
    """The layers and operations of a model that is a chain, from its input on."""
    found: list[Any] = []
    history = model.outputs[0]._keras_history
    while True:
        node = history.operation._inbound_nodes[history.node_index]
        if node.is_input:
            return found[::-1] or [history.operation]
        if len(node.input_tensors) != 1:
            raise ValueError(_expected(f"{history.operation.name!r} with {len(node.input_tensors)} inputs"))
        found.append(history.operation)
        history = node.input_tensors[0]._keras_history


def _check_layer(layer: Any, place: str, last: bool) -> None:
    """Raises ValueError for a layer that cannot be part of a chain."""
    if type(layer) is keras.layers.Dense and not layer.trainable:
        raise ValueError(_expected(f"{place!r}, a Dense that is frozen, and so is not pruned"))
    if type(layer) is not MaskedDense:
        raise ValueError(_expected(f"{place!r}, a {type(layer).__name__}"))
    if layer.kernel_mask.shape[0] != layer.input.shape[-1] or len(layer.input.shape) != 2:
        raise ValueError(_expected(f"{place!r} on inputs of shape {layer.input.shape}"))
    if not last and layer.activation not in [getattr(keras.activations, name) for name in _BY_UNIT]:
        raise ValueError(_expected(f"{place!r} with an activation that is none of {_BY_UNIT}"))
    names = [f"{part}_{kind}" for kind in ("regularizer", "constraint") for part in ("kernel", "bias")]
    given = [name for name in (*names, "activity_regularizer") if getattr(layer, name) is not None]
    if given:
        raise ValueError(_expected(f"{place!r} with {', '.join(given)}"))
    known = [layer.kernel_mask, layer.prunable_variable("kernel"), layer.bias]
    others = [variable.name for variable in layer.variables if all(variable is not one for one in known)]
    if others:  # as LoRA has, or an activation that learns
        raise ValueError(_expected(f"{place!r} with {', '.join(others)} beside kernel and bias"))


def _check_flatten(flatten: Any, place: str, chain: Sequence[ChainLayer]) -> None:
    """Raises ValueError for a `Flatten` that differs from `numpy.reshape`."""
    if flatten.data_format != "channels_last":
        raise ValueError(_expected(f"{place!r} with data_format={flatten.data_format!r}"))
    if chain and flatten.compute_dtype != chain[0].layer.compute_dtype:
        raise ValueError(_expected(f"{place!r} in {flatten.compute_dtype}, others in {chain[0].layer.compute_dtype}"))


def _expected(received: str) -> str:
    return (
        "Expected a chain of Dense layers, behind a Flatten or not, without regularisers and constraints: of other "
        f"models it is not known which units do nothing. Received: {received}. "
        "Use another engine than compact and native."
    )
