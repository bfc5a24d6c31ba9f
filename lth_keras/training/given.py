"""Which weights of a model `build()` gives: loaded, pretrained or frozen ones, which no initialiser draws again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.masking import variables, walk
from lth_keras.masking.rewinding import own_array, redrawing, seeded

_SEED = 1_618_033_989
"""What the second model is built under; any other than a user's."""
_LOOKED_AT = 1 << 18
"""Values of a weight that are compared, in whole rows evenly apart: a large weight is in memory once."""


class Given(NamedTuple):
    """The weights that a model is built with.

    Attributes:
        start: as it was asked for.
        weights: by key, those that all trials begin with: the given ones and those of frozen layers.
        given: the keys of those that `build()` gives, in layers that are trained.
        frozen: the keys of the weights of frozen layers.
        digest: of all that `build()` brings, None where that is nothing.
    """

    start: str | None
    weights: Mapping[str, np.ndarray]
    given: tuple[str, ...]
    frozen: tuple[str, ...]
    digest: str | None


NOTHING_GIVEN = Given("initial", {}, (), (), None)


class FirstModel(NamedTuple):
    """What is kept of the first model that was built, to compare the second with.

    Attributes:
        model: a part of each weight by key.
        states: of Python's and numpy's generators after it was built.
        brings: whether it has frozen or adapted layers.
    """

    parts: Mapping[str, np.ndarray]
    states: tuple[Any, Any]
    brings: bool

    @classmethod
    def of(cls, model: keras.Model) -> FirstModel:
        """What is kept of a model; called before anything else draws."""
        states = _states()
        found = owners(model)
        brings = any(not layer.trainable or _is_adapted(layer) for layer, _ in found.values())
        return cls({key: _part(variable) for key, (_, variable) in found.items()}, states, brings)


def find_given(first: FirstModel, build: Callable[[], keras.Model], start: str | None) -> Given:
    """Builds a model once more, under another seed, and finds what it has not drawn.

    Weights that are equal both times though their initialiser is random and has no seed were given; so were those that
    are equal both times, and not what their initialiser makes. Weights whose initialiser has a fixed seed are drawn.

    Args:
        first: of the model that was built first.
        build: builds it.
        start: `initial`: all but the weights of frozen layers are drawn; `given`: none is; None: tell.

    Raises:
        ValueError: where it cannot be told: `build()` sets the seeds of global generators itself, or some rows of a
            weight are equal and others are not.
    """
    if start == "initial" and not first.brings:
        return NOTHING_GIVEN
    with seeded(_SEED):
        found = owners(build())
        reseeded = any(one == other for one, other in zip(first.states, _states(), strict=True))
    frozen = tuple(key for key, (layer, _) in found.items() if not layer.trainable)
    verdicts = {
        key: _verdict(layer, variable, first.parts[key], reseeded)
        for key, (layer, variable) in found.items()
        if start is None and key not in frozen and key in first.parts
    }
    unclear = [key for key, verdict in verdicts.items() if verdict == "unclear"]
    if unclear:
        reason = "build() sets the seeds of global generators itself" if reseeded else "only a part of them is equal"
        raise ValueError(
            "Expected weights that build() gives, or that initialisers draw. Received: weights of which that cannot be "
            f"told from two models, since {reason}: {_listed(unclear)}. Pass start='initial' to draw them anew for "
            "each trial, or start='given' to begin with those that build() makes."
        )
    given = tuple(key for key, verdict in verdicts.items() if verdict == "given")
    sha, weights = hashlib.sha256(), {}
    brought = [k for k, (layer, _) in found.items() if start == "given" or k in (*frozen, *given) or _is_adapted(layer)]
    for key in brought:
        value = own_array(found[key][1])
        sha.update(f"{key} {value.dtype.str} {value.shape}".encode() + value.tobytes())
        if key in (*frozen, *given):
            weights[key] = value
    return Given(start, weights, given, frozen, sha.hexdigest() if brought else None)


def given_by(build: Callable[[], keras.Model], start: str | None) -> Given:
    """Builds two models, and finds what of them is not drawn; arguments and errors as `find_given`."""
    return find_given(FirstModel.of(build()), build, start)


def owners(model: keras.Model) -> dict[str, tuple[keras.layers.Layer, Any]]:
    """The layer of each variable and the variable, by key."""
    layers: dict[int, keras.layers.Layer] = {}
    for _, layer in walk(model):
        layers |= {id(v): layer for v in layer._trainable_variables + layer._non_trainable_variables}
    return {key: (layers[id(variable)], variable) for key, variable in variables(model).items()}


def recorded(given: Given) -> dict[str, Any] | None:
    """What a run records of weights that are not drawn, as JSON; None where all are."""
    if not (given.start == "given" or given.given or given.frozen):
        return None
    names = {"given": list(given.given), "frozen": list(given.frozen)}
    return {"start": given.start, **names, "digest": given.digest}


def described(given: Given) -> str | None:
    """What a user is told of weights that are not drawn; None where all are."""
    if given.start == "given":
        return "Trials begin with the weights that build() makes (start='given')."
    found = []
    if given.given:
        found.append(
            f"build() gives weights that are kept in all trials, and not drawn: {_listed(given.given)}. "
            "start='initial' draws them for each trial."
        )
    if given.frozen:
        found.append(f"Frozen layers keep the weights that build() gives them: {_listed(given.frozen)}.")
    return " ".join(found) or None


def _verdict(layer: keras.layers.Layer, variable: Any, first: np.ndarray, reseeded: bool) -> str:
    """Whether a weight was `given`, `drawn`, or that is `unclear`."""
    second = _part(variable)
    initializer = getattr(layer, f"{variable.name}_initializer", None)
    again = redrawing(layer, variable, _SEED)
    if again is None or not isinstance(initializer, keras.Initializer):
        return "drawn"  # by building the model again: what is equal both times is so in every trial
    seed = initializer.get_config().get("seed", "none")
    if not np.array_equal(first, second, equal_nan=True):
        return "unclear" if seed is None and _some_rows_equal(first, second) else "drawn"
    if np.array_equal(_part_of(own_array(variable)), _part_of(_made(initializer, variable)), equal_nan=True):
        return "drawn"
    if seed is None or isinstance(seed, int | str):
        return "unclear" if reseeded and seed is None else "given"
    return "unclear"  # a generator's, which may have drawn for other layers before


def _is_adapted(layer: keras.layers.Layer) -> bool:
    """Whether a layer's weights come from data, as those of `Normalization`: each model that is built has them."""
    return callable(getattr(layer, "adapt", None))


def _made(initializer: keras.Initializer, variable: Any) -> np.ndarray:
    """What an initialiser makes on its own, with the seed that it has."""
    config = initializer.get_config()
    fresh = type(initializer).from_config(config)
    return own_array(fresh(tuple(variable.shape), dtype=variable.dtype))


def _some_rows_equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether rows of several values are equal, which no two draws are."""
    if one.ndim < 2 or one.shape[-1] < 4:
        return False
    equal = (one == other).reshape(len(one), -1).all(axis=1)
    return bool(equal.any())


def _part(variable: Any) -> np.ndarray:
    shape = tuple(variable.shape)
    rows = _rows(shape)
    if rows is None:
        return own_array(variable)
    return own_array(keras.ops.take(variable, rows, axis=0))


def _part_of(array: np.ndarray) -> np.ndarray:
    rows = _rows(array.shape)
    return array if rows is None else array[rows]


def _rows(shape: tuple[int, ...]) -> np.ndarray | None:
    """The rows of a weight of this shape that are compared; None for all."""
    size = int(np.prod(shape)) if shape else 1
    if size <= _LOOKED_AT or len(shape) < 2:
        return None
    count = max(1, _LOOKED_AT * shape[0] // size)
    return np.unique(np.linspace(0, shape[0] - 1, count).astype(np.int64))


def _states() -> tuple[Any, Any]:
    numpy: Any = np.random.get_state()
    return random.getstate(), (numpy[1].tobytes(), numpy[2])


def _listed(keys: Any) -> str:
    shown = list(keys)[:5]
    more = len(keys) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
