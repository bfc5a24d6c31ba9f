"""A model's configuration, and the user's own code and values in its layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from lth_keras.masking import walk
from lth_keras.search.identity.values import describe_object, plain, stem_of

_PLACES_OF_NAMES = ("name", "keras_history", "input_layers", "output_layers")
"""Keys of a model's configuration whose values are names of layers. Elsewhere `softmax` is an activation."""


def describe_model(model: keras.Model) -> Any:
    """A model's configuration, in which names that Keras generates are numbered within the model.

    Keras numbers them by all layers that the process has built. Lambdas are left out, since Keras stores their compiled
    code with file and line; `describe_parts` describes their source.
    """
    try:
        config = plain(keras.saving.serialize_keras_object(model))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a model whose layers have a configuration. Received: {error} Pass `config=`, JSON values that "
            "identify the search, or add `get_config` to the layer."
        ) from error
    names: dict[str, str] = {}
    for name in _made_up_names(config):
        names.setdefault(name, f"{stem_of(name)}_{len(names)}")

    def rename(item: Any, place: str) -> Any:
        if isinstance(item, dict):
            if item.get("class_name") == "__lambda__":
                return {"class_name": "__lambda__"}
            kept = {key: value for key, value in item.items() if key != "compile_config"}
            return {key: rename(value, place if place in _PLACES_OF_NAMES else key) for key, value in kept.items()}
        if isinstance(item, list):
            return [rename(value, place) for value in item]
        return names.get(item, item) if isinstance(item, str) and place in _PLACES_OF_NAMES else item

    return rename(config, "")


def describe_parts(model: keras.layers.Layer, where: str) -> dict[str, Any]:
    """The user's own code and values, which a model's configuration does not contain, by path of the layer.

    Args:
        model: a model, or one layer.
        where: its name in error messages.

    Raises:
        ValueError: for functions or values that cannot be read.
    """
    layers = [*walk(model)] if isinstance(model, keras.Model) else [("", model), *walk(model)]
    found = {place: describe_object(layer, f"{where}, layer {place!r}") for place, layer in layers}
    return {place: own for place, own in found.items() if own}


def _made_up_names(config: Any) -> Iterator[str]:
    """Generated names such as `dense_3`: the class in snake case and a count, after a direction in Bidirectional."""
    if isinstance(config, dict):
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            stem = re.sub("^(forward|backward)_", "", stem_of(name))
            kind = str(config.get("class_name")).lower()
            # A masked copy of a layer keeps the name that Keras generated for the layer.
            if stem.replace("_", "") in (kind, kind.removeprefix("masked")):
                yield name
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _made_up_names(value)
