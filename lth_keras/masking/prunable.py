"""The prunable weights of a model: their keys, kinds and masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.layers import MaskedLayer, has_lora
from lth_keras.mask import Mask
from lth_keras.masking.places import sublayers, variables, walk
from lth_keras.system import shown


@dataclass(frozen=True)
class PrunableWeight:
    """A weight of a model that has a mask.

    Attributes:
        key: its place inside the model, `"<layer>/<weight>"`.
        name: of the weight within its layer.
        layer: the masked layer that prunes it.
        holder: the layer that has the variable: `layer`, or one inside it.
        variable: the Keras variable, unmasked.
        mask: the boolean Keras variable of the same shape.
        kind: `dense`, `conv`, `embedding` or `output`: decides the pruning rate.
    """

    key: str
    name: str
    layer: Any
    holder: Any
    variable: Any
    mask: Any
    kind: str


class Update(NamedTuple):
    """The update that LoRA adds to a weight: `scale * a @ b`.

    Attributes:
        a: key of the first factor among the model's variables.
        b: key of the second.
        scale: LoRA's alpha divided by its rank.
    """

    a: str
    b: str
    scale: float


def lora_updates(model: keras.Model) -> dict[str, Update]:
    """The updates that LoRA adds to prunable weights, by the weights' keys; the mask holds for the sums."""
    return {weight.key: _update(weight) for weight in prunable_weights(model) if has_lora(weight.holder)}


def _update(weight: PrunableWeight) -> Update:
    place, _, name = weight.key.rpartition("/")
    return Update(
        f"{place}/lora_{name}_a", f"{place}/lora_{name}_b", weight.holder.lora_alpha / weight.holder.lora_rank
    )


def check_is_model(model: Any) -> None:
    """Raises TypeError for an object that is no Keras model or layer."""
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"Expected a Keras model. Received: {shown(model)}.")


def get_mask(model: keras.Model) -> Mask:
    """The masks of a model's prunable weights, by place inside the model.

    Raises:
        TypeError: for an object that is no model.
        ValueError: where the model has no masked layer (`mask_model` makes them) or is not built.
    """
    masks = {weight.key: weight.mask for weight in prunable_weights(model)}
    shapes = {key: tuple(mask.shape) for key, mask in masks.items()}
    return Mask(LazyArrays(shapes, lambda key: keras.ops.convert_to_numpy(masks[key])))


def set_mask(model: keras.Model, mask: Mapping[str, np.ndarray], *, by: str | None = None) -> None:
    """Gives a model's prunable weights a mask; their values stay as they are.

    Args:
        model: a model with masked layers.
        mask: boolean arrays of the weights' shapes, or zeros and ones, by place inside the model, as `get_mask`
            returns, or by `weight.path` where that is unique. All prunable weights must be there.
        by: what the keys are, `place` or `path`. With None the keys of a `Mask` are places where they can be; keys of
            another mapping that can be both are an error, since Keras counts names in the order in which layers are
            made, and places are counted in the order of the model.

    Raises:
        TypeError: for a mask that is not a mapping, or an object that is no model.
        ValueError: for a mask of another model, keys that can be places and paths, or a quantised model; nothing is
            changed then.
    """
    if not isinstance(mask, Mapping):
        raise TypeError(
            "Expected a mapping of each prunable weight's place to a boolean array, as get_mask(model) returns. "
            f"Received: a {type(mask).__name__}."
        )
    weights = prunable_weights(model)
    check_not_quantised(weights)
    if by not in (None, "place", "path"):
        raise ValueError(f"Expected by to be 'place', 'path' or None. Received: {by!r}.")
    if by != "place":
        mask = _by_place(mask, weights, by)
    _check_weights(mask, weights)
    checked = Mask(mask)
    for weight in weights:
        weight.mask.assign(checked[weight.key])


def check_not_quantised(weights: Sequence[PrunableWeight]) -> None:
    """Raises ValueError for weights of quantised layers, which hold the zeros of their masks."""
    quantised = [weight.key for weight in weights if weight.holder.quantization_mode is not None]
    if quantised:
        raise ValueError(
            f"Expected a model to be pruned before it is quantised. Received: {', '.join(quantised)} quantised."
        )


def _by_place(mask: Mapping[str, Any], weights: list[PrunableWeight], by: str | None) -> Mapping[str, Any]:
    """The mask by places, of keys that may be paths. One weight's path can be another's place, so all are read alike.

    Raises:
        ValueError: where both readings fit and differ.
    """
    paths = [w.variable.path for w in weights]
    by_path = {w.variable.path: w.key for w in weights if paths.count(w.variable.path) == 1}
    read = {by_path.get(key, key): value for key, value in mask.items()}
    if by == "path" or not mask.keys() <= {w.key for w in weights}:
        return read
    differing = [key for key in mask if by_path.get(key, key) != key]
    if not isinstance(mask, Mask) and differing and mask.keys() == by_path.keys() and _fits(read, weights):
        raise ValueError(
            f"Expected keys that say which weight they mean. Received: {', '.join(differing)}, each the place of one "
            "weight and the path of another, since layers were made in another order than they are used in. Say "
            "by='place', if they are keys of get_mask, or by='path'."
        )
    return mask


def _fits(mask: Mapping[str, Any], weights: list[PrunableWeight]) -> bool:
    return all(np.shape(mask[w.key]) == tuple(w.mask.shape) for w in weights)


def _check_weights(mask: Mapping[str, Any], weights: list[PrunableWeight]) -> None:
    """Checks that a mask has an array of the right shape for each prunable weight, and no other."""
    shapes = {w.key: tuple(w.mask.shape) for w in weights}
    given = mask.shapes if isinstance(mask, Mask) else {key: np.shape(value) for key, value in mask.items()}
    findings = {
        "missing": [key for key in shapes if key not in given],
        "unexpected": [str(key) for key in given if key not in shapes],
        "shapes": [f"{key} is {given[key]} instead of {s}" for key, s in shapes.items() if given.get(key, s) != s],
    }
    if any(findings.values()):
        found = "; ".join(f"{name}: {', '.join(what)}" for name, what in findings.items() if what)
        raise ValueError(
            f"Expected a mask of all {len(shapes)} prunable weights of the model, {', '.join(shapes)}. Received: "
            f"{found}. To change some, start from dict(get_mask(model))."
        )


def prunable_weights(model: keras.Model) -> list[PrunableWeight]:
    """The prunable weights of a model with masked layers, in the order of its layers.

    Raises:
        TypeError: for an object that is no model or layer.
        ValueError: for a model without masked layers, or with one that is not built.
    """
    check_is_model(model)
    outputs = output_layers(model)
    keys = {id(variable): key for key, variable in variables(model).items()}
    weights = []
    for place, layer in walk(model):
        if not isinstance(layer, MaskedLayer):
            continue
        if not layer.built:  # type: ignore[attr-defined]
            raise ValueError(f"Layer {place!r} is not built. Give the model an Input, or call it once.")
        kind = "output" if id(layer) in outputs else layer.kind_of_layer
        for weight in layer.masked_weights():
            key = keys[id(weight.variable)]
            weights.append(PrunableWeight(key, weight.name, layer, weight.holder, weight.variable, weight.mask, kind))
    if not weights:
        raise ValueError(f"Model {model.name!r} has no masked layer. Convert it with lth_keras.mask_model(model).")
    return weights


def _is_masked(layer: Any) -> bool:
    return isinstance(layer, MaskedLayer)


def output_layers(layer: Any, counts: Callable[[Any], bool] = _is_masked) -> set[int]:
    """Ids of the last masked layers inside `layer`: only layers without masks lie between them and its outputs.

    Args:
        layer: a layer or model.
        counts: whether a layer counts as masked.
    """
    if counts(layer):
        return {id(layer)}
    inside = [inner for inner in sublayers(layer) if _holds(inner, counts)]
    if not inside:
        return set()
    try:
        pending = [tensor._keras_history for tensor in keras.tree.flatten(layer.outputs)]
    except (AttributeError, ValueError):  # a Sequential model not yet built, a wrapper, a subclassed model: no graph
        return output_layers(inside[-1], counts)
    found: set[int] = set()
    seen = set()
    while pending:
        history = pending.pop()
        if (id(history.operation), history.node_index) in seen:
            continue
        seen.add((id(history.operation), history.node_index))
        operation = history.operation
        if isinstance(operation, keras.layers.Layer) and _holds(operation, counts):
            found |= output_layers(operation, counts)
        else:
            node = operation._inbound_nodes[history.node_index]
            pending += [tensor._keras_history for tensor in node.input_tensors]
    return found


def _holds(layer: keras.layers.Layer, counts: Callable[[Any], bool]) -> bool:
    return counts(layer) or any(counts(inner) for _, inner in walk(layer))
