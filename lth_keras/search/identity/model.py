"""A model's configuration, and what of its layers it does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from lth_keras.masking import walk
from lth_keras.search.identity.values import describe_object, plain

_PLACES_OF_NAMES = ("name", "keras_history", "input_layers", "output_layers")
"""Where a model's configuration has names of layers. Elsewhere `softmax` is an activation."""


def describe_model(model: keras.Model) -> Any:
    """A model's configuration. Names that Keras made up, which count what a process has built, are counted anew.

    Lambdas are left out, as Keras stores them compiled, with the file and line that they are from: `describe_parts`
    has what they do.
    """
    try:
        config = plain(keras.saving.serialize_keras_object(model))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a model of layers with a configuration. Received: {error} Give the search `config=`, JSON "
            "values that identify it, or the layer a `get_config`."
        ) from error
    names: dict[str, str] = {}
    for name in _made_up_names(config):
        names.setdefault(name, f"{_without_count(name)}_{len(names)}")

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
    """What a model's configuration does not tell, by place of the layer: code and values of the user's own.

    Args:
        model: a model, or one layer.
        where: what it is to the search, for messages.

    Raises:
        ValueError: for what cannot be read.
    """
    layers = [*walk(model)] if isinstance(model, keras.Model) else [("", model), *walk(model)]
    found = {place: describe_object(layer, f"{where}, layer {place!r}") for place, layer in layers}
    return {place: told for place, told in found.items() if told}


def _made_up_names(config: Any) -> Iterator[str]:
    """Names like `dense_3`: the class in snake case, and a count. Bidirectional puts a direction before them."""
    if isinstance(config, dict):
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            stem = re.sub("^(forward|backward)_", "", _without_count(name))
            kind = str(config.get("class_name")).lower()
            # A masked copy of a layer keeps the name that Keras made up for the layer.
            if stem.replace("_", "") in (kind, kind.removeprefix("masked")):
                yield name
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _made_up_names(value)


def _without_count(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
