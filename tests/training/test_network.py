"""The wrapper: it rewinds by value, trains the same bits again, and measures as it says."""

from __future__ import annotations

import tracemalloc
import weakref
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from lth_keras.arrays import LazyArrays
from lth_keras.layers import MaskedLayer
from lth_keras.mask import Mask
from lth_keras.masking import mask_model
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import network_of


def test_rewinding_restores_every_value_and_zeroes_the_pruned(network: Network, mask: Mask) -> None:
    initial = network.draw_weights(0, "initial")
    assert any(np.any(initial[key] != 0) for key in initial if key.endswith("bias"))
    network.rewind(initial, mask)
    network.train(20, seed=0)
    trained = dict(network.weights)
    assert all(np.any(trained[key] != initial[key] * mask.get(key, True)) for key in initial)
    network.rewind(initial, mask)
    assert network.mask == mask
    for key, value in network.weights.items():
        np.testing.assert_array_equal(value, initial[key] * mask[key] if key in mask else initial[key])


@keras.saving.register_keras_serializable(package="tests")
class MaskedScale(MaskedLayer, keras.layers.Layer):  # type: ignore[misc]
    """A masked layer of the user's own: it has no LoRA."""

    prunable = ("scale",)

    def build(self, input_shape: Any) -> None:
        self._scale = self.add_weight(name="scale", shape=input_shape[1:], initializer="ones")
        super().build(input_shape)

    @property
    def scale(self) -> Any:
        return self.masked("scale", self._scale)

    def call(self, inputs: Any) -> Any:
        with self.masking():
            return keras.ops.multiply(inputs, self.scale)


def test_a_masked_layer_of_the_users_own_is_trained_and_its_pruned_weights_are_not() -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((8,)), MaskedScale(), *tiny.build().layers])

    network = network_of(build)
    network.load(tiny.data())
    (key,) = (key for key in network.mask if key.endswith("scale"))
    kept = np.arange(8) % 2 == 0
    network.rewind(dict(network.weights), Mask({**network.mask, key: kept}))
    network.train(5, seed=0)
    assert np.all(network.weights[key][kept] != 1) and not np.any(network.weights[key][~kept])


@pytest.mark.slow
def test_a_network_with_a_layer_that_is_quantised_to_int4_trains_its_others() -> None:
    def build() -> keras.Model:
        model = mask_model(tiny.build())
        model.layers[0].quantize("int4")
        return model

    network = network_of(build, jit_compile=True)
    network.load(tiny.data())
    before = dict(network.weights)
    network.train(5, seed=0)
    np.testing.assert_array_equal(network.weights["hidden/kernel"], before["hidden/kernel"])
    assert np.all(network.weights["output/kernel"] != before["output/kernel"])


def test_the_same_training_gives_the_same_bits(network: Network, mask: Mask) -> None:
    def trained(seed: int, *names: str | int) -> tuple[Any, dict[str, np.ndarray]]:
        network.rewind(network.draw_weights(0, "initial"), mask)
        return network.train(20, seed=seed, names=names), dict(network.weights)

    curves, weights = trained(0, "level", 1)
    for seed, level, same in ((0, 1, True), (1, 1, False), (0, 2, False)):
        other_curves, other_weights = trained(seed, "level", level)
        assert all(np.array_equal(weights[key], other_weights[key]) for key in weights) is same
        assert np.array_equal(curves.train_loss, other_curves.train_loss) is same
    assert list(curves.step) == [5, 10, 15, 20]
    assert list(np.isfinite(curves.test_metric)) == [False, True, False, True]


def test_evaluation_is_the_masked_function(network: Network, mask: Mask) -> None:
    weights = network.draw_weights(0, "initial")
    network.weights = weights
    network.mask = mask  # without zeroing: the layer itself must leave them out
    x, y = tiny.data()["test"]
    hidden = np.maximum(x @ (weights["hidden/kernel"] * mask["hidden/kernel"]) + weights["hidden/bias"], 0)
    logits = hidden @ (weights["output/kernel"] * mask["output/kernel"]) + weights["output/bias"]
    chosen = logits[np.arange(len(y)), y] - np.log(np.exp(logits).sum(axis=1))
    loss, accuracy = network.evaluate("test")
    assert loss == pytest.approx(-chosen.mean(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(axis=1) == y).mean())


def test_weights_are_copies_and_are_set_by_value(network: Network) -> None:
    before = dict(network.weights)
    before["hidden/kernel"][:] = 7
    assert not np.any(network.weights["hidden/kernel"] == 7)
    network.weights = before
    before["hidden/kernel"][:] = 8
    assert np.all(network.weights["hidden/kernel"] == 7)
    with pytest.raises(ValueError, match=r"Expected weights for .*hidden/bias.*Received: \['hidden/kernel'\]"):
        network.weights = {"hidden/kernel": before["hidden/kernel"]}


def test_weights_show_the_values_at_the_time_of_access(network: Network) -> None:
    weights, snapshot = network.weights, dict(network.weights)
    network.weights = {key: value + 1 for key, value in snapshot.items()}
    for key, value in snapshot.items():
        np.testing.assert_array_equal(weights[key], value + 1)
    with pytest.raises(ValueError, match="Copy them before they change: dict"):
        network.weights = weights
    network.weights = snapshot
    np.testing.assert_array_equal(weights["hidden/kernel"], snapshot["hidden/kernel"])


def test_rewinding_takes_one_weight_after_the_other(network: Network, mask: Mask) -> None:
    drawn = network.draw_weights(0, "initial")
    alive: list[weakref.ref[np.ndarray]] = []

    def make(key: str) -> np.ndarray:
        keras.ops.zeros(1)  # JAX lets go of an array that it has copied when it is next asked for something
        assert not any(array() is not None for array in alive), "an array is kept while the next is made"
        value = drawn[key]
        alive.append(weakref.ref(value))
        return value

    one_at_a_time = LazyArrays({key: value.shape for key, value in drawn.items()}, make)
    network.rewind(one_at_a_time, mask)
    network.weights = one_at_a_time
    assert len(alive) == 2 * len(drawn)


def test_reading_weights_keeps_none() -> None:
    def four_tables() -> keras.Model:
        x = keras.Input((3,), dtype="int32")
        tables = [keras.layers.Embedding(2000, 250, name=f"table_{i}")(x) for i in range(4)]
        pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Add()(tables))
        return keras.Model(x, keras.layers.Dense(3, "softmax")(pooled))

    network, table = network_of(four_tables), 4 * 2000 * 250
    drawn = network.draw_weights(0, "initial")
    tracemalloc.start()
    try:
        zeros = [key for weights in (network.weights, drawn) for key in weights if not weights[key].any()]
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert zeros == ["dense/bias", "dense/bias"]
    assert kept < 0.1 * table and peak < 2.5 * table


def test_kinds_are_what_rates_go_by(network: Network) -> None:
    assert network.kinds == {"hidden/kernel": "dense", "output/kernel": "output"}


def test_dropout_and_statistics_are_decided_by_the_seed_and_rewound() -> None:
    def build() -> keras.Model:
        layers = keras.layers
        hidden = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
        return keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(3, "softmax")])

    network = network_of(build)
    network.load(tiny.data())
    initial = network.draw_weights(0, "initial")
    results = []
    for seed in (0, 0, 1):
        network.rewind(initial, Mask.ones(network.mask.shapes))
        mean = network.weights["batch_normalization/moving_mean"]
        np.testing.assert_array_equal(mean, np.zeros(8))
        network.train(10, seed=seed)
        results.append(dict(network.weights))
    for key, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][key])
    assert not np.array_equal(results[0]["dense/kernel"], results[2]["dense/kernel"])


def test_data_come_as_keys_or_attributes(network: Network) -> None:
    splits = tiny.data(3)
    network.load(splits)
    by_key = network.evaluate("train")
    network.load(tiny.data())
    assert network.evaluate("train") != by_key
    network.load(SimpleNamespace(**splits))
    assert network.evaluate("train") == by_key
    assert network.steps_per_epoch == 12
    network.load(tiny.data())


@pytest.mark.slow
def test_multi_label_metrics_are_micro_f1_at_the_early_stop_too() -> None:
    def any_classes() -> keras.Model:
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "sigmoid", name="output")])

    def multi_label(split: Any) -> Any:
        x, y = split
        return x, np.stack([y == 0, y > 0, y > 1], axis=1).astype(np.float32)

    data = {name: multi_label(split) for name, split in tiny.data().items()}
    network = network_of(any_classes, loss="binary_crossentropy")
    assert network.metric == "micro_f1" and network_of().metric == "accuracy"
    network.load(data)
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    curves = network.train(200, seed=0, confusion=True)
    x, y = data["test"]
    received = f1_score(y, keras.ops.convert_to_numpy(network.model(x)) > 0.5, average="micro")
    assert 0 < received < 1 and curves.test_metric[-1] == pytest.approx(received)
    best = network.evaluate_best("test")[1]
    assert network.test_metric_at_early_stop(curves) == best
    places = {"class indices": np.zeros(40, int), "another width": y[:, :2], "counts": 2 * y}
    for labels in places.values():
        with pytest.raises(ValueError, match="'test': Expected .*1 for an example's classes and 0 for the others"):
            network.load({**data, "test": (x, labels)})


def test_the_accuracy_at_the_early_stop_is_that_of_the_best_weights(network: Network) -> None:
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    curves = network.train(200, seed=0)
    assert network.test_metric_at_early_stop(curves) == network.evaluate_best("test")[1]
    empty = {"validation": (np.empty((0, 8)), np.empty(0))}
    with pytest.raises(ValueError, match="'validation': Expected x and y of one length"):
        network.load({**tiny.data(), **empty})
    with pytest.raises(ValueError, match="'test': Expected x and y of one length, not empty"):
        network.load({**tiny.data(), "test": (np.empty((0, 8)), np.empty(0)), "without_validation": True})
    try:
        network.load({**tiny.data(), **empty, "without_validation": True})
        curves = network.train(12, seed=0)
        assert curves.early_stop_step == 12 and np.isnan(curves.validation_metric).all()
        assert network.test_metric_at_early_stop(curves) == curves.test_metric[-1] == network.evaluate("test")[1]
    finally:
        network.load(tiny.data())


def augmented(*inner: Any) -> keras.Model:
    return keras.Sequential(
        [keras.Input((8, 8, 1)), *inner, keras.layers.Flatten(), keras.layers.Dense(3, "softmax", name="output")]
    )


@few("nested", [False, True], True)
@few("name", ["RandomRotation", "RandomZoom", "RandomTranslation"], "RandomTranslation")
def test_layers_that_keras_does_not_compile_with_xla_are_trained(name: str, nested: bool) -> None:
    options = (0.1, 0.1) if name == "RandomTranslation" else (0.1,)

    def build() -> keras.Model:
        layer = getattr(keras.layers, name)(*options)
        return augmented(keras.Sequential([layer]) if nested else layer)

    generator = np.random.default_rng(0)
    split = generator.random((20, 8, 8, 1)).astype("float32"), generator.integers(0, 3, 20)
    network = network_of(build, jit_compile=None)
    network.load(dict.fromkeys(("train", "validation", "test"), split))
    assert np.isfinite(network.train(5, seed=0).test_loss[-1])
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match=f"jit_compile=None or False.*{name}"):
            network_of(build, jit_compile=True)


def test_layers_that_jax_cannot_compile_are_refused_by_name() -> None:
    """RandomCrop to the size of the images crops nothing, and JAX compiles it."""
    for size in (8, 6):
        build = lambda size=size: augmented(keras.layers.RandomCrop(size, size, name="cropped"))  # noqa: E731
        if keras.backend.backend() == "jax" and size == 6:
            with pytest.raises(ValueError, match=r"JAX can compile.*Received: cropped \(RandomCrop\).*beforehand"):
                network_of(build, jit_compile=None)
        else:
            assert network_of(build, jit_compile=None)


def test_older_names_of_what_is_measured_are_said_to_be_older(network: Network) -> None:
    network.weights = dict(network.draw_weights(0))
    curves = network.train(5, seed=0)
    with pytest.warns(DeprecationWarning, match="test_metric_at_early_stop"):
        assert network.test_accuracy_at_early_stop(curves) == network.test_metric_at_early_stop(curves)
    for name in ("test", "validation"):
        with pytest.warns(DeprecationWarning, match=f"{name}_metric"):
            assert getattr(curves, f"{name}_accuracy") is getattr(curves, f"{name}_metric")
