"""What decides a search's numbers: the same in every process, other where anything that decides differs."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search.identity import describe, describe_model, digest
from tests import tiny


def nested() -> keras.Model:
    """Names made up everywhere: inputs, nested models, operations, wrappers; a layer named as its activation."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Softmax()])
    x = keras.Input((6, 4))
    sequence = keras.layers.Bidirectional(keras.layers.LSTM(2))(x)
    y = inner(sequence) + keras.layers.Dense(4, activation="softmax")(sequence)
    return keras.Model(x, y)


def custom(y: Any, outputs: Any) -> Any:
    return keras.ops.mean((y - outputs) ** 2, axis=-1)


def own_criterion(state: Any) -> dict[str, np.ndarray]:
    return {key: -np.abs(state.final[key]) for key in state.mask}


def wider() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(17, "relu"), keras.layers.Dense(3, "softmax")])


@pytest.mark.parametrize("build", [tiny.build, nested])
def test_a_model_is_described_alike_whatever_was_built_before(build: Any) -> None:
    first = describe_model(build())
    for _ in range(3):
        build()
    keras.layers.Softmax()
    assert describe_model(build()) == first
    assert "softmax" in json.dumps(first)


def test_a_search_is_described_alike_again() -> None:
    """tests/search/test_runner.py shows the same across processes."""
    search = tiny.make(loss=keras.losses.SparseCategoricalCrossentropy(), criterion=own_criterion)
    assert describe(search) == describe(search)
    assert json.loads(json.dumps(describe(search))) == describe(search)


CHANGES: dict[str, dict[str, Any]] = {
    "rates": {"rates": {"dense": 0.3, "output": 0.3}},
    "steps": {"steps": 21},
    "epochs": {"steps": None, "epochs": 20},
    "batch_size": {"batch_size": 12},
    "evaluate_every": {"evaluate_every": 10},
    "test_every": {"test_every": 20},
    "criterion": {"criterion": "random"},
    "own criterion": {"criterion": own_criterion},
    "samples_per_class": {"samples_per_class": 9},
    "scope": {"scope": "global", "rates": 0.3},
    "min_per_layer": {"min_per_layer": 2},
    "seed": {"seed": 1},
    "jit_compile": {"jit_compile": keras.backend.backend() == "tensorflow" or None},
    "learning rate": {"optimizer": lambda: keras.optimizers.Adam(0.021)},
    "optimizer": {"optimizer": lambda: keras.optimizers.Adamax(0.02)},
    "optimizer of the same parameters": {"optimizer": lambda: keras.optimizers.Nadam(0.02)},
    "loss": {"loss": custom},
    "loss object": {"loss": keras.losses.SparseCategoricalCrossentropy()},
    "loss parameter": {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    "model": {"build": wider},
    "data": {"data": tiny.data(1)},
    "data of the first trial": {"data": lambda seed: tiny.data(seed + 2)},
}


def test_whatever_decides_numbers_is_in_it() -> None:
    described = {name: json.dumps(describe(tiny.make(**changes))) for name, changes in CHANGES.items()}
    described["nothing"] = json.dumps(describe(tiny.make()))
    same = [(a, b) for a in described for b in described if a < b and described[a] == described[b]]
    assert not same


def test_what_decides_no_number_is_not() -> None:
    assert describe(tiny.make(levels=9, threads=3, name="other")) == describe(tiny.make())


def test_every_array_counts() -> None:
    expected = digest(tiny.data())
    assert digest(tiny.data()) == expected
    for split in ("train", "validation", "test"):
        for i in (0, 1):
            data = tiny.data()
            data[split][i].flat[-1] += 1
            assert digest(data) != expected, (split, i)
    data = tiny.data()
    data["test"] = (data["test"][0], data["test"][1].astype(np.int64))
    assert digest(data) != expected


def test_a_missing_split_is_named() -> None:
    with pytest.raises(ValueError, match="Expected data with .*'validation' is None"):
        digest({"train": tiny.data()["train"]})
