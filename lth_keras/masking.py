"""Masks on a whole model: convert it to masked layers and back, read and set its mask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lth_keras.layers import KINDS, MASKED_LAYERS, MaskedLayer, mask_name
from lth_keras.masks import Mask

_PLAIN_LAYERS = {masked: plain for plain, masked in MASKED_LAYERS.items()}


@dataclass(frozen=True)
class PrunableWeight:
    """A weight of a model that has a mask.

    Attributes:
        key: its place inside the model, `"<layer>/<weight>"`.
        variable: the Keras variable, unmasked.
        mask: the boolean Keras variable of the same shape.
        kind: `dense`, `conv`, `embedding` or `output`: what pruning rates go by.
    """

    key: str
    variable: Any
    mask: Any
    kind: str


def mask_model(model: keras.Model) -> keras.Model:
    """Returns the same function with masked layers: every argument of every layer, and all weights, are kept.

    Dense, Conv1D, Conv2D and Embedding layers become their masked counterparts, all True; every other layer is
    rebuilt from its configuration, also inside nested models and wrappers such as `TimeDistributed`. The result is
    not compiled. `model` is left as it is.

    Args:
        model: a Sequential or Functional model; masked layers in it keep their masks.

    Raises:
        TypeError: for a subclassed model. Write it with the layers of `lth_keras.layers`.
        ValueError: where the model has nothing to prune.
    """
    converted = _convert(model, MASKED_LAYERS)
    if not any(isinstance(layer, MaskedLayer) for _, layer in walk(converted)):
        kinds = ", ".join(layer.__name__ for layer in MASKED_LAYERS)
        found = sorted({type(layer).__name__ for _, layer in walk(model)})
        raise ValueError(f"Nothing to prune in model {model.name!r}. Expected one of {kinds}. Received: {found}.")
    return converted


def strip_masks(model: keras.Model) -> keras.Model:
    """Returns a plain Keras model with the same outputs: pruned weights are zeros, and lth_keras is not needed to load it.

    Args:
        model: a model with masked layers.

    Raises:
        TypeError: for a subclassed model.
        ValueError: where the model has no masked layer.
    """
    weights = prunable_weights(model)
    stripped = _convert(model, _PLAIN_LAYERS)
    values = variables(stripped)
    for weight in weights:
        value = keras.ops.convert_to_numpy(weight.variable) * keras.ops.convert_to_numpy(weight.mask)
        values[weight.key].assign(value)
    return stripped


def get_mask(model: keras.Model) -> Mask:
    """The masks of a model's prunable weights, by place inside the model.

    Raises:
        ValueError: where the model has no masked layer (`mask_model` makes them) or is not built.
    """
    return Mask({w.key: keras.ops.convert_to_numpy(w.mask) for w in prunable_weights(model)})


def set_mask(model: keras.Model, mask: Mapping[str, np.ndarray]) -> None:
    """Gives a model's prunable weights a mask; their values stay as they are.

    Args:
        model: a model with masked layers.
        mask: boolean arrays of the weights' shapes by place inside the model, as `get_mask` returns, or by
            `weight.path` where that is unique. All prunable weights must be there.

    Raises:
        ValueError: for a mask of another model; nothing is changed then.
    """
    weights = prunable_weights(model)
    paths = [w.variable.path for w in weights]
    by_path = {w.variable.path: w.key for w in weights if paths.count(w.variable.path) == 1}
    keys = {w.key for w in weights}
    checked = Mask({key if key in keys else by_path.get(key, key): value for key, value in mask.items()})
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
        if not layer.built:
            raise ValueError(f"Layer {place!r} is not built. Give the model an Input, or call it once.")
        kind = "output" if id(layer) in outputs else KINDS.get(type(layer), "dense")
        for name in layer.prunable:
            variable = layer.prunable_variable(name)
            weights.append(PrunableWeight(f"{place}/{name}", variable, getattr(layer, mask_name(name)), kind))
    if not weights:
        raise ValueError(f"Model {model.name!r} has no masked layer. Convert it with lth_keras.mask_model(model).")
    return weights


def variables(model: keras.Model) -> dict[str, Any]:
    """All weights of a model but its masks, by place inside the model: `{"dense/kernel": ..., "dense/bias": ...}`."""
    found: dict[str, Any] = {}
    for place, layer in walk(model):
        masks = {id(getattr(layer, mask_name(n), None)) for n in getattr(layer, "prunable", ())}
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if id(variable) not in masks:
                found[_unused(f"{place}/{variable.name}", found)] = variable
    return found


def seed_states(model: keras.Model) -> list[Any]:
    """The state variables of the model's random layers (dropout and the like), in the order of its layers."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights and "seed" in v.name]


def walk(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer of a model once, with its place: names joined by `/`, nested models and wrappers included.

    Names that Keras made up (`dense_7`) are counted anew within their parent (`dense`, `dense_1`, ...), and a masked
    layer is named as its plain counterpart: a place is the same in every copy of the model, masked or not.
    """
    yield from _walk(model, "", set())


def _walk(parent: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    names: dict[str, None] = {}
    for layer in _sublayers(parent):
        name = _unused(_canonical_name(layer), names)
        names[name] = None
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        place = f"{prefix}{name}"
        yield place, layer
        yield from _walk(layer, f"{place}/", seen)


def _sublayers(parent: Any) -> list[keras.layers.Layer]:
    if isinstance(parent, keras.Model):
        return parent.layers
    return list(parent._flatten_layers(include_self=False, recursive=False))


def _canonical_name(layer: keras.layers.Layer) -> str:
    plain = _PLAIN_LAYERS.get(type(layer), type(layer))
    stem = _snake_case(plain.__name__)
    made_up = re.fullmatch(rf"(masked_)?{re.escape(stem)}(_\d+)?", layer.name)
    return stem if made_up else layer.name


def _snake_case(name: str) -> str:
    # As Keras names layers: Conv2D -> conv2d, LayerNormalization -> layer_normalization.
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def _output_layers(model: keras.Model) -> set[int]:
    """Masked layers whose values reach a model output through layers without prunable weights only."""
    masked = [layer for _, layer in walk(model) if isinstance(layer, MaskedLayer)]
    if isinstance(model, keras.Sequential):
        return {id(masked[-1])} if masked else set()
    try:
        pending = [tensor._keras_history for tensor in keras.tree.flatten(model.outputs)]
    except (AttributeError, ValueError):  # a subclassed model has no graph: its last masked layer is its output
        return {id(masked[-1])} if masked else set()
    found, seen = set(), set()
    while pending:
        history = pending.pop()
        if (id(history.operation), history.node_index) in seen:
            continue
        seen.add((id(history.operation), history.node_index))
        operation = history.operation
        inside = [layer for _, layer in walk(operation) if isinstance(layer, MaskedLayer)] \
            if isinstance(operation, keras.layers.Layer) else []
        if isinstance(operation, MaskedLayer):
            found.add(id(operation))
        elif inside:
            found |= _output_layers(operation) if isinstance(operation, keras.Model) else {id(inside[-1])}
        else:
            node = operation._inbound_nodes[history.node_index]
            pending += [tensor._keras_history for tensor in node.input_tensors]
    return found


def _convert(model: keras.Model, replacements: Mapping[type, type]) -> keras.Model:
    """A copy of a model with layers replaced by class, and all variables (also masks, where both have them) copied."""
    try:
        copy = keras.models.clone_model(model, clone_function=lambda layer: _rebuild(layer, replacements), recursive=True)
    except ValueError as error:
        if isinstance(model, keras.Sequential) or hasattr(model, "_operations"):
            raise
        raise TypeError(
            f"Expected a Sequential or Functional model. Received: {type(model).__name__}, a subclassed model. "
            "Write it with the layers of lth_keras.layers, which take the Keras layers' arguments."
        ) from error
    target, source = variables(copy), variables(model)
    for key, variable in source.items():
        target[key].assign(variable)
    masked = {place: layer for place, layer in walk(copy) if isinstance(layer, MaskedLayer)}
    for place, layer in walk(model):
        if isinstance(layer, MaskedLayer) and place in masked:
            for name in map(mask_name, layer.prunable):
                getattr(masked[place], name).assign(getattr(layer, name))
    return copy


def _rebuild(layer: keras.layers.Layer, replacements: Mapping[type, type]) -> keras.layers.Layer:
    kind = replacements.get(type(layer), type(layer))
    return kind.from_config(_replace_in_config(layer.get_config(), replacements))


def _replace_in_config(config: Any, replacements: Mapping[type, type]) -> Any:
    """A configuration with the layers that it holds (as wrappers do) replaced by class."""
    if isinstance(config, list | tuple):
        return type(config)(_replace_in_config(item, replacements) for item in config)
    if not isinstance(config, dict):
        return config
    replaced = {key: _replace_in_config(value, replacements) for key, value in config.items()}
    for kind, replacement in replacements.items():
        if _class_entry(kind).items() <= config.items():
            replaced |= _class_entry(replacement)
    return replaced


def _class_entry(kind: type) -> dict[str, Any]:
    registered = keras.saving.get_registered_name(kind)
    if registered == kind.__name__:  # Keras' own
        return {"module": "keras.layers", "class_name": kind.__name__, "registered_name": None}
    return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": registered}
