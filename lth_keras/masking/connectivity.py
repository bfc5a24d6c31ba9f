"""Whether the outputs of a pruned network can depend on its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from lth_keras.mask import Mask
from lth_keras.masking.prunable import prunable_weights

_WRAPPERS = (keras.layers.TimeDistributed, keras.layers.SpectralNormalization)
"""Layers whose output is that of the layer inside."""


def check_connected(model: keras.Model, mask: Mask) -> None:
    """Checks that every output of a model can still depend on an input of it, under a mask.

    A layer without any weight left outputs its bias. Where every path to an output leads through such a layer, the
    network is cut through; a parallel branch or a skip connection keeps it connected. Sequential and Functional models
    are checked, also nested, and layers inside `TimeDistributed` and `SpectralNormalization`. Subclassed models and
    custom layers count as connected, since their graph is not known. So does a layer with one weight left; where a
    layer has several kernels in series, as a separable convolution or an attention, each needs one.

    Args:
        model: a built model with masked layers; its current masks are not used.
        mask: a mask for it, by place inside the model.

    Raises:
        ValueError: where the network is cut through, naming the weights that are pruned entirely.
    """
    if is_connected(model, mask):
        return
    pruned = [key for key, count in mask.counts().items() if count == 0]
    raise ValueError(
        f"Expected a network whose outputs depend on its inputs. Received: no weight left in {', '.join(pruned)}, at "
        f"density {mask.density:.3g}, and no way around: the network is cut through. Keep min_per_layer at 1, or a "
        "higher density."
    )


def is_connected(model: keras.Model, mask: Mask) -> bool:
    """Whether every output of a model can still depend on an input of it, as `check_connected` checks."""
    counts = mask.counts()
    kept: dict[int, dict[str, int]] = {}
    needed: dict[int, Sequence[str]] = {}
    for weight in prunable_weights(model):
        kept.setdefault(id(weight.layer), {})[weight.name] = counts[weight.key]
        needed[id(weight.layer)] = weight.layer.needed
    empty = {
        layer
        for layer, count in kept.items()
        if not any(count.values()) or any(count.get(name) == 0 for name in needed[layer])
    }
    return not empty or all(_reached(model, empty, [True]))


def _reached(layer: Any, empty: set[int], inputs: Sequence[bool]) -> list[bool]:
    """Which outputs of a layer or model depend on the model's inputs; one entry for all outputs of a layer.

    Args:
        layer: a layer, a model or an operation of a graph.
        empty: ids of the layers without weights left.
        inputs: for each input of the layer, whether it does; one for all where their number is not known.
    """
    if id(layer) in empty:
        return [False]
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            inputs = [any(_reached(inner, empty, inputs))]
        return list(inputs)
    if isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth"):
        return _reached_in_graph(layer, empty, inputs)
    if type(layer) in _WRAPPERS:
        return _reached(layer.layer, empty, inputs)
    return [any(inputs)]


def _reached_in_graph(model: Any, empty: set[int], inputs: Sequence[bool]) -> list[bool]:
    reached = _each(model.inputs, inputs)
    for depth in sorted(model._nodes_by_depth, reverse=True):  # in the order that Keras runs them in
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                arguments = [reached[id(tensor)] for tensor in node.input_tensors]
                reached |= _each(node.outputs, _reached(node.operation, empty, arguments))
    return [reached[id(tensor)] for tensor in model.outputs]


def _each(tensors: Sequence[Any], reached: Sequence[bool]) -> dict[int, bool]:
    """Id of each tensor to whether it is reached, given one entry for each tensor or one for all."""
    if len(reached) != len(tensors):
        reached = [any(reached)] * len(tensors)
    return {id(tensor): way for tensor, way in zip(tensors, reached, strict=True)}
