"""What a network refuses: data and models that do not fit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.data.checks import check_cadence
from lth_keras.training.network import Network
from tests import tiny
from tests.tiny import network_of


def changed(split: str, x: Any = None, y: Any = None) -> dict[str, Any]:
    """The data with one split's arrays changed by functions of them."""
    splits: dict[str, Any] = tiny.data()
    old_x, old_y = splits[split]
    splits[split] = (old_x if x is None else x(old_x), old_y if y is None else y(old_y))
    return splits


BAD_DATA = {
    "a missing split": ({"train": tiny.data()["train"]}, "Expected data with .*'validation' is None"),
    "no pair": ({**tiny.data(), "test": tiny.data()["test"][0]}, "Expected data with .*'test' is ndarray"),
    "an empty split": (
        changed("validation", lambda x: x[:0], lambda y: y[:0]),
        "'validation': Expected x and y of one",
    ),
    "different lengths": (changed("test", lambda x: x[:5]), "'test': Expected x and y of one length.*5 and 40"),
    "wrong shape": (changed("test", lambda x: x[:, :7]), r"'test': Expected examples of shape \(8,\).*\(7,\)"),
    "one axis too many": (changed("train", lambda x: x[..., None]), r"'train': Expected examples of shape \(8,\)"),
    "labels too large": (
        changed("train", y=lambda y: y + 1),
        r"labels in 0 \.\.\. 2 \(the model has 3 outputs\).*1 to 3",
    ),
    "negative labels": (changed("validation", y=lambda y: y - 1), "'validation': Expected labels in 0.*from -1 to 1"),
    "one-hot labels": (changed("train", y=lambda y: np.eye(3)[y]), r"one class index per output.*\(120, 3\).*one-hot"),
    "NaN": (changed("test", x=lambda x: np.where(x > 1, np.nan, x)), "'test': Expected finite x.*NaN"),
    "text": (changed("train", y=lambda y: y.astype(str)), "'train': Expected y to hold numbers.*dtype <U"),
    "fewer than a batch": (
        changed("train", lambda x: x[:9], lambda y: y[:9]),
        "Expected at least one batch of 10 training examples. Received: 9",
    ),
}


@pytest.mark.parametrize("what", BAD_DATA)
def test_data_that_do_not_fit_are_refused_and_nothing_changes(network: Network, what: str) -> None:
    before = network.evaluate("train")
    data, message = BAD_DATA[what]
    with pytest.raises(ValueError, match=message):
        network.load(data)
    assert network.evaluate("train") == before


@pytest.mark.parametrize(
    "loss",
    [keras.losses.SparseCategoricalCrossentropy(name="of_mine"), "SparseCategoricalCrossentropy"],
    ids=["an object", "a class's name"],
)
def test_labels_are_checked_whatever_the_loss_is_called(loss: Any) -> None:
    data, message = BAD_DATA["labels too large"]
    with pytest.raises(ValueError, match=message):
        network_of(loss=loss).load(data)


def two_outputs() -> keras.Model:
    x = keras.Input((8,))
    return keras.Model(x, [keras.layers.Dense(3)(x), keras.layers.Dense(2)(x)])


BAD_MODELS = {
    "not built": (
        lambda: keras.Sequential([keras.layers.Dense(3)]),
        ValueError,
        "is not built. Give the model an Input",
    ),
    "nothing to prune": (
        lambda: keras.Sequential([keras.Input((8,)), keras.layers.Flatten()]),
        ValueError,
        r"Nothing to prune.*Expected one of Dense.*Received: \['Flatten'\]",
    ),
    "no model": (lambda: keras.layers.Dense(3), TypeError, "build.. to return a keras.Model. Received: Dense"),
    "nothing": (lambda: None, TypeError, "build.. to return a keras.Model. Received: NoneType"),
    "two outputs": (two_outputs, ValueError, r"Expected metric=\{output: metric\} for a model with several outputs"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_models_that_cannot_be_searched_are_refused(what: str) -> None:
    build, error, message = BAD_MODELS[what]
    with pytest.raises(error, match=message):
        network_of(build)


def test_an_optimizer_must_be_one() -> None:
    with pytest.raises(TypeError, match="Expected optimizer.. to return a keras.Optimizer. Received: str"):
        network_of(optimizer=lambda: "adam")


def test_training_and_evaluation_need_data() -> None:
    bare = network_of()
    with pytest.raises(RuntimeError, match="Expected loaded data"):
        bare.train(1, seed=0)
    with pytest.raises(ValueError, match="Expected a loaded split.*Received: 'test'"):
        bare.evaluate("test")


def test_the_test_cadence_is_a_multiple_of_the_evaluation_cadence() -> None:
    assert check_cadence(5, None) == 50
    assert check_cadence(5, 15) == 15
    with pytest.raises(ValueError, match="multiple of evaluate_every .5 steps.. Received: 12"):
        check_cadence(5, 12)
    with pytest.raises(ValueError, match="evaluate_every to be at least 1 step. Received: 0"):
        check_cadence(0, None)
    with pytest.raises(ValueError, match="multiple of evaluate_every"):
        check_cadence(5, 0)
