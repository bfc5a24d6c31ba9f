"""The masked counterparts of the Keras layer types in the registry, and how to add one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from lth_keras.layers.conv import MaskedConv1D, MaskedConv2D
from lth_keras.layers.dense import MaskedDense
from lth_keras.layers.embedding import MaskedEmbedding
from lth_keras.layers.masked import MaskedLayer
from lth_keras.layers.reading import Reading
from lth_keras.layers.recurrent import NotFused
from lth_keras.layers.registry import KINDS, PRUNABLE, Prunable

MASKED_LAYERS: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {}
"""The masked counterpart of each Keras layer that has one."""
PLAIN_LAYERS: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {}
"""The plain counterpart of each masked layer."""
REGISTERED: dict[type[keras.layers.Layer], Prunable] = {}
"""What `register_prunable` has added to `PRUNABLE`."""


def register_prunable(
    layer: type[keras.layers.Layer],
    weights: Mapping[str, str] | Sequence[str],
    kind: str = "dense",
) -> type[keras.layers.Layer]:
    """Makes a layer type prunable: `mask_model`, `prune` and searches mask its layers from now on.

    For layers of other packages and your own; those of Keras are prunable already. The forward pass must read each
    weight as an attribute of the layer that has it. Worker processes of a search register it too. A saved model holds
    the registration; it loads where the same registration has been made.

    Args:
        layer: a subclass of `keras.layers.Layer` whose `get_config` and `from_config` make it again.
        weights: the attributes that hold the Keras variables of the prunable weights once the layer is built; dots lead
            to layers inside, as in `"cell.recurrent_kernel"`. A mapping also names the weights: `{"kernel": "w"}`; the
            mask is called `<name>_mask`. Otherwise the name is the attribute, without a leading underscore.
        kind: `dense`, `conv` or `embedding`: which pruning rate applies where the layer is not the output.

    Returns:
        The masked layer type, a subclass of `layer`.

    Raises:
        TypeError: for an object that is not a layer class, or weights that are not names of attributes.
        ValueError: for a type that is registered with other weights or another kind, an unknown kind, or no weight.

    Example:
        >>> class Scaled(keras.layers.Dense):
        ...     def call(self, inputs):
        ...         return 2 * super().call(inputs)
        >>> register_prunable(Scaled, weights=["_kernel"])
    """
    if not (isinstance(layer, type) and issubclass(layer, keras.layers.Layer)):
        raise TypeError(f"Expected a class, a subclass of keras.layers.Layer. Received: {layer!r}.")
    entry = Prunable(kind, _named(weights))
    if kind not in KINDS[:-1] or not entry.variables:
        raise ValueError(
            f"Expected a kind out of {KINDS[:-1]} and at least one weight. Received: {kind!r}, {dict(entry.variables)}."
        )
    if layer in PRUNABLE:
        if PRUNABLE[layer][:2] != entry[:2]:
            raise ValueError(
                f"Expected a layer type that is not prunable yet. Received: {layer.__name__}, which is already, as "
                f"{PRUNABLE[layer].kind!r} with the weights {dict(PRUNABLE[layer].variables)}."
            )
        return MASKED_LAYERS[layer]
    PRUNABLE[layer] = REGISTERED[layer] = entry
    return _add(layer, _registered_type(layer))


def registrations() -> list[tuple[type[keras.layers.Layer], dict[str, str], str]]:
    """The arguments of all calls of `register_prunable` so far, for another process."""
    return [(layer, dict(entry.variables), entry.kind) for layer, entry in REGISTERED.items()]


def _named(weights: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    paths = list(weights.values()) if isinstance(weights, Mapping) else weights
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, Sequence) or not all(isinstance(path, str) for path in paths):
        raise TypeError(
            'Expected weights to be names of attributes, as ["kernel"], or a mapping to them, as {"kernel": "w"}. '
            f"Received: {weights!r}."
        )
    if isinstance(weights, Mapping):
        return dict(weights)
    named = {path.rpartition(".")[2].removeprefix("_"): path for path in paths}
    if len(named) != len(paths):
        raise ValueError(
            f"Expected weights whose attributes have different names, or a mapping that names them. Received: {paths}."
        )
    return named


class MaskedRegistered:
    """How a masked layer of a type that `register_prunable` added is saved: with its registration."""

    def get_config(self) -> dict[str, Any]:
        """The configuration of the plain layer, and the registration that it needs."""
        plain: Any = PLAIN_LAYERS[type(self)]
        entry = PRUNABLE[plain]
        layer = {**class_entry(plain), "config": self.plain_config()}
        return {"layer": layer, "prunable": {"weights": dict(entry.variables), "kind": entry.kind}}

    def plain_config(self) -> Any:
        """The configuration of the plain layer."""
        return super().get_config()  # type: ignore[misc]

    @contextmanager
    def masking(self) -> Iterator[dict[str, Reading]]:
        """See `MaskedLayer.masking`; warns of weights that the forward pass does not read as attributes."""
        with super().masking() as readings:  # type: ignore[misc]
            yield readings
        unread = [name for name, reading in readings.items() if not reading.done]
        if unread and "_self_warned" not in vars(self):
            vars(self)["_self_warned"] = True
            kind: Any = PLAIN_LAYERS[type(self)]
            variables = PRUNABLE[kind].variables
            warnings.warn(
                f"Expected the forward pass of {kind.__name__} {self.name!r} to read its prunable weights as "  # type: ignore[attr-defined]
                f"attributes. Received: {', '.join(f'{name!r} ({variables[name]})' for name in unread)} not read so; "
                "pruned weights count there as others do.",
                stacklevel=2,
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The masked layer of such a configuration, or of that of the plain layer.

        Raises:
            ValueError: naming the call of `register_prunable` that is missing here.
        """
        if config.keys() != {"layer", "prunable"}:
            return super().from_config(config)  # type: ignore[misc]
        own = {kind.__name__: kind for kind in REGISTERED}
        plain = keras.saving.deserialize_keras_object(config["layer"], custom_objects=own)
        entry, needed = PRUNABLE.get(type(plain)), config["prunable"]
        if entry is None or (dict(entry.variables), entry.kind) != (needed["weights"], needed["kind"]):
            known = "no registration" if entry is None else f"kind={entry.kind!r}, weights={dict(entry.variables)}"
            raise ValueError(
                f"Expected the layer type {type(plain).__name__} to be prunable as when the model was saved. "
                f"Received: {known}. Before loading, call lth_keras.register_prunable({type(plain).__name__}, "
                f"weights={needed['weights']!r}, kind={needed['kind']!r})."
            )
        return MASKED_LAYERS[type(plain)].from_config(config["layer"]["config"])


_save_registered = keras.saving.register_keras_serializable(package="lth_keras", name="MaskedRegistered")
"""Registers a class under one name for all types, as a file must load before it is known which one it holds."""
_save_registered(MaskedRegistered)


def class_entry(kind: type) -> dict[str, Any]:
    """How Keras names a class in a saved configuration."""
    if kind.__module__.startswith("keras."):
        return {"module": "keras.layers", "class_name": _public_name(kind), "registered_name": None}
    registered = keras.saving.get_registered_name(kind)
    return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": registered}


def _public_name(kind: type) -> str:
    """The name of a layer class in `keras.layers`, where it may be another than in its own module."""
    own = kind.__name__
    return own if hasattr(keras.layers, own) else next(name for name, one in vars(keras.layers).items() if one is kind)


def _registered_type(layer: type[keras.layers.Layer]) -> type[keras.layers.Layer]:
    members = {"__module__": layer.__module__, "__doc__": layer.__doc__}
    made: type = type(f"Masked{layer.__name__}", (MaskedRegistered, MaskedLayer, layer), members)
    return _save_registered(made)


def _masked_type(layer: type[keras.layers.Layer]) -> type[keras.layers.Layer]:
    """A masked layer type that needs nothing beside its registry entry."""
    members = {"__module__": __name__, "__doc__": f"`keras.layers.{_public_name(layer)}` with masks."}
    first = (NotFused,) if layer in (keras.layers.LSTM, keras.layers.GRU) else ()
    made: type = type(f"Masked{_public_name(layer)}", (*first, MaskedLayer, layer), members)
    return keras.saving.register_keras_serializable(package="lth_keras")(made)


def _add(layer: type[keras.layers.Layer], masked: type[keras.layers.Layer]) -> type[keras.layers.Layer]:
    MASKED_LAYERS[layer], PLAIN_LAYERS[masked] = masked, layer
    return masked


_WRITTEN_OUT = (MaskedDense, MaskedConv1D, MaskedConv2D, MaskedEmbedding)
for _layer in PRUNABLE:
    _add(_layer, next((m for m in _WRITTEN_OUT if _layer in m.__bases__), None) or _masked_type(_layer))
