"""What decides the numbers of a search, as JSON: the name of its run directory is a hash of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from lth_keras.sampling import SAMPLES_PER_CLASS
from lth_keras.splits import SPLITS, part_of

_PARAMETERS = (
    "rates densities initialise steps epochs batch_size evaluate_every test_every score_at patience scope rewind "
    "min_per_layer seed jit_compile"
).split()
_ADDED = {
    "embeddings": "exact",
    "carry_step_count": False,
    "samples_per_class": SAMPLES_PER_CLASS,
    "schedule": "iterative",
    "shots": 1,
    "shot_schedule": "exponential",
    "masks_of_drawn": False,
    "cut_through": "refuse",
    "compact": False,
    "fused": False,
}
"""Later ones with what they are by default, which is left out, so that runs made before keep their names."""
_PLACES_OF_NAMES = ("name", "keras_history", "input_layers", "output_layers")
"""Where a model's configuration has names of layers. Elsewhere `softmax` is an activation."""


def describe(search: Any) -> dict[str, Any]:
    """The parameters of a `TicketSearch` with the configuration of its model and optimiser and a digest of its data.

    Builds a model and an optimiser for it. The same search is described by the same JSON in every process, whatever
    was built before in it. Functions (a criterion, a loss) go by their names: searches that differ in what lambdas
    do need a `config` of their own.
    """
    parameters = {name: getattr(search, name) for name in _PARAMETERS if getattr(search, name) is not None}
    parameters |= {name: getattr(search, name) for name, default in _ADDED.items() if getattr(search, name) != default}
    rates = search.rates
    optimizer = search.optimizer()
    result: dict[str, Any] = _plain(
        {
            **parameters,
            **({} if rates is None else {"rates": dict(rates) if isinstance(rates, Mapping) else rates}),
            "criterion": search.criterion if isinstance(search.criterion, str) else _name(search.criterion),
            "loss": search.loss if isinstance(search.loss, str) else _loss(search.loss),
            "optimizer": {**optimizer.get_config(), "name": _name(type(optimizer))},
            "model": describe_model(search.build()),
            "data": digest(search.data(search.seed) if callable(search.data) else search.data),
            "backend": keras.backend.backend(),
        }
    )
    return result


def describe_model(model: keras.Model) -> Any:
    """A model's configuration. Names that Keras made up, which count what a process has built, are counted anew."""
    config = _plain(keras.saving.serialize_keras_object(model))
    names: dict[str, str] = {}
    for name in _made_up_names(config):
        names.setdefault(name, f"{_without_count(name)}_{len(names)}")

    def rename(item: Any, place: str) -> Any:
        if isinstance(item, dict):
            kept = {key: value for key, value in item.items() if key != "compile_config"}
            return {key: rename(value, place if place in _PLACES_OF_NAMES else key) for key, value in kept.items()}
        if isinstance(item, list):
            return [rename(value, place) for value in item]
        return names.get(item, item) if isinstance(item, str) and place in _PLACES_OF_NAMES else item

    return rename(config, "")


def digest(data: Any) -> str:
    """SHA-256 over the arrays of all splits: dtypes, shapes and values."""
    sha = hashlib.sha256()
    for name in SPLITS:
        for array in map(np.ascontiguousarray, part_of(data, name)):
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.data.cast("B") if array.size else b"")
    return sha.hexdigest()


def _made_up_names(config: Any) -> Iterator[str]:
    """Names like `dense_3`: the class in snake case, and a count. Bidirectional puts a direction before them."""
    if isinstance(config, dict):
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            stem = re.sub("^(forward|backward)_", "", _without_count(name))
            if stem.replace("_", "") == str(config.get("class_name")).lower():
                yield name
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _made_up_names(value)


def _without_count(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _loss(loss: Any) -> Any:
    return {"class": _name(type(loss)), **loss.get_config()} if hasattr(loss, "get_config") else _name(loss)


def _plain(config: Any) -> Any:
    """The same as JSON values; what is none goes by its text, without addresses in memory."""
    return json.loads(json.dumps(config, default=lambda item: re.sub(r" at 0x[0-9a-f]+", "", str(item))))
