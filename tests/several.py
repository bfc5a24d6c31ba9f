"""A model with two inputs and two outputs, none of them in alphabetical order, and data for it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

INPUTS, OUTPUTS = ("word", "wide"), ("size", "kind")
LOSS = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
WEIGHTS = {"kind": 0.5, "size": 2.0}
METRIC = {"kind": None}


def build(*, by_name: bool = False) -> keras.Model:
    """Words through a table and numbers through a dense layer to a number and a class; `by_name` in dicts.

    The layer of a dict's entry has another name.
    """
    word, wide = keras.Input((2,), dtype="int32", name="word"), keras.Input((6,), name="wide")
    seen = keras.layers.Flatten()(keras.layers.Embedding(7, 4, name="table")(word))
    hidden = keras.layers.Concatenate()([seen, keras.layers.Dense(8, "tanh", name="hidden")(wide)])
    size = keras.layers.Dense(1, name="size")(hidden)
    kind = keras.layers.Dense(3, "softmax", name="head" if by_name else "kind")(hidden)
    if by_name:
        return keras.Model({"word": word, "wide": wide}, {"size": size, "kind": kind})
    return keras.Model([word, wide], [size, kind])


def build_by_name() -> keras.Model:
    """The model with its inputs and outputs in dicts."""
    return build(by_name=True)


def split(examples: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """x and y by name."""
    draw = np.random.default_rng(seed)
    x = {"word": draw.integers(0, 7, (examples, 2)), "wide": draw.normal(size=(examples, 6)).astype(np.float32)}
    return x, {"kind": draw.integers(0, 3, examples), "size": x["wide"][:, :2].sum(1)}


def data(form: type = dict) -> dict[str, Any]:
    """Splits whose x and y are dicts, or lists or tuples in the model's order."""
    named = {"train": split(120, 0), "validation": split(40, 1), "test": split(30, 2)}
    if form is dict:
        return named
    return {name: (form(x[one] for one in INPUTS), form(y[one] for one in OUTPUTS)) for name, (x, y) in named.items()}
