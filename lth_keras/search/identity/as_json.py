"""The parameters of a search as JSON; functions are described by their source."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.backends import ordered, output_names
from lth_keras.data import SPLITS, Stream, fingerprint, is_stream, part_in_order, sample_weights_of, split_of
from lth_keras.layers import PLAIN_LAYERS, registrations
from lth_keras.masking import settled_seeds, walk
from lth_keras.search.identity.model import describe_model, describe_parts
from lth_keras.search.identity.source import is_library
from lth_keras.search.identity.values import (
    describe_object,
    describe_value,
    given_only,
    name_of_type,
    plain,
    without_count,
)
from lth_keras.search.parameters import hashed
from lth_keras.search.variants import recorded_names
from lth_keras.training.engines import AUTO, identity_of

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch

_AMBIGUOUS = ("<lambda>", "<locals>", "__lambda__", '"partial"', '"closure"', '"method"', '"wrapped"', '"given"')
"""Parts of a description that functions' names alone, as in older runs, do not distinguish."""


def digest(data: Any, model: keras.Model | None = None) -> str:
    """SHA-256 over the arrays of all splits: dtypes, shapes and values; over what is known of streams.

    Args:
        data: see `Network.load`.
        model: the model with these inputs and outputs; None for one of each.
    """
    sha = hashlib.sha256()
    streams = [name for name in SPLITS if is_stream(split_of(data, name))]
    for name in streams:
        sha.update(f"{name} stream".encode() + fingerprint(Stream(name, split_of(data, name))))
    parts: list[tuple[str, Sequence[Any]]] = [
        (name, [array for of_pair in part_in_order(data, name, model) for array in of_pair])
        for name in SPLITS
        if name not in streams
    ]
    weights = sample_weights_of(data)
    for name, part in parts if weights is None else [*parts, ("sample_weight", (weights,))]:
        for array in map(np.ascontiguousarray, part):
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.data.cast("B") if array.size else b"")
    return sha.hexdigest()


def describe(search: TicketSearch, **replaced: Any) -> dict[str, Any]:
    """The parameters of a `TicketSearch`, the configurations of its model and optimiser, and a digest of its data.

    Builds a model and an optimiser. A search has the same JSON in every process, whatever the process has built
    before. The user's own functions and classes (a criterion, a loss, an activation, a layer) are described by their
    source and the values that they hold, see `describe_value`; a function `data` by its data for the first trial.

    Args:
        search: the search.
        replaced: parameters that replace its own.

    Raises:
        ValueError: for functions or values that cannot be read; such a search needs `config`.
    """
    parameters = {**search.parameters, "test_every": search.test_every, **replaced}
    given = search.given.digest
    with settled_seeds():
        model = parameters["build"]()
    for name in ("loss", "loss_weights"):
        parameters[name] = _in_order(name, model, parameters[name])
    optimizer, data, metric = parameters["optimizer"](), parameters["data"], parameters["metric"]
    criterion, start = parameters["criterion"], parameters["start"]
    code = given_only(
        {
            "model": describe_parts(model, "build"),
            "optimizer": describe_object(optimizer, "optimizer"),
            "files": dict(_learned_files(criterion, start)),
        }
    )
    result: dict[str, Any] = plain(
        {
            **recorded_names(hashed(parameters)),
            **{name: describe_value(value, name) for name, value in recorded_names({"start": start}).items()},
            **identity_of(parameters["engine"]),
            "criterion": describe_value(criterion, "criterion"),
            "loss": _loss(parameters["loss"]),
            "optimizer": _optimizer(optimizer),
            "model": describe_model(model),
            "data": digest(search.taken(data(parameters["seed"])) if callable(data) else data, model),
            "backend": keras.backend.backend(),
            **given_only(
                {
                    "given": given,
                    "metric": _metric(metric),
                    "code": code,
                    "registered": _registered_types(model),
                    "start_mask": describe_value(parameters["start_mask"], "start_mask"),
                }
            ),
        }
    )
    return result


def former(search: TicketSearch, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """The older description of a search, with functions by name; None if it is equal to `described` or ambiguous.

    Args:
        search: the search.
        described: its description by `describe`.
    """
    if isinstance(search.loss, list | tuple | Mapping):
        return None
    own = {name: described.get(name) for name in ("criterion", "loss", "code")}
    held = any(isinstance(own[name], dict) and "values" in json.dumps(own[name]) for name in ("criterion", "loss"))
    text = json.dumps([own, described["model"]])
    if "given" in described or held or any(word in text for word in _AMBIGUOUS):
        return None
    loss = search.loss
    if not isinstance(loss, str):
        config = plain(loss.get_config()) if hasattr(loss, "get_config") else None
        loss = name_of_type(loss) if config is None else {"class": name_of_type(type(loss)), **config}
    asked = search.pruning.criterion
    criterion = asked if isinstance(asked, str) else name_of_type(asked)
    before = {name: value for name, value in described.items() if name != "code"}
    before |= {"criterion": criterion, "loss": loss}
    return None if before == described else before


def describe_changes(changes: Mapping[str, Any], seed: int, build: Callable[[], keras.Model]) -> dict[str, Any]:
    """The parameters that a variant changes, as JSON.

    Args:
        changes: parameter to value.
        seed: seed of the first trial.
        build: makes the search's model.

    Raises:
        ValueError: for functions or values that cannot be read.
    """
    own = {name: value for name, value in recorded_names(changes).items() if name != "engine"}
    build = changes.get("build", build)
    described = {name: _changed(name, value, seed, build) for name, value in own.items()}
    result: dict[str, Any] = plain({**described, **identity_of(changes.get("engine", AUTO))})
    return result


def _registered_types(model: keras.Model) -> dict[str, Any]:
    """The prunable weights of the model's layer types that `register_prunable` has added, by name of the class."""
    present = {PLAIN_LAYERS.get(type(layer), type(layer)) for _, layer in walk(model)}
    return {kind.__name__: weights for kind, weights, _ in registrations() if kind in present}


def _metric(metric: Any) -> Any:
    if not hasattr(metric, "get_config"):
        return describe_value(metric, "metric")
    return {"class": name_of_type(type(metric)), **without_count(metric.get_config(), type(metric))}


def _changed(name: str, value: Any, seed: int, build: Callable[[], keras.Model]) -> Any:
    if isinstance(value, str):  # a learned criterion is identified by its file's digest, not by its path
        for path, file_digest in _learned_files(value):
            value = value.replace(f"learned({path})", f"learned({file_digest})")
        return value
    if name == "build":
        model = value()
        return {"model": describe_model(model), "code": describe_parts(model, "build")}
    if name == "optimizer":
        optimizer = value()
        return {**_optimizer(optimizer), "code": describe_object(optimizer, "optimizer")}
    if name == "data":
        with settled_seeds():
            model = build()
        return digest(value(seed) if callable(value) else value, model)
    return _loss(value) if name == "loss" else describe_value(value, name)


def _in_order(name: str, model: keras.Model, given: Any) -> Any:
    """Entries for several outputs as a list; other values are returned as they are."""
    several = len(model.outputs) > 1 and isinstance(given, list | tuple | Mapping)
    return list(ordered(f"Expected {name}", output_names(model), given)) if several else given


def _loss(loss: Any) -> Any:
    if isinstance(loss, Mapping):
        return {name: _loss(one) for name, one in loss.items()}
    if isinstance(loss, list | tuple):
        return [_loss(one) for one in loss]
    if not hasattr(loss, "get_config") or isinstance(loss, type):
        return describe_value(loss, "loss")
    return {"class": _class_name(loss), **_config(loss, "loss"), **given_only({"code": describe_object(loss, "loss")})}


def _optimizer(optimizer: Any) -> dict[str, Any]:
    return {**_config(optimizer, "optimizer"), "name": _class_name(optimizer)}


def _class_name(item: Any) -> str:
    kind = type(item)
    return name_of_type(kind) if is_library(kind.__module__) else kind.__qualname__


def _config(item: Any, where: str) -> dict[str, Any]:
    try:
        config = without_count(item.get_config(), type(item))
    except NotImplementedError as error:
        raise ValueError(
            f"Expected {where} with a configuration. Received: {error} Pass `config=`, JSON values that identify the "
            "search."
        ) from error
    found: dict[str, Any] = _without_lambdas(plain(config))
    return found


def _without_lambdas(config: Any) -> Any:
    """A configuration without the compiled code of lambdas, which depends on their file."""
    if isinstance(config, dict):
        if config.get("class_name") == "__lambda__":
            return {"class_name": "__lambda__"}
        return {name: _without_lambdas(value) for name, value in config.items()}
    return [_without_lambdas(item) for item in config] if isinstance(config, list) else config


def _learned_files(*names: Any) -> Iterator[tuple[str, str]]:
    """The files of the learned criteria in these names, each with a digest, since a file can be replaced."""
    for name in names:
        for path in re.findall(r"learned\(([^()]*)\)", name) if isinstance(name, str) else ():
            try:
                yield path, hashlib.sha256(Path(path.strip()).read_bytes()).hexdigest()
            except OSError:
                continue  # reading the criterion raises the error
