"""Converts a whole model to masked layers and back."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from lth_keras.layers import MASKED_LAYERS, PLAIN_LAYERS, REGISTERED, MaskedLayer, class_entry, has_lora, mask_name
from lth_keras.masking.choosing import Choice, choose, layers_to_choose, maskable
from lth_keras.masking.inside import MaskedInside, has_graph, keep_masked, mask_inside, plain_type, unmask_inside
from lth_keras.masking.layer_state import copy_state
from lth_keras.masking.places import variables, walk
from lth_keras.masking.prunable import prunable_weights
from lth_keras.masking.unmasked import warn_of_unmasked
from lth_keras.system import shown


def mask_model(model: keras.Model, *, exclude: Choice | Sequence[Choice] = (), frozen: bool = True) -> keras.Model:
    """Returns a copy of the model with masked layers that computes the same function.

    Every layer of Keras with kernels becomes its masked counterpart, with masks that are all True, and so do layers of
    types that `register_prunable` has added; also inside nested models, wrappers such as `TimeDistributed`, and custom
    layers. Other layers are rebuilt from their configuration. All weights and state are kept: what `adapt` computed,
    vocabularies, seed generators, which weights are trained. The result is not compiled, and `model` is not changed.

    A subclassed model cannot be copied: **it is masked in place**, and returned. So its optimiser and compiled state
    stay.

    Args:
        model: a built model; its masked layers keep their masks.
        exclude: layers that stay plain, and so do not count in densities: names or places of layers, patterns
            (`"block*"`), kinds (`"embedding"`), `"first"`, `"last"`, layers, classes of layers, or functions
            `(layer) -> bool`; one or several. See docs/pruning.md.
        frozen: whether layers with `trainable=False` are masked too.

    Raises:
        TypeError: for an object that is no Keras model.
        ValueError: for a model without prunable weights, or a subclassed model that is not built, or naming a layer
            that cannot be rebuilt or whose state cannot be copied.
        NotImplementedError: for a layer whose quantisation does not keep pruned weights at zero, or a quantised one
            with LoRA.

    Warns:
        UserWarning: naming the layers with kernels that have no mask, and their share of the weights.
    """
    excluded = _excluded(model, exclude)
    masked = masked_copy(model, frozen=frozen, excluded=excluded)
    warn_of_unmasked(masked, frozen=frozen, excluded=excluded)
    return masked


def masked_copy(model: keras.Model, *, frozen: bool = True, excluded: Sequence[str] = ()) -> keras.Model:
    """As `mask_model`, without its warning: for a further copy of a model. `excluded` are places of layers."""
    _check_not_qlora(model)
    included = _included(model, frozen, excluded)
    if has_graph(model) and not model.layers:
        raise _nothing_to_prune(model, frozen, excluded)
    converted = _convert(model, MASKED_LAYERS, included) if has_graph(model) else _in_place(model, included)
    if not any(isinstance(layer, MaskedLayer) for _, layer in walk(converted)):
        raise _nothing_to_prune(model, frozen, excluded)
    return converted


def _nothing_to_prune(model: keras.Model, frozen: bool, excluded: Sequence[str]) -> ValueError:
    if excluded:
        expected, received = "exclude to leave layers that can be pruned", f"{', '.join(excluded)} left out"
    else:
        kinds = ", ".join(class_entry(layer)["class_name"] for layer in MASKED_LAYERS)
        expected = f"one of {kinds}{'' if frozen else ' that is trained (trainable=True)'}"
        received = str(sorted({type(layer).__name__ for _, layer in walk(model)}))
    return ValueError(f"Nothing to prune in model {model.name!r}. Expected {expected}. Received: {received}.")


def _check_not_qlora(model: keras.Model) -> None:
    """Raises NotImplementedError for layers that are quantised and have LoRA."""
    places = [place for place, one in walk(model) if has_lora(one) and one.quantization_mode is not None]
    if places:
        raise NotImplementedError(
            f"Expected layers that are not both quantised and with LoRA. Received: {', '.join(places)}. Prune the "
            "model before it is quantised; LoRA alone works with masks, and so does int8 alone."
        )


def _excluded(model: keras.Model, exclude: Choice | Sequence[Choice]) -> list[str]:
    """The places of the layers to leave out."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a Keras model. Received: {shown(model)}.")
    if isinstance(exclude, list | tuple | set | frozenset) and not exclude:
        return []
    layers = dict(walk(model))
    found = choose(exclude, layers_to_choose(model), "exclude")
    masked = [place for place in found if isinstance(layers[place], MaskedLayer)]
    if masked:
        raise ValueError(
            f"Expected to exclude layers that have no mask yet. Received: {', '.join(masked)}. "
            "To keep all that is left of such a layer, give it a density of its own."
        )
    return found


def _included(model: keras.Model, frozen: bool, excluded: Sequence[str]) -> list[str]:
    """The places of the layers to mask, without those that are masked."""
    layers = dict(walk(model))
    plain = [place for place in maskable(layers) if not isinstance(layers[place], MaskedLayer)]
    return [place for place in plain if place not in excluded and (frozen or layers[place].trainable)]


def _in_place(model: Any, included: Sequence[str]) -> Any:
    """Masks the layers of a subclassed model, and has its steps compiled anew."""
    if not model.built or not model.variables:
        raise ValueError(
            f"Expected a subclassed model that is built. Received: {type(model).__name__} {model.name!r}, without "
            "weights yet. Call it once on a batch."
        )
    if included:
        mask_inside(model, included)
        _forget_compiled(model)
    return model


def _forget_compiled(model: Any) -> None:
    """Has Keras compile a model's steps again at their next use."""
    model.train_function = model.test_function = model.predict_function = None


def strip_masks(model: keras.Model) -> keras.Model:
    """Returns a plain Keras model with the same outputs, in which pruned weights are zeros; it loads without lth_keras.

    State is kept as by `mask_model`. A subclassed model is stripped in place, and returned.

    Args:
        model: a model with masked layers.

    Raises:
        TypeError: for a subclass of a masked layer, or a subclassed model whose own code makes masked layers.
        ValueError: for a model without masked layers, or that cannot be copied; see `mask_model`.
    """
    weights = prunable_weights(model)
    foreign = sorted({type(w.layer).__name__ for w in weights if type(w.layer) not in PLAIN_LAYERS})
    if foreign:
        raise TypeError(f"Expected masked layers of lth_keras.layers, not subclasses of them. Received: {foreign}.")
    if not has_graph(model):
        _check_strippable(model)
        unmask_inside(model)
        _forget_compiled(model)
        return model
    stripped = _convert(model, PLAIN_LAYERS)
    values = variables(stripped)
    for weight in weights:
        if weight.holder.quantization_mode is not None:
            continue  # pruned weights were zeros when it was quantised
        place, _, name = weight.key.rpartition("/")
        mask = keras.ops.convert_to_numpy(weight.mask)
        # The public property includes an update by LoRA; it is merged, as it is where Keras saves the layer.
        source = getattr(weight.holder, name) if has_lora(weight.holder) else weight.variable
        value = keras.ops.convert_to_numpy(source)
        values[weight.key].assign(np.where(mask, value, np.zeros_like(value)))
        if has_lora(weight.holder):
            update = values[f"{place}/lora_{name}_b"]
            update.assign(np.zeros(update.shape))
    return stripped


def _check_strippable(model: Any) -> None:
    """Raises TypeError for a subclassed model that would make masked layers again when it is loaded."""
    masked = [place for place, layer in walk(model) if isinstance(layer, MaskedLayer)]
    own = [place for place in masked if place not in getattr(model, "masked_places", ())]
    if own:
        raise TypeError(
            f"Expected a subclassed model with masks of mask_model. Received: {type(model).__name__}, whose code makes "
            f"masked layers itself: {', '.join(own)}. Write it with Keras' layers, and call mask_model on it."
        )


def _convert(
    model: keras.Model, replacements: Mapping[type, type], included: Sequence[str] | None = None
) -> keras.Model:
    """A copy of a model with layers replaced by class. Variables are copied, and masks where both layers have them.

    Args:
        model: a Sequential or Functional model.
        replacements: class of layers to the class that replaces it.
        included: places of the layers to replace; None for all.
    """
    layers = dict(walk(model))
    left_out = [] if included is None else [p for p in _included(model, True, ()) if p not in included]
    plain = {id(layers[place]) for place in left_out}

    def replaces(layer: Any) -> bool:
        return not any(id(one) in plain for one in (layer, *_layers_inside(layer)))

    with _not_compiled(model):
        copy = keras.models.clone_model(
            model,
            clone_function=lambda layer: _rebuild(layer, replacements if replaces(layer) else {}),
            recursive=True,
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
        # A copy: on JAX both would have one buffer, and training the one would delete it for the other.
        target[key].assign(keras.ops.copy(variable))
    copies = dict(walk(copy))
    for place, layer in walk(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue  # Keras names those of a copy anew
        if place not in copies:
            raise ValueError(
                "Expected layers that make the layers inside them when they are made or built. Received: "
                f"{place!r}, a {type(layer).__name__}, which is not in the copy."
            )
        copy_state(layer, copies[place], place)
    if included is not None:
        _mask_inside(model, copies, copy, included)
    for place, layer in walk(model):
        if isinstance(layer, MaskedLayer) and isinstance(copies[place], MaskedLayer):
            for weight in layer.masked_weights():
                getattr(copies[place], mask_name(weight.name)).assign(keras.ops.copy(weight.mask))
    return copy


def _layers_inside(layer: Any) -> list[Any]:
    return [inner for _, inner in walk(layer)] if isinstance(layer, keras.layers.Layer) else []


def _mask_inside(model: keras.Model, copies: Mapping[str, Any], copy: keras.Model, included: Sequence[str]) -> None:
    """Masks layers inside the custom layers of a copy, and those that are masked in the model."""
    mask_inside(copy, included)
    for place, layer in walk(model):
        if isinstance(layer, MaskedInside):
            keep_masked(copies[place], layer.masked_places)


@contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    """Within it, a model and those nested in it count as not compiled: Keras compiles the copy of a compiled model."""
    compiled = [m for m in [model, *(m for _, m in walk(model))] if getattr(m, "compiled", False)]
    with ExitStack() as restore:
        for nested in compiled:
            restore.callback(setattr, nested, "compiled", True)
            nested.compiled = False
        yield


def rebuild(layer: Any, changes: Mapping[str, Any]) -> Any:
    """A layer or operation of the same configuration but for these arguments.

    Raises:
        ValueError: naming it, where it cannot be rebuilt.
    """
    return _rebuild(layer, {}, changes)


def _rebuild(layer: Any, replacements: Mapping[type, type], changes: Mapping[str, Any] | None = None) -> Any:
    """A layer or operation of the same configuration, of the class that replaces its own.

    Raises:
        ValueError: naming it, where it cannot be rebuilt.
    """
    try:
        made = _remade(layer, replacements, changes or {})
        made.name = layer.name  # not in the configuration of layers without a get_config of their own
        return made
    except NotImplementedError:
        raise
    except Exception as error:  # whatever the layer's constructor raises
        raise ValueError(
            f"Expected layers that can be made again from their configuration, get_config(). Received: {layer.name!r}, "
            f"a {type(layer).__name__}: {error}"
        ) from error


def _remade(layer: Any, replacements: Mapping[type, type], changes: Mapping[str, Any]) -> Any:
    if not isinstance(layer, keras.layers.Layer):  # an operation of the graph, as the addition in x + y
        return type(layer).from_config(layer.get_config())
    if type(layer) is keras.layers.Lambda:
        return _same_lambda(layer)
    plain = layer.plain_config() if hasattr(layer, "plain_config") else layer.get_config()
    in_config = {one: other for one, other in replacements.items() if not {one, other} & {*REGISTERED}}
    config = _replace_in_config(plain, in_config)
    kind: Any = replacements.get(type(layer), plain_type(layer))
    if isinstance(layer, tuple(PLAIN_LAYERS.values())):
        # Activations, initialisers, regularisers and constraints as objects: not all can be made from a configuration.
        objects = {key: getattr(layer, key) for key in config if callable(getattr(layer, key, None))}
        config |= {key: value for key, value in objects.items() if not isinstance(value, keras.layers.Layer)}
    with keras.saving.custom_object_scope(_custom_objects(layer)):
        return kind.from_config({**config, **changes})


def _same_lambda(layer: Any) -> Any:
    """A Lambda layer of the same function: a configuration has no closures, and may not hold a lambda."""
    common = keras.layers.Layer.get_config(layer)
    own = {"function": layer.function, "output_shape": layer._output_shape, "mask": layer.mask}
    return keras.layers.Lambda(**own, arguments=dict(layer.arguments), **common)


def _custom_objects(layer: keras.layers.Layer) -> dict[str, Any]:
    """Functions and classes that the layer's configuration names, which the user need not have registered."""
    found = {}
    for part in [layer, *(inner for _, inner in walk(layer))]:
        for value in [part, *vars(part).values()]:
            named = value if inspect.isfunction(value) else type(value)
            if callable(value) and not named.__module__.startswith("keras."):
                found[named.__name__] = named
    return found


def _replace_in_config(config: Any, replacements: Mapping[type, type]) -> Any:
    """A configuration with the layers inside it (of wrappers) replaced by class."""
    if isinstance(config, list | tuple):
        return type(config)(_replace_in_config(item, replacements) for item in config)
    if not isinstance(config, dict):
        return config
    replaced = {key: _replace_in_config(value, replacements) for key, value in config.items()}
    for kind, replacement in replacements.items():
        if class_entry(kind).items() <= config.items():
            replaced |= class_entry(replacement)
    return replaced
