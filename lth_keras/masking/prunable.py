"""The prunable weights of a model: which they are, of what kind, and their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lth_keras.layers import KINDS, MaskedLayer, mask_name
from lth_keras.lazy import LazyArrays
from lth_keras.masking.places import sublayers, walk
from lth_keras.masks import Mask


@dataclass(frozen=True)
class PrunableWeight:
    """A weight of a model that has a mask.

    Attributes:
        key: its place inside the model, `"<layer>/<weight>"`.
        layer: the masked layer that has it.
        variable: the Keras variable, unmasked.
        mask: the boolean Keras variable of the same shape.
        kind: `dense`, `conv`, `embedding` or `output`: what pruning rates go by.
    """

    key: str
    layer: Any
    variable: Any
    mask: Any
    kind: str


def get_mask(model: keras.Model) -> Mask:
    """The masks of a model's prunable weights, by place inside the model.

    Raises:
        ValueError: where the model has no masked layer (`mask_model` makes them) or is not built.
    """
    masks = {weight.key: weight.mask for weight in prunable_weights(model)}
    shapes = {key: tuple(mask.shape) for key, mask in masks.items()}
    return Mask(LazyArrays(shapes, lambda key: keras.ops.convert_to_numpy(masks[key])))


def set_mask(model: keras.Model, mask: Mapping[str, np.ndarray]) -> None:
    """Gives a model's prunable weights a mask; their values stay as they are.

    Args:
        model: a model with masked layers.
        mask: boolean arrays of the weights' shapes by place inside the model, as `get_mask` returns, or by
            `weight.path` where that is unique. All prunable weights must be there.

    Raises:
        ValueError: for a mask of another model, or a quantised model; nothing is changed then.
    """
    weights = prunable_weights(model)
    quantised = [w.key for w in weights if w.layer.quantization_mode is not None]
    if quantised:
        raise ValueError(f"Expected a model to be pruned before it is quantised. Received: {quantised} quantised.")
    # As a whole: "dense_1/kernel" can be the place of one weight and the path of another.
    if not mask.keys() <= {w.key for w in weights}:
        paths = [w.variable.path for w in weights]
        by_path = {w.variable.path: w.key for w in weights if paths.count(w.variable.path) == 1}
        mask = {by_path.get(key, key): value for key, value in mask.items()}
    checked = Mask(mask)
    checked.check_same_weights({w.key: tuple(w.mask.shape) for w in weights})
    for weight in weights:
        weight.mask.assign(checked[weight.key])


def prunable_weights(model: keras.Model) -> list[PrunableWeight]:
    """The prunable weights of a model with masked layers, in the order of its layers.

    Raises:
        ValueError: where there is none, or a masked layer is not built.
    """
    outputs = _output_layers(model)
    weights = []
    for place, layer in walk(model):
        if not isinstance(layer, MaskedLayer):
            continue
        if not layer.built:  # type: ignore[attr-defined]
            raise ValueError(f"Layer {place!r} is not built. Give the model an Input, or call it once.")
        own_kind = next((kind for masked, kind in KINDS.items() if isinstance(layer, masked)), "dense")
        kind = "output" if id(layer) in outputs else own_kind
        for name in layer.prunable:
            variable = layer.prunable_variable(name)
            weights.append(PrunableWeight(f"{place}/{name}", layer, variable, getattr(layer, mask_name(name)), kind))
    if not weights:
        raise ValueError(f"Model {model.name!r} has no masked layer. Convert it with lth_keras.mask_model(model).")
    return weights


def _output_layers(layer: Any) -> set[int]:
    """Masked layers inside `layer` whose values reach its outputs through layers without prunable weights only."""
    if isinstance(layer, MaskedLayer):
        return {id(layer)}
    inside = [inner for inner in sublayers(layer) if _holds_masked(inner)]
    if not inside:
        return set()
    try:
        pending = [tensor._keras_history for tensor in keras.tree.flatten(layer.outputs)]
    except (AttributeError, ValueError):  # a Sequential model not yet built, a wrapper, a subclassed model: no graph
        return _output_layers(inside[-1])
    found: set[int] = set()
    seen = set()
    while pending:
        history = pending.pop()
        if (id(history.operation), history.node_index) in seen:
            continue
        seen.add((id(history.operation), history.node_index))
        operation = history.operation
        if isinstance(operation, keras.layers.Layer) and _holds_masked(operation):
            found |= _output_layers(operation)
        else:
            node = operation._inbound_nodes[history.node_index]
            pending += [tensor._keras_history for tensor in node.input_tensors]
    return found


def _holds_masked(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, MaskedLayer) or any(isinstance(inner, MaskedLayer) for _, inner in walk(layer))
