"""Masks layers inside of those that are made by code of their own: custom layers and subclassed models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import keras

from lth_keras.layers import (
    MASKED_LAYERS,
    PLAIN_LAYERS,
    REGISTERED,
    MaskedLayer,
    class_entry,
    mask_in_place,
    unmask_in_place,
)
from lth_keras.masking.places import walk


class MaskedInside:
    """Mixin for a custom layer or subclassed model that keeps layers inside it masked, also when it is loaded.

    Its own code makes the layers inside, plain ones. They become masked ones as soon as they are built.
    """

    def get_config(self) -> dict[str, Any]:
        """The configuration of the plain layer, and the places of the masked layers inside."""
        layer = {**class_entry(plain_type(self)), "config": self.plain_config()}
        return {"layer": layer, "masked": self.masked_places}

    @property
    def masked_places(self) -> list[str]:
        """The places, relative to the layer, of the layers inside that are masked, or will be once they are built."""
        return list(vars(self)["_self_masked"])

    def plain_config(self) -> Any:
        """The configuration of the plain layer."""
        return super().get_config()  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The layer of such a configuration."""
        own = {kind.__name__: kind for kind in REGISTERED}
        layer = keras.saving.deserialize_keras_object(config["layer"], custom_objects=own)
        keep_masked(layer, config["masked"])
        return layer

    def build_from_config(self, config: Any) -> None:
        """Builds the layer, and masks what it has built."""
        super().build_from_config(config)  # type: ignore[misc]
        _mask_built(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer, and masks what that has built."""
        outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
        if vars(self)["_self_unmasked"]:
            _mask_built(self)
        return outputs


_saved_as_inside = keras.saving.register_keras_serializable(package="lth_keras", name="MaskedInside")
_saved_as_inside(MaskedInside)


def keep_masked(layer: Any, places: Sequence[str]) -> None:
    """Masks layers inside of a custom layer or subclassed model in place, now or once they are built.

    Args:
        layer: has them; its class becomes a subclass of its own that saves and loads masks.
        places: of the layers inside, relative to it.
    """
    own = vars(layer)
    if not isinstance(layer, MaskedInside):
        kind: Any = type(layer)
        layer.__class__ = _inside_type(kind)
        own["_self_masked"], own["_self_unmasked"] = [], set()
    new = [place for place in places if place not in own["_self_masked"]]
    own["_self_masked"] += new
    own["_self_unmasked"] |= {*new}
    _mask_built(layer)


def unmask_inside(layer: Any) -> None:
    """Turns the masked layers inside into plain ones, with zeros in place of pruned weights."""
    for _, inner in [*walk(layer)]:
        if isinstance(inner, MaskedLayer):
            unmask_in_place(inner, PLAIN_LAYERS[type(inner)])
    layer.__class__ = plain_type(layer)
    del vars(layer)["_self_masked"], vars(layer)["_self_unmasked"]


def mask_inside(model: Any, places: Sequence[str]) -> None:
    """Masks plain layers in place that are inside of custom layers, wrappers or a subclassed model, by their places."""
    layers = dict(walk(model))
    inside: dict[str, list[str]] = {}
    for place in places:
        if type(layers[place]) in MASKED_LAYERS:
            holder = _holder(model, place, layers)
            inside.setdefault(holder, []).append(place[len(holder) :].removeprefix("/"))
    for holder, found in inside.items():
        keep_masked(layers[holder] if holder else model, found)


def _holder(model: Any, place: str, layers: Mapping[str, Any]) -> str:
    """The place of the outermost layer around another whose own code makes the layers inside; empty for the model."""
    if not has_graph(model):
        return ""
    parts = place.split("/")
    return next(
        outer
        for outer in ("/".join(parts[: i + 1]) for i in range(len(parts) - 1))
        if outer in layers and not has_graph(layers[outer])
    )


def has_graph(model: Any) -> bool:
    """Whether a model is Sequential or Functional, so that it can be copied layer by layer."""
    return isinstance(model, keras.Sequential | keras.src.models.Functional)


def _mask_built(layer: Any) -> None:
    unmasked = vars(layer)["_self_unmasked"]
    for place, inner in [*walk(layer)]:
        if place in unmasked and inner.built and type(inner) in MASKED_LAYERS:
            mask_in_place(inner, MASKED_LAYERS[type(inner)])
            unmasked.discard(place)


@cache
def _inside_type(base: Any) -> type:
    members = {"__module__": base.__module__, "__doc__": base.__doc__}
    return _saved_as_inside(type(base.__name__, (MaskedInside, base), members))


def plain_type(layer: Any) -> Any:
    """The class of a custom layer or subclassed model without masks inside; of others their class."""
    return type(layer).__bases__[1] if isinstance(layer, MaskedInside) else type(layer)
