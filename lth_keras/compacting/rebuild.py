"""Makes a model again without the channels that it does not need."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import keras
import numpy as np

from lth_keras.compacting.graph import Axis, Graph, Part
from lth_keras.compacting.liveness import Needed
from lth_keras.masking import copy_flags, copy_state, rebuild, variables, walk


def rebuilt(model: keras.Model, graph: Graph, found: Needed) -> keras.Model:
    """A model with the channels that stay; its weights are copies.

    Args:
        model: a Sequential or Functional model of plain layers.
        graph: its channels.
        found: which of them stay.
    """
    smaller = {id(part.layer): part for part in graph.parts.values() if _shrinks(part, found)}
    changes = {key: _changes(part, found) for key, part in smaller.items()}
    copy = keras.models.clone_model(model, clone_function=lambda layer: _remade(layer, changes), recursive=True)
    if isinstance(copy, keras.Sequential) and not copy.built:
        copy.build(model.input_shape)
    copies = dict(walk(copy))
    target, source = variables(copy), variables(model)
    for place, layer in walk(model):
        if id(layer) in smaller:
            _assign(smaller[id(layer)], copies[place], found)
            for key in _own(place, source):
                source.pop(key)
    for key, variable in source.items():
        target[key].assign(keras.ops.copy(variable))
    resized = [f"{place}/" for place, layer in walk(model) if id(layer) in smaller]
    for place, layer in walk(model):
        if any(f"{place}/".startswith(one) or one.startswith(f"{place}/") for one in resized):
            copy_flags(layer, copies[place])  # its sizes are not those of the copy
        elif not isinstance(layer, keras.layers.InputLayer):
            copy_state(layer, copies[place], place)
    return copy


def _own(place: str, source: Mapping[str, Any]) -> list[str]:
    """The keys of the variables of a layer and the layers inside it."""
    return [key for key in source if key.startswith(f"{place}/")]


def _shrinks(part: Part, found: Needed) -> bool:
    return not all(found.of(ids).all() for ids in part.channels.values())


def _changes(part: Part, found: Needed) -> dict[str, Any]:
    """The arguments of a layer that change."""
    changes: dict[str, Any] = {}
    for name, of in part.settings.items():
        count = int(found.of(part.channels[of]).sum())
        changes[name] = (*part.layer.target_shape[:-1], count) if name == "target_shape" else count
    if part.fold and not _has_bias(part) and _folded(part, found).any():
        changes["use_bias"] = True
    return changes


def _folded(part: Part, found: Needed) -> np.ndarray:
    """What the constants among the removed inputs add to the bias."""
    assert part.fold is not None
    constant = part.constant("in")
    gone = ~found.of(part.channels["in"]) & ~np.isnan(constant)
    return np.asarray(part.fold[1](np.where(gone, constant, 0.0)))


def _remade(layer: Any, changes: Mapping[int, Mapping[str, Any]]) -> Any:
    own = dict(changes.get(id(layer), {}))
    for name, key in (("layer", "layer"), ("forward_layer", "layer"), ("backward_layer", "backward_layer")):
        inner = getattr(layer, name, None)
        if id(inner) in changes and isinstance(layer, keras.layers.TimeDistributed | keras.layers.Bidirectional):
            config = layer.get_config()
            if key in config:
                smaller = {"config": {**config[key]["config"], **changes[id(inner)]}, "build_config": None}
                own[key] = {**config[key], **smaller}
    return rebuild(layer, own)


def _assign(part: Part, layer: Any, found: Needed) -> None:
    """Gives a smaller layer the weights that stay, and the constants in its bias."""
    kept = {name: found.of(ids) for name, ids in part.channels.items()}
    for name, axes in part.variables.items():
        if (variable := attrgetter(name)(part.layer)) is not None:
            value = keras.ops.convert_to_numpy(variable)
            attrgetter(name)(layer).assign(_taken(value, axes, kept))
    if part.fold and (added := _folded(part, found)).any():
        bias = attrgetter(part.fold[0])
        own = keras.ops.convert_to_numpy(bias(part.layer)) if _has_bias(part) else np.zeros(added.shape)
        bias(layer).assign(_taken((own + added).astype("float32"), part.variables[part.fold[0]], kept))


def _has_bias(part: Part) -> bool:
    return part.fold is not None and attrgetter(part.fold[0])(part.layer) is not None


def _taken(value: np.ndarray, axes: tuple[Axis | None, ...], kept: Mapping[str, np.ndarray]) -> np.ndarray:
    for number, axis in enumerate(axes):
        if axis is not None:
            value = np.take(value, axis.entries(kept[axis.of]), number)
    return value
