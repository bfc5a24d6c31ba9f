"""Masks on a whole model: convert it to masked layers and back, read and set its mask."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


def mask_model(model: keras.Model) -> keras.Model:
    """Returns the same function with masked layers: every argument of every layer, and all weights, are kept.

    Dense, Conv1D, Conv2D and Embedding layers become their masked counterparts, all True; every other layer is
    rebuilt from its configuration, also inside nested models and wrappers such as `TimeDistributed`. The result is
    not compiled. `model` is left as it is. Subclasses of these layers, and layers inside layers of the user's own, stay
    as they are; the latter with a warning.

    Args:
        model: a Sequential or Functional model; masked layers in it keep their masks.

    Raises:
        TypeError: for a subclassed model. Write it with the layers of `lth_keras.layers`.
        ValueError: where the model has nothing to prune, or cannot be copied.
    """
    converted = _convert(model, MASKED_LAYERS)
    if not any(isinstance(layer, MaskedLayer) for _, layer in walk(converted)):
        kinds = ", ".join(layer.__name__ for layer in MASKED_LAYERS)
        found = sorted({type(layer).__name__ for _, layer in walk(model)})
        raise ValueError(f"Nothing to prune in model {model.name!r}. Expected one of {kinds}. Received: {found}.")
    left = [place for place, layer in walk(converted) if type(layer) in MASKED_LAYERS]
    if left:
        warnings.warn(f"Not masked, since they are part of a layer of another class: {left}.", stacklevel=2)
    return converted


def strip_masks(model: keras.Model) -> keras.Model:
    """Returns a plain Keras model with the same outputs: pruned weights are zeros, and it loads without lth_keras.

    Args:
        model: a model with masked layers.

    Raises:
        TypeError: for a subclassed model, or a subclass of a masked layer.
        ValueError: where the model has no masked layer.
    """
    weights = prunable_weights(model)
    foreign = sorted({type(w.layer).__name__ for w in weights if type(w.layer) not in _PLAIN_LAYERS})
    if foreign:
        raise TypeError(f"Expected masked layers of lth_keras.layers, not subclasses of them. Received: {foreign}.")
    stripped = _convert(model, _PLAIN_LAYERS)
    values = variables(stripped)
    for weight in weights:
        if weight.layer.quantization_mode is not None:
            continue  # it was quantised with zeros in place
        place, _, name = weight.key.rpartition("/")
        mask = keras.ops.convert_to_numpy(weight.mask)
        # The public property includes an update by LoRA; it is merged, as it is where Keras saves the layer.
        value = keras.ops.convert_to_numpy(getattr(weight.layer, name))
        values[weight.key].assign(np.where(mask, value, np.zeros_like(value)))
        if weight.layer.lora_enabled:
            update = values[f"{place}/lora_{name}_b"]
            update.assign(np.zeros(update.shape))
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


def variables(model: keras.Model) -> dict[str, Any]:
    """All weights of a model but its masks, by place inside the model: `{"dense/kernel": ..., "dense/bias": ...}`."""
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


def walk(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer of a model once, with its place: names joined by `/`, nested models and wrappers included.

    Names that Keras made up (`dense_7`) are counted anew within their parent (`dense`, `dense_1`, ...), and a masked
    layer is named as its plain counterpart: a place is the same in every copy of the model, masked or not.
    """
    yield from _walk(model, "", set())


def _walk(parent: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    names: dict[str, None] = {}
    for layer in _sublayers(parent):
        name = _unused(_canonical_name(layer, parent), names)
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


def _canonical_name(layer: keras.layers.Layer, parent: Any) -> str:
    plain = _PLAIN_LAYERS.get(type(layer), type(layer))
    stem = _snake_case(plain.__name__)
    # Bidirectional names its layers after the one that it was given: forward_lstm_3.
    direction = "(forward_|backward_)" if isinstance(parent, keras.layers.Bidirectional) else "()"
    # Keras names the inputs of a clone after tensors: keras_tensor_3.
    stems = f"{stem}|keras_tensor" if isinstance(layer, keras.layers.InputLayer) else f"(masked_)?{stem}"
    made_up = re.fullmatch(rf"{direction}({stems})(_\d+)?", layer.name)
    return made_up[1] + stem if made_up else layer.name


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


def _output_layers(layer: Any) -> set[int]:
    """Masked layers inside `layer` whose values reach its outputs through layers without prunable weights only."""
    if isinstance(layer, MaskedLayer):
        return {id(layer)}
    inside = [inner for inner in _sublayers(layer) if _holds_masked(inner)]
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


def _convert(model: keras.Model, replacements: Mapping[type, type]) -> keras.Model:
    """A copy of a model with layers replaced by class, and all variables (also masks, where both have them) copied."""
    if not (isinstance(model, keras.Sequential) or hasattr(model, "_operations")):
        raise TypeError(
            f"Expected a Sequential or Functional model. Received: {type(model).__name__}, a subclassed model. "
            "Write it with the layers of lth_keras.layers, which take the Keras layers' arguments."
        )
    with _not_compiled(model):
        copy = keras.models.clone_model(
            model, clone_function=lambda layer: _rebuild(layer, replacements), recursive=True
        )
    built = {place: layer for place, layer in walk(model) if layer.built}
    for place, layer in walk(copy):
        if place in built and not layer.built:  # as the PReLU of Dense(activation=PReLU()): Keras builds it when called
            layer.build_from_config(built[place].get_build_config())
    target, source = variables(copy), variables(model)
    if target.keys() != source.keys():
        differing = sorted(target.keys() ^ source.keys())
        raise ValueError(
            f"Expected a model whose copy has the same weights. Received: {differing}, in the model or its copy only. "
            "Build the model first, and do not use a layer both inside and outside of a wrapper."
        )
    for key, variable in source.items():
        target[key].assign(variable)
    masked = {place: layer for place, layer in walk(copy) if isinstance(layer, MaskedLayer)}
    for place, layer in walk(model):
        if isinstance(layer, MaskedLayer) and place in masked:
            for name in map(mask_name, layer.prunable):
                getattr(masked[place], name).assign(getattr(layer, name))
    return copy


@contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    """Within it, a model and those nested in it pass for not compiled: Keras compiles the copy of a compiled model."""
    compiled = [m for m in [model, *(m for _, m in walk(model))] if getattr(m, "compiled", False)]
    with ExitStack() as restore:
        for nested in compiled:
            restore.callback(setattr, nested, "compiled", True)
            nested.compiled = False
        yield


def _rebuild(layer: Any, replacements: Mapping[type, type]) -> Any:
    if not isinstance(layer, keras.layers.Layer):  # an operation of the graph, as the addition in x + y
        return type(layer).from_config(layer.get_config())
    config = _replace_in_config(layer.get_config(), replacements)
    kind: Any = replacements.get(type(layer), type(layer))
    if isinstance(layer, tuple(_PLAIN_LAYERS.values())):
        # Activations, initialisers, regularisers and constraints as objects: not all can be made from a configuration.
        objects = {key: getattr(layer, key) for key in config if callable(getattr(layer, key, None))}
        config |= {key: value for key, value in objects.items() if not isinstance(value, keras.layers.Layer)}
    with keras.saving.custom_object_scope(_custom_objects(layer)):
        return kind.from_config(config)


def _custom_objects(layer: keras.layers.Layer) -> dict[str, Any]:
    """Functions and classes that the layer's configuration names: the user need not have registered them."""
    found = {}
    for part in [layer, *(inner for _, inner in walk(layer))]:
        for value in [part, *vars(part).values()]:
            named = value if inspect.isfunction(value) else type(value)
            if callable(value) and not named.__module__.startswith("keras."):
                found[named.__name__] = named
    return found


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
