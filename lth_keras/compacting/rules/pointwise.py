"""Rules of layers and operations that treat each channel alone, and of those that merge tensors channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.compacting.graph import Axis, Channels, Graph, Part
from lth_keras.compacting.rules.activations import mixes
from lth_keras.compacting.rules.values import array


def _layers(names: str) -> tuple[type, ...]:
    return tuple(getattr(keras.layers, name) for name in names.split() if hasattr(keras.layers, name))


SAME = _layers(
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout "
    "ActivityRegularization Identity UpSampling1D UpSampling2D UpSampling3D Cropping1D Cropping2D Cropping3D "
    "MaxPooling1D MaxPooling2D MaxPooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D RepeatVector"
)
"""Layers that keep constant channels as they are."""
PADDED = _layers("AveragePooling1D AveragePooling2D AveragePooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D")
"""Layers that may pad with zeros, which keeps channels of zeros."""
FUNCTIONS = _layers("Activation ReLU LeakyReLU ELU Rescaling")
"""Layers that apply a function to each value."""
MERGES = _layers("Add Subtract Multiply Average Maximum Minimum")
"""Layers of several inputs, value by value."""
OPERATIONS = (
    "Add Subtract Multiply Maximum Minimum Relu Relu6 Sigmoid Silu Gelu Elu Selu LeakyRelu HardSigmoid HardSilu "
    "Softplus Softsign Tanh Exp Negative Absolute Abs Square"
).split()
"""Operations of `keras.ops` on each value, by class name."""


def refusal(layer: Any) -> str | None:
    """Why the channels of such a layer stay; None if its rule knows them."""
    if getattr(layer, "data_format", None) == "channels_first":
        return "has its channels first"
    if isinstance(layer, keras.layers.Activation) and mixes(layer.activation):
        return "has an activation that mixes its channels"
    if isinstance(layer, keras.layers.Rescaling) and (np.ndim(layer.scale) or np.ndim(layer.offset)):
        return "has a scale for each channel"
    if isinstance(layer, keras.layers.PReLU) and layer.shared_axes != list(range(1, len(layer.alpha.shape))):
        return "has slopes for each position"
    if isinstance(layer, keras.layers.BatchNormalization) and layer.axis not in (-1, len(layer.input.shape) - 1):
        return "normalises another axis"
    return None


def kept(layer: Any, inputs: Channels) -> Channels:
    """A layer that keeps channels as they are, or only those of zeros."""
    pads = isinstance(layer, PADDED) and getattr(layer, "padding", "valid") != "valid"
    return inputs._replace(constant=np.where(inputs.constant == 0, 0.0, np.nan)) if pads else inputs


def function(layer: Any, inputs: Channels) -> Channels:
    """A layer that applies a function to each value."""
    return Channels(inputs.ids, _applied(layer, inputs.constant))


def normalisation(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """Batch normalisation, and PReLU with a slope for each channel."""
    part = graph.parts.get(id(layer))
    if part is None:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        own = [name for name in names if getattr(layer, name, None) is not None]
        axes: dict[str, tuple[Axis | None, ...]] = {name: (Axis("in"),) for name in own}
        part = graph.parts[id(layer)] = Part(layer, {"in": inputs.ids}, axes, {})
    graph.call(part, **{"in": inputs})
    rank = len(layer.input.shape) if len(layer._inbound_nodes) == 1 else 2
    return Channels(inputs.ids, _applied(layer, inputs.constant, rank))


def merged(graph: Graph, name: str, inputs: Sequence[Channels], apply: Any) -> Channels:
    """Several tensors merged value by value; one with a single channel is broadcast, and keeps it.

    Args:
        graph: of the model.
        name: of the layer or operation, for the reason.
        inputs: its tensors.
        apply: their values, as a list of arrays -> the outputs' values.
    """
    size = max(each.size for each in inputs)
    whole = [each for each in inputs if each.size == size]
    for each in inputs:
        if each.size != size:
            graph.pin(each.ids, f"{name!r} broadcasts it")
    for each in whole[1:]:
        graph.join(whole[0].ids, each.ids)
    constants = [np.broadcast_to(each.constant, (size,)) for each in inputs]
    made = apply([np.nan_to_num(constant) for constant in constants])
    return Channels(whole[0].ids, np.where(np.isnan(np.stack(constants)).any(0), np.nan, made))


def _applied(layer: Any, constant: np.ndarray, rank: int = 2) -> np.ndarray:
    values = np.nan_to_num(constant).astype(np.float32).reshape((1,) * (rank - 1) + (-1,))
    trains = {"training": False} if isinstance(layer, keras.layers.BatchNormalization) else {}
    return np.where(np.isnan(constant), np.nan, array(layer(values, **trains)).reshape(-1))
