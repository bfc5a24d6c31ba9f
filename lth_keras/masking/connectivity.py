"""Whether a pruned network still passes anything from its inputs to its outputs."""

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

    A layer without any weight left passes nothing on: its output is its bias. Where an output can be reached through
    such layers only, the network is cut through; a layer in a parallel branch, or beside a skip connection, does not
    cut it. Sequential and Functional models are looked into, also nested, and inside `TimeDistributed` and
    `SpectralNormalization`. The graph of a subclassed model, or of a layer of the user's own, is not known: it cannot
    be checked, and passes. Nor are single units looked at: a layer with one weight left passes.

    Args:
        model: a built model with masked layers; the masks that it has do not matter.
        mask: a mask for it, by place inside the model.

    Raises:
        ValueError: where the network is cut through, naming the weights of which none is left.
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
    kept: dict[int, int] = {}
    for weight in prunable_weights(model):
        kept[id(weight.layer)] = kept.get(id(weight.layer), 0) + counts[weight.key]
    empty = {layer for layer, count in kept.items() if count == 0}
    return not empty or all(_reached(model, empty, [True]))


def _reached(layer: Any, empty: set[int], inputs: Sequence[bool]) -> list[bool]:
    """Which outputs of a layer or model are reached, given which of its inputs are; one for all where it is one layer.

    Args:
        layer: a layer, a model or an operation of a graph.
        empty: ids of the layers that pass nothing on.
        inputs: for each input whether it is reached; one for all where their number is not known.
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
    """By tensor, whether it is reached: one entry for each, or for all of them together."""
    if len(reached) != len(tensors):
        reached = [any(reached)] * len(tensors)
    return {id(tensor): way for tensor, way in zip(tensors, reached, strict=True)}
