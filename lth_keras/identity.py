"""What decides the numbers of a search, as JSON: the name of its run directory is a hash of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.masking import walk

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch

_PARAMETERS = (
    "rates steps epochs batch_size evaluate_every test_every scope rewind min_per_layer seed jit_compile".split()
)


def describe(search: TicketSearch) -> dict[str, Any]:
    """The parameters of a search with the configuration of its model and optimiser and a digest of its data.

    Builds a model and an optimiser for it. Names that Keras makes up are replaced by places, so that a second
    description is the same.
    """
    parameters = {name: getattr(search, name) for name in _PARAMETERS if getattr(search, name) is not None}
    rates = search.rates
    optimizer = search.optimizer().get_config()
    optimizer.pop("name", None)
    return _plain(
        {
            **parameters,
            "rates": dict(rates) if isinstance(rates, Mapping) else rates,
            "criterion": search.criterion if isinstance(search.criterion, str) else _name(search.criterion),
            "loss": search.loss if isinstance(search.loss, str) else _loss(search.loss),
            "optimizer": optimizer,
            "model": describe_model(search.build()),
            "data": digest(search.data(search.seed) if callable(search.data) else search.data),
            "backend": keras.backend.backend(),
        }
    )


def describe_model(model: keras.Model) -> Any:
    """A model's configuration with layers named by their place inside it."""
    places = {layer.name: place for place, layer in walk(model)}
    places[model.name] = "model"
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model), default=str))

    def rename(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: rename(value) for key, value in item.items() if key != "compile_config"}
        if isinstance(item, list):
            return [rename(value) for value in item]
        return places.get(item, item) if isinstance(item, str) else item

    return rename(config)


def digest(data: Any) -> str:
    """SHA-256 over the arrays of all splits: dtypes, shapes and values."""
    sha = hashlib.sha256()
    for name in ("train", "validation", "test"):
        part = data[name] if isinstance(data, Mapping) else getattr(data, name)
        for array in map(np.ascontiguousarray, part):
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.data.cast("B") if array.size else b"")
    return sha.hexdigest()


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _loss(loss: Any) -> Any:
    return {"class": _name(type(loss)), **loss.get_config()} if hasattr(loss, "get_config") else _name(loss)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return result
