"""Finds the weights that `build()` gives: loaded, pretrained and frozen ones, which are not drawn for each trial."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.masking import own_array, redrawing, seeded, variables, walk

_SEED = 1_618_033_989
"""The seed for the second model; it must differ from any seed of a user."""
_LOOKED_AT = 1 << 18
"""The most values of a weight that are compared, in evenly spaced rows, so that large weights are not copied."""


class Given(NamedTuple):
    """The weights of a model that `build()` gives.

    Attributes:
        start: the parameter `start`.
        weights: the given weights and those of frozen layers by key, with which all trials begin.
        given: keys of the given weights in layers that are not frozen.
        frozen: keys of the weights of frozen layers.
        digest: a digest of all these weights; None if there are none.
    """

    start: str | None
    weights: Mapping[str, np.ndarray]
    given: tuple[str, ...]
    frozen: tuple[str, ...]
    digest: str | None


NOTHING_GIVEN = Given("initial", {}, (), (), None)


class FirstModel(NamedTuple):
    """Values of the first model, to compare the second one with.

    Attributes:
        parts: a part of each weight by key.
        states: states of Python's and numpy's random generators after the model was built.
        brings: whether it has frozen or adapted layers.
    """

    parts: Mapping[str, np.ndarray]
    states: tuple[Any, Any]
    brings: bool

    @classmethod
    def of(cls, model: keras.Model) -> FirstModel:
        """The values of a model; must be called before anything else draws random numbers."""
        states, found = _states(), owners(model)
        brings = any(not layer.trainable or _is_adapted(layer) for layer, _ in found.values())
        return cls({key: _part(variable) for key, (_, variable) in found.items()}, states, brings)


def find_given(first: FirstModel, build: Callable[[], keras.Model], start: str | None) -> Given:
    """Builds the model again under another seed and finds the weights that are not drawn.

    Weights are given if they are equal in both models although their initialiser is random and has no seed, or if they
    are equal and differ from their initialiser's values. Weights whose initialiser has a fixed seed are drawn.

    Args:
        first: the first model's values.
        build: builds the model.
        start: `initial`: only the weights of frozen layers are given; `given`: all weights; None: compares the models.

    Raises:
        ValueError: if the comparison is ambiguous: `build()` sets the seeds of global generators itself, or some rows
            of a weight are equal and others are not.
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
            "Expected weights that are either drawn by initialisers or given by build(). Received: weights for which "
            f"comparing two models is ambiguous, since {reason}: {_listed(unclear)}. Pass start='initial' to draw them "
            "for each trial, or start='given' to keep those that build() makes."
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
    """Builds two models and finds the weights that are not drawn; arguments and errors as `find_given`."""
    return find_given(FirstModel.of(build()), build, start)


def owners(model: keras.Model) -> dict[str, tuple[keras.layers.Layer, Any]]:
    """The layer of each variable and the variable, by key."""
    layers: dict[int, keras.layers.Layer] = {}
    for _, layer in walk(model):
        layers |= {id(v): layer for v in layer._trainable_variables + layer._non_trainable_variables}
    return {key: (layers[id(variable)], variable) for key, variable in variables(model).items()}


def recorded(given: Given) -> dict[str, Any] | None:
    """A run's record of weights that are not drawn, as JSON; None if all are drawn."""
    if not (given.start == "given" or given.given or given.frozen):
        return None
    names = {"given": list(given.given), "frozen": list(given.frozen)}
    return {"start": given.start, **names, "digest": given.digest}


def described(given: Given) -> str | None:
    """The warning about weights that are not drawn; None if all are drawn."""
    if given.start == "given":
        return "Trials begin with the weights that build() makes (start='given')."
    found = []
    if given.given:
        found.append(
            f"Weights that build() gives are kept in all trials instead of drawn: {_listed(given.given)}. "
            "start='initial' draws them for each trial."
        )
    if given.frozen:
        found.append(f"Frozen layers keep the weights that build() gives them: {_listed(given.frozen)}.")
    return " ".join(found) or None


def _verdict(layer: keras.layers.Layer, variable: Any, first: np.ndarray, reseeded: bool) -> str:
    """Whether a weight is `given`, `drawn` or `unclear`."""
    second = _part(variable)
    initializer = getattr(layer, f"{variable.name}_initializer", None)
    again = redrawing(layer, variable, _SEED)
    if again is None or not isinstance(initializer, keras.Initializer):
        return "drawn"  # the model is rebuilt for each trial, so equal values are equal in all trials
    seed = initializer.get_config().get("seed", "none")
    if not np.array_equal(first, second, equal_nan=True):
        return "unclear" if seed is None and _some_rows_equal(first, second) else "drawn"
    fresh = type(initializer).from_config(initializer.get_config())  # draws what the layer's drew first
    if np.array_equal(second, _part(fresh(tuple(variable.shape), dtype=variable.dtype)), equal_nan=True):
        return "drawn"
    if seed is None or isinstance(seed, int | str):
        return "unclear" if reseeded and seed is None else "given"
    return "unclear"  # the seed is a shared generator, which may have drawn for other layers before


def _is_adapted(layer: keras.layers.Layer) -> bool:
    """Whether a layer's weights are computed from data, as those of `Normalization`."""
    return callable(getattr(layer, "adapt", None))


def _some_rows_equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether some rows of several values are equal, which is practically impossible for random draws."""
    if one.ndim < 2 or one.shape[-1] < 4:
        return False
    equal = (one == other).reshape(len(one), -1).all(axis=1)
    return bool(equal.any())


def _part(weight: Any) -> np.ndarray:
    """The rows of a variable or tensor that are compared."""
    shape, size = weight.shape, math.prod(weight.shape)
    if size <= _LOOKED_AT or len(shape) < 2:
        return own_array(weight)
    rows = np.linspace(0, shape[0] - 1, max(1, _LOOKED_AT * shape[0] // size))
    return own_array(keras.ops.take(weight, np.unique(rows.astype(np.int64)), axis=0))


def _states() -> tuple[Any, Any]:
    numpy: Any = np.random.get_state()
    return random.getstate(), (numpy[1].tobytes(), numpy[2])


def _listed(keys: Any) -> str:
    shown = list(keys)[:5]
    more = len(keys) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
