"""The weights that a ticket starts from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.system import one_of

STARTS = ("initial", "given")
"""Initial weights of trials: drawn by the layers' initialisers, or given by `build()`."""


def check_start(start: str | None) -> str | None:
    """Returns `start` where it is known, or None.

    Raises:
        ValueError: for an unknown name.
    """
    return one_of("start", start, (*STARTS, None))


def redrawing(layer: keras.layers.Layer, variable: Any, seed: int) -> Callable[[], np.ndarray] | None:
    """Draws a layer's variable afresh from its initialiser, decided by `seed` alone, whatever seed that was given.

    It leaves no memory allocated, where rebuilding the model leaves 0.2 MB each time (measured on LeNet-300-100,
    TensorFlow 2.21, Keras 3.15).

    Returns:
        A function that makes an array of the variable's shape, the same at each call. For a layer that was adapted to
        data it returns the current values. None where the model must be rebuilt to draw it: the layer has no Keras
        initialiser as `<variable>_initializer`, or does more than to call it (the forget bias of an LSTM), or a custom
        initialiser takes no seed, and so may draw from global generators.
    """
    if hasattr(layer, "adapt") and hasattr(layer, "finalize_state") and not variable.trainable:
        adapted = own_array(variable)
        return adapted.copy
    initializer = getattr(layer, f"{variable.name}_initializer", None)
    if not isinstance(initializer, keras.Initializer):
        return None
    if variable.name == "bias" and getattr(layer, "unit_forget_bias", False):
        return None
    config = initializer.get_config()
    if "seed" in config:
        config["seed"] = seed
    elif not type(initializer).__module__.startswith("keras."):
        return None
    # A new initialiser for each draw: one that is called twice may draw other values the second time.
    make, shape, dtype = type(initializer).from_config, tuple(variable.shape), variable.dtype
    return lambda: own_array(make(dict(config))(shape, dtype=dtype))


def own_array(value: Any) -> np.ndarray:
    """A copy of the values of a Keras variable or tensor, as a writeable array."""
    array: np.ndarray = keras.ops.convert_to_numpy(value)
    return array if array.flags.owndata and array.flags.writeable else array.copy()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it, Python's, numpy's and Keras' global generators are seeded with `seed`.

    Python's and numpy's continue afterwards as if nothing had been drawn.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def settled_seeds() -> Iterator[None]:
    """Within it, layers that are made without a seed get the same one in every process.

    Keras draws it from Python's generator, and some layers (RandomCrop) have it in their configuration. The generator
    continues afterwards as if nothing had been drawn.
    """
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def draw_weights(
    layers: dict[str, tuple[keras.layers.Layer, Any]],
    rebuild: Callable[[], dict[str, Any]],
    seed_of: Callable[[str], int],
    *,
    kept: Mapping[str, np.ndarray] | None = None,
    as_built: bool = False,
) -> LazyArrays:
    """All weights of a model, drawn anew, each at access.

    Args:
        layers: weight key to its layer and Keras variable.
        rebuild: builds the model once more and returns its variables by key; called only for weights that
            `redrawing` cannot draw.
        seed_of: weight key to seed.
        kept: weights that are not drawn, by key.
        as_built: whether all others are taken from `rebuild`.

    Returns:
        Weight key to array, the same values at each access. Only arrays from `rebuild` and `kept` stay in memory.
    """
    left = {key: owned for key, owned in layers.items() if key not in (kept or {})}
    draws = {key: None if as_built else redrawing(*owned, seed_of(key)) for key, owned in left.items()}
    values = dict(kept or {})
    if None in draws.values():
        with seeded(seed_of("rebuild")):
            fresh = rebuild()
        values |= {key: own_array(fresh[key]) for key, draw in draws.items() if draw is None}

    def draw(key: str) -> np.ndarray:
        again = draws.get(key)
        return values[key].copy() if again is None else again()

    return LazyArrays({key: tuple(variable.shape) for key, (_, variable) in layers.items()}, draw)
