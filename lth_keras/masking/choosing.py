"""Chooses layers and weights of a model: by name, pattern, kind, class, layer, function, or as the first or last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias, TypeVar

import keras

from lth_keras.layers import KINDS, MASKED_LAYERS, PLAIN_LAYERS, PRUNABLE, MaskedLayer
from lth_keras.masking.places import walk
from lth_keras.masking.prunable import output_layers, prunable_weights

Choice: TypeAlias = str | type | Callable[[Any], bool] | Any
"""Chooses layers or weights of a model; see `choose`."""
Value = TypeVar("Value")
WORDS = ("first", "last")


class Candidate(NamedTuple):
    """What can be chosen: a layer, or a weight of it.

    Attributes:
        key: the place of the layer, or the key of the weight.
        around: places and layers from the outermost one to the layer itself; None for layers that are not at hand.
        kind: `dense`, `conv`, `embedding` or `output`.
        is_first: whether no prunable layer comes before it.
    """

    key: str
    around: tuple[tuple[str, Any], ...]
    kind: str
    is_first: bool


def layers_to_choose(model: keras.Model) -> list[Candidate]:
    """The layers of a model that have masks or can be given them, in the order of the model."""
    layers = dict(walk(model))
    found = list(maskable(layers))
    last = output_layers(model, lambda layer: isinstance(layer, MaskedLayer) or type(layer) in MASKED_LAYERS)
    return [Candidate(place, _around(place, layers), _kind(layers[place], last), place == found[0]) for place in found]


def weights_to_choose(masked: keras.Model, model: keras.Model) -> list[Candidate]:
    """The prunable weights of a model with masked layers, in the order of the model.

    Args:
        masked: the model, or its copy with masked layers.
        model: has the layers that may be chosen.
    """
    layers = dict(walk(model))
    weights = prunable_weights(masked)
    places = {id(layer): place for place, layer in walk(masked)}
    return [
        Candidate(w.key, _around(places[id(w.layer)], layers), w.kind, w.layer is weights[0].layer) for w in weights
    ]


def candidates_of(kinds: Mapping[str, str]) -> list[Candidate]:
    """Weights as candidates without their layers, of weight key to kind, in the order of the model."""
    return [
        Candidate(key, _around(key.rpartition("/")[0], None), kind, i == 0)
        for i, (key, kind) in enumerate(kinds.items())
    ]


def choose(choices: Choice | Sequence[Choice], candidates: Sequence[Candidate], argument: str) -> list[str]:
    """The keys of the candidates that one of several choices matches, in the order of the model.

    Args:
        choices: one or several of: a layer; a class of layers; a function `(layer) -> bool`; or text. Text is the name
            or place of a layer, or the key of a weight; a pattern of them with `*` and `?`; a kind (`dense`, `conv`,
            `embedding`, `output`); or `first` or `last` (the layers that lead to the outputs). A layer with that name
            comes before a kind or word. A model or layer that holds others stands for all layers inside.
        candidates: layers or weights.
        argument: name of the argument, for messages.

    Raises:
        TypeError: for a choice of another type.
        ValueError: for a choice that matches nothing, or text that is the name of one layer and the place of another.
    """
    several = choices if isinstance(choices, list | tuple | set | frozenset) else [choices]
    found: set[str] = set()
    for choice in several:
        matching = _matching(choice, candidates, argument)
        if not matching:
            raise ValueError(
                f"Expected {argument} to match a layer of the model with weights that can be pruned. Received: "
                f"{_described(choice)}, which matches none of {', '.join(c.key for c in candidates)}."
            )
        found |= matching
    return [candidate.key for candidate in candidates if candidate.key in found]


def decided(
    choices: Iterable[Choice], candidates: Sequence[Candidate], argument: str, *, optional: Sequence[str] = ()
) -> dict[str, Choice | None]:
    """The choice that decides each candidate; None where none matches.

    The layer itself, its name, its place or a weight's key come before other choices, and `"*"` after them.

    Args:
        choices: see `choose`.
        candidates: layers or weights.
        argument: name of the argument, for messages.
        optional: text that need not match.

    Raises:
        TypeError: as `choose`.
        ValueError: as `choose`; for a candidate that two choices of the same rank match.
    """
    found: dict[str, list[tuple[int, Choice]]] = {candidate.key: [] for candidate in candidates}
    for choice in choices:
        matching = _matching(choice, candidates, argument)
        if choice not in optional:
            choose(choice, candidates, argument)  # raises where it matches nothing
        for key in matching:
            found[key].append((_rank(choice, candidates), choice))
    return {key: _first(key, ranked, argument) for key, ranked in found.items()}


def grouped(
    values: Mapping[Any, Value], candidates: Sequence[Candidate], argument: str
) -> list[tuple[Value, list[str]]]:
    """The value of each choice, with the keys of the candidates that it decides, where there are any.

    Raises:
        TypeError: as `choose`.
        ValueError: as `decided`; for a candidate that no choice matches.
    """
    by_key = decided(values, candidates, argument)
    left = [key for key, choice in by_key.items() if choice is None]
    if left:
        raise ValueError(
            f"Expected {argument} to have an entry for every weight. Received: none for {', '.join(left)}. Add one; "
            "'*' is that of all others, and 1.0 keeps all weights."
        )
    groups = [(value, [key for key, own in by_key.items() if own is choice]) for choice, value in values.items()]
    return [(value, keys) for value, keys in groups if keys]


def _rank(choice: Choice, candidates: Sequence[Candidate]) -> int:
    if choice == "*":
        return 2
    exact = isinstance(choice, keras.layers.Layer) or (isinstance(choice, str) and bool(_exactly(choice, candidates)))
    return 0 if exact else 1


def _first(key: str, ranked: list[tuple[int, Choice]], argument: str) -> Choice | None:
    if not ranked:
        return None
    best = min(rank for rank, _ in ranked)
    first, *others = [choice for rank, choice in ranked if rank == best]
    if others:
        raise ValueError(
            f"Expected {argument} to decide every weight by one entry. Received: {key} matched by "
            f"{' and '.join(map(_shown, (first, *others)))}. Use choices that do not overlap; a name or a layer comes "
            "before a pattern or kind."
        )
    return first


def _matching(choice: Any, candidates: Sequence[Candidate], argument: str) -> set[str]:
    if isinstance(choice, str):
        return _named(choice, candidates)
    if isinstance(choice, keras.layers.Layer):
        return _where(candidates, lambda place, layer: layer is choice)
    if isinstance(choice, type) and issubclass(choice, keras.layers.Layer):
        return _where(candidates, lambda place, layer: isinstance(layer, choice))
    if callable(choice):
        return {candidate.key for candidate in candidates if choice(candidate.around[-1][1])}
    raise TypeError(
        f"Expected {argument} to be names, patterns, kinds, layers, classes of layers or functions of a layer. "
        f"Received: {choice!r}."
    )


def _exactly(text: str, candidates: Sequence[Candidate]) -> set[str]:
    """The keys of the candidates with this key, place or name."""
    places = _where(candidates, lambda place, layer: place == text) | {c.key for c in candidates if c.key == text}
    names = _where(candidates, lambda place, layer: _name(layer) == text)
    if places and names and places != names:
        raise ValueError(
            f"Expected a name that means one layer. Received: {text!r}, the place of {', '.join(sorted(places))} and "
            f"Keras' name of {', '.join(sorted(names))}. Give the layer itself, or name layers yourself."
        )
    return places | names


def _named(text: str, candidates: Sequence[Candidate]) -> set[str]:
    exact = _exactly(text, candidates)
    if exact:
        return exact
    if text in KINDS:
        return {candidate.key for candidate in candidates if candidate.kind == text}
    if text in WORDS:
        return {c.key for c in candidates if (c.is_first if text == "first" else c.kind == "output")}
    return _where(candidates, lambda place, layer: fnmatchcase(place, text) or fnmatchcase(_name(layer), text)) | {
        candidate.key for candidate in candidates if fnmatchcase(candidate.key, text)
    }


def _name(layer: Any) -> str:
    return str(getattr(layer, "name", ""))


def _where(candidates: Iterable[Candidate], matches: Callable[[str, Any], bool]) -> set[str]:
    return {c.key for c in candidates if any(matches(place, layer) for place, layer in c.around)}


def maskable(layers: Mapping[str, Any]) -> Iterator[str]:
    """The places of masked and maskable layers, without those inside of others."""
    found: list[str] = []
    for place, layer in layers.items():
        if any(place.startswith(f"{outer}/") for outer in found):
            continue
        if isinstance(layer, MaskedLayer) or type(layer) in MASKED_LAYERS:
            found.append(place)
            yield place


def _around(place: str, layers: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    parts = place.split("/")
    outer = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    if layers is None:
        return tuple((one, None) for one in outer)
    return tuple((one, layers[one]) for one in outer if one in layers)


def _kind(layer: Any, last: set[int]) -> str:
    if id(layer) in last:
        return "output"
    plain = PLAIN_LAYERS.get(type(layer), type(layer))
    return layer.kind_of_layer if isinstance(layer, MaskedLayer) else PRUNABLE[plain].kind


def _shown(choice: Any) -> str:
    return (
        repr(choice) if isinstance(choice, str) else str(getattr(choice, "name", getattr(choice, "__name__", choice)))
    )


def _described(choice: Any) -> str:
    if isinstance(choice, keras.layers.Layer):
        return f"the {type(choice).__name__} {choice.name!r} itself, perhaps of another model"
    return _shown(choice)
