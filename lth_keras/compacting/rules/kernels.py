"""Rules of layers with one kernel from channels to units or filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lth_keras.compacting.graph import (
    Axis,
    Channels,
    Graph,
    Part,
    Read,
    all_fold,
    zeros_fold,
)
from lth_keras.compacting.rules.activations import activated, mixes
from lth_keras.compacting.rules.values import array

_IN, _OUT = Axis("in"), Axis("out")


def dense(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A Dense layer."""
    kernel = array(layer.kernel)
    return _kernel_layer(graph, layer, inputs, kernel, "units", {"_kernel": (_IN, _OUT), "bias": (_OUT,)}, folds=True)


def convolution(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A convolution. With padding, a constant channel makes other sums at the borders, which no bias can make."""
    kernel = array(layer.kernel)
    spatial = kernel.shape[:-2]
    axes = {"_kernel": (*[None] * len(spatial), _IN, _OUT), "bias": (_OUT,)}
    flat = kernel.reshape(-1, *kernel.shape[-2:])
    return _kernel_layer(
        graph, layer, inputs, flat.sum(0), "filters", axes, folds=not _pads(layer, kernel), nonzero=(flat != 0).any(0)
    )


def _pads(layer: Any, kernel: np.ndarray) -> bool:
    """Whether a convolution sees zeros beside the values at the borders."""
    return layer.padding != "valid" and any(size > 1 for size in kernel.shape[:-2])


def transposed(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A transposed convolution, whose kernel has its outputs before its inputs."""
    kernel = np.swapaxes(array(layer.kernel), -1, -2)
    axes = {"kernel": (*[None] * (kernel.ndim - 2), _OUT, _IN), "bias": (_OUT,)}
    flat = kernel.reshape(-1, *kernel.shape[-2:])
    return _kernel_layer(graph, layer, inputs, flat.sum(0), "filters", axes, folds=False, nonzero=(flat != 0).any(0))


def separable(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A separable convolution: a depthwise kernel, whose outputs the pointwise kernel reads."""
    depthwise, pointwise = array(layer.depthwise_kernel), array(layer.pointwise_kernel)
    multiplier = depthwise.shape[-1]
    flat = depthwise.reshape(-1, *depthwise.shape[-2:])
    between = pointwise.reshape(inputs.size, multiplier, -1)
    acts = (flat != 0).any(0)[:, :, None] & (between != 0)
    spatial = [None] * (depthwise.ndim - 2)
    axes: dict[str, tuple[Axis | None, ...]] = {
        "depthwise_kernel": (*spatial, _IN, None),
        "pointwise_kernel": (*spatial, Axis("in", each=multiplier), _OUT),
        "bias": (_OUT,),
    }
    sums = (flat.sum(0)[:, :, None] * between).sum(1)
    return _kernel_layer(
        graph, layer, inputs, sums, "filters", axes, folds=not _pads(layer, depthwise), nonzero=acts.any(1)
    )


def embedding(graph: Graph, layer: Any) -> Channels:
    """An embedding: a column in which all rows have one value is constant."""
    table = array(layer.embeddings)
    if id(layer) not in graph.parts:
        graph.parts[id(layer)] = Part(
            layer, {"out": graph.new(table.shape[1])}, {"_embeddings": (None, _OUT)}, {"output_dim": "out"}, "out"
        )
    part = graph.parts[id(layer)]
    outputs = Channels(part.channels["out"], np.where((table == table[:1]).all(0), table[0], np.nan))
    graph.call(part, out=outputs)
    return outputs


def _kernel_layer(
    graph: Graph,
    layer: Any,
    inputs: Channels,
    sums: np.ndarray,
    setting: str,
    axes: dict[str, tuple[Axis | None, ...]],
    *,
    folds: bool,
    nonzero: np.ndarray | None = None,
) -> Channels:
    """The outputs of a layer.

    Args:
        graph: of the model.
        layer: the layer.
        inputs: what it is called on.
        sums: `(inputs, outputs)`, what a constant one in every position adds to each output.
        setting: the argument that says how many outputs there are.
        axes: of its variables.
        folds: whether the sum of constants can be added to its bias.
        nonzero: `(inputs, outputs)`, by default where `sums` is not zero.
    """
    nonzero = sums != 0 if nonzero is None else nonzero
    fold = all_fold if folds else zeros_fold
    part = graph.parts.get(id(layer))
    if part is None:
        channels = {"in": inputs.ids, "out": graph.new(nonzero.shape[1])}
        part = Part(layer, channels, axes, {setting: "out"}, "out")
        part.fold = ("bias", lambda values: values @ sums) if folds else None
        graph.parts[id(layer)] = part
        why = f"read by {layer.name!r}" + ("" if folds else ", where padding differs from the constant")
        graph.reads.append(Read(part, "in", "out", nonzero, fold, why))
        if mixes(layer.activation):
            graph.pin(channels["out"], f"the activation of {layer.name!r} mixes its channels")
    outputs = Channels(part.channels["out"], _constants(layer, inputs, sums, nonzero, fold))
    graph.call(part, **{"in": inputs, "out": outputs})
    return outputs


def _constants(
    layer: Any,
    inputs: Channels,
    sums: np.ndarray,
    nonzero: np.ndarray,
    fold: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The value of each output all of whose inputs are constant, else NaN."""
    known = fold(inputs.constant)
    made = np.where(known, np.nan_to_num(inputs.constant), 0) @ sums
    if layer.use_bias:
        made = made + array(layer.bias)
    return np.where(nonzero[~known].any(0), np.nan, activated(layer.activation, made))


def depthwise(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A depthwise convolution, whose outputs are removed with their input."""
    kernel = array(layer.kernel)
    multiplier = kernel.shape[-1]
    outputs = np.repeat(inputs.ids, multiplier)
    part = graph.parts.get(id(layer))
    if part is None:
        spatial = [None] * (kernel.ndim - 2)
        axes = {"kernel": (*spatial, _IN, None), "bias": (Axis("in", each=multiplier),)}
        part = graph.parts[id(layer)] = Part(layer, {"in": inputs.ids}, axes, {})
        if mixes(layer.activation):
            graph.pin(inputs.ids, f"the activation of {layer.name!r} mixes its channels")
    graph.call(part, **{"in": inputs})
    flat = kernel.reshape(-1, inputs.size * multiplier)
    value = np.repeat(inputs.constant, multiplier)
    value = np.where(np.isnan(value) | (_pads(layer, kernel) & (value != 0)), np.nan, value * flat.sum(0))
    made = np.where((flat != 0).any(0), value, 0.0)
    if layer.use_bias:
        made = made + array(layer.bias)
    return Channels(outputs, activated(layer.activation, made))


def refusal(layer: Any) -> str | None:
    """Why the channels of a layer with a kernel stay; None if its rule knows them."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "has its channels first"
    if getattr(layer, "groups", 1) != 1:
        return "has groups of channels"
    if getattr(layer, "quantization_mode", None) is not None:
        return "is quantised"
    return None


RULES: dict[type, Callable[..., Channels]] = {
    keras.layers.Dense: dense,
    **dict.fromkeys((keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), convolution),
    **dict.fromkeys(
        (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose), transposed
    ),
    **dict.fromkeys((keras.layers.SeparableConv1D, keras.layers.SeparableConv2D), separable),
    **dict.fromkeys((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), depthwise),
}
"""Layer types on one input."""
