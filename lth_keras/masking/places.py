"""Places: names of a model's layers and variables that are the same in every copy of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from lth_keras.layers import PLAIN_LAYERS, mask_name


def walk(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields every layer of a model once, with its place: names joined by `/`, nested models and wrappers included.

    Default names of Keras (`dense_7`) are counted anew within their parent (`dense`, `dense_1`, ...), and a masked
    layer has the name of its plain counterpart: a place is the same in every copy of the model, masked or not.
    """
    yield from _walk(model, "", set())


def variables(model: keras.Model) -> dict[str, Any]:
    """All weights of a model except masks, by place inside the model: `{"dense/kernel": ..., "dense/bias": ...}`."""
    found: dict[str, Any] = {}
    keys: dict[int, str] = {}
    for place, layer in walk(model):
        masks = {id(getattr(layer, mask_name(n), None)) for n in getattr(layer, "prunable", ())}
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if id(variable) not in masks:
                name = re.sub(r"^variable_\d+$", "variable", variable.name)  # Keras counts weights without a name
                if id(variable) in keys:  # SpectralNormalization lists the kernel of the layer inside as its own
                    del found[keys[id(variable)]]
                keys[id(variable)] = _unused(f"{place}/{name}", found)
                found[keys[id(variable)]] = variable
    return found


def seed_states(model: keras.Model) -> list[Any]:
    """The state variables of the model's random layers (dropout and the like), in the order of its layers."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights and "seed" in v.name]


def sublayers(parent: Any) -> list[keras.layers.Layer]:
    """The direct sublayers of a model, a wrapper or another layer."""
    if isinstance(parent, keras.Model):
        return parent.layers
    return list(parent._flatten_layers(include_self=False, recursive=False))


def _walk(parent: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    names: dict[str, None] = {}
    for layer in sublayers(parent):
        name = _unused(_canonical_name(layer, parent), names)
        names[name] = None
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        place = f"{prefix}{name}"
        yield place, layer
        yield from _walk(layer, f"{place}/", seen)


def _canonical_name(layer: keras.layers.Layer, parent: Any) -> str:
    plain = PLAIN_LAYERS.get(type(layer), type(layer))
    stem = snake_case(plain.__name__)
    # Bidirectional names its layers after the one that it was given: forward_lstm_3.
    direction = "(forward_|backward_)" if isinstance(parent, keras.layers.Bidirectional) else "()"
    # Keras names the inputs of a clone after tensors: keras_tensor_3.
    stems = f"{stem}|keras_tensor" if isinstance(layer, keras.layers.InputLayer) else f"(masked_)?{stem}"
    made_up = re.fullmatch(rf"{direction}({stems})(_\d+)?", layer.name)
    return made_up[1] + stem if made_up else layer.name


def snake_case(name: str) -> str:
    """A class's name as Keras names its layers: Conv2D -> conv2d, LayerNormalization -> layer_normalization."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate
