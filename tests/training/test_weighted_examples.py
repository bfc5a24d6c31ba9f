"""Weights of training examples and of classes: the same training as by Keras' `train_on_batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.data.weights import weights_of_classes
from lth_keras.training.engines import batch_order
from tests import tiny
from tests.backend import JIT
from tests.few import few
from tests.tiny import final_weights, make, network_of

CLASS_WEIGHT = {0: 3.0, 2: 0.25}
STEPS = 12


def weighted_data() -> dict[str, Any]:
    splits = tiny.data()
    x, y = splits["train"]
    return {**splits, "train": (x, y, np.linspace(0, 4, len(x)))}


def one_hot(splits: dict[str, Any]) -> dict[str, Any]:
    return {name: (part[0], np.eye(3)[part[1]], *part[2:]) for name, part in splits.items()}


def per_example(y: Any, outputs: Any) -> Any:
    """A user's own loss, a number for each example."""
    return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)


LOSSES: dict[str, Any] = {
    "sparse_categorical_crossentropy": "sparse_categorical_crossentropy",
    "class": keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    "mean": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
    "own": per_example,
}


@few("name", LOSSES, "sparse_categorical_crossentropy", "own")
def test_sample_weights_are_those_of_keras(name: str) -> None:
    loss = LOSSES[name]
    splits = weighted_data() if name.startswith("sparse") else one_hot(weighted_data())
    network = network_of(loss=loss)
    network.load(splits)
    start = network.draw_weights(0)
    network.weights = dict(start)
    curves = network.train(STEPS, seed=0)
    expected, losses = by_keras(loss, start, splits["train"][:2], sample_weight=splits["train"][2].astype(np.float32))
    for key, value in expected.items():
        np.testing.assert_allclose(network.weights[key], value, atol=1e-5, err_msg=key)
    np.testing.assert_allclose(curves.train_loss[0], np.mean(losses[:5]), rtol=1e-4)


def test_class_weights_are_those_of_keras(tmp_path: Path) -> None:
    search = make(class_weight=CLASS_WEIGHT, levels=0, steps=STEPS)
    run = search.run(out=tmp_path, keep_weights="all")
    assert run.directory.path != make(levels=0, steps=STEPS).run(out=tmp_path).directory.path
    start = search.network.draw_weights(0, "initial")
    names = ("level", 0)
    expected, _ = by_keras(search.loss, start, tiny.data()["train"], names, class_weight=CLASS_WEIGHT)
    for key, value in final_weights(run, 0, "dense", 0).items():
        np.testing.assert_allclose(value, expected[key], atol=1e-5, err_msg=key)


def by_keras(loss: Any, start: Any, data: Any, names: tuple[Any, ...] = (), **weights: Any) -> tuple[Any, list[float]]:
    """Weights and losses of the same batches, trained by Keras."""
    model, (x, y) = tiny.build(), data
    for layer in model.layers:
        layer.set_weights([start[f"{layer.name}/{kind}"] for kind in ("kernel", "bias")])
    model.compile(tiny.adam(), loss, jit_compile=JIT)
    losses = []
    for batch in batch_order(len(x), 10, 0, *names).take(STEPS):
        own = {name: value[batch] if name == "sample_weight" else value for name, value in weights.items()}
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x[batch], y[batch], **own)))
    return {
        f"{layer.name}/{kind}": value
        for layer in model.layers
        for kind, value in zip(("kernel", "bias"), layer.get_weights(), strict=True)
    }, losses


def test_the_class_of_an_example() -> None:
    y = np.array([0, 1, 2])
    expected = [3.0, 1.0, 0.25]
    for labels, loss in ((y, "sparse_categorical_crossentropy"), (np.eye(3)[y], "categorical_crossentropy")):
        np.testing.assert_array_equal(weights_of_classes(loss, labels, CLASS_WEIGHT), np.float32(expected))
    with pytest.raises(ValueError, match=r"one class for each example.*shape \(3,\) with the loss BinaryCrossentropy"):
        weights_of_classes("binary_crossentropy", np.eye(3)[y], CLASS_WEIGHT)


def test_weights_that_cannot_be(tmp_path: Path) -> None:
    splits = weighted_data()
    x, y, weights = splits["train"]
    for bad in (weights[:5], -weights, np.full(len(x), np.nan), weights[:, None], "balanced"):
        with pytest.raises(ValueError, match="Expected sample_weight as 120 finite numbers from 0"):
            network_of().checked({**splits, "train": (x, y, bad)})
    for other in ({"class_weight": {0: -1.0}}, {"class_weight": {"0": 1.0}}, {"class_weight": [1.0]}):
        with pytest.raises(ValueError, match="class.* of class_weight|in class_weight|class_weight to be a dict"):
            make(**other)
    with pytest.raises(ValueError, match="Expected class_weight or sample_weight.*Received: both"):
        make(data=splits, class_weight=CLASS_WEIGHT).run(out=tmp_path)
    with pytest.raises(ValueError, match="only engine='compiled'.*weights of 120 examples"):
        make(data=splits, engine="compact", jit_compile=None).run(out=tmp_path)


def test_weights_name_the_run() -> None:
    plain, weighted = make(), make(data=weighted_data())
    assert plain.identity["data"] != weighted.identity["data"]
    assert "class_weight" not in plain.identity
    assert make(class_weight=CLASS_WEIGHT).identity["class_weight"] == {"0": 3.0, "2": 0.25}
