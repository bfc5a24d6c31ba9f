"""The wrapper: it rewinds by value, trains the same bits again, and says what does not fit."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from lth_keras.lazy import LazyArrays
from lth_keras.masks import Mask
from lth_keras.network import Network
from lth_keras.pruning import keep_highest
from lth_keras.splits import check_cadence
from tests import tiny

CROSS_ENTROPY = "sparse_categorical_crossentropy"


def network_of(build: Callable[[], Any] = tiny.build, **changes: Any) -> Network:
    parameters = {
        "optimizer": tiny.adam,
        "loss": CROSS_ENTROPY,
        "batch_size": 10,
        "evaluate_every": 5,
        "test_every": 10,
    }
    return Network(build, **{**parameters, "jit_compile": keras.backend.backend() == "jax", **changes})


@pytest.fixture(scope="module")
def network() -> Network:
    made = network_of()
    made.load(tiny.data())
    return made


@pytest.fixture(scope="module")
def mask(network: Network) -> Mask:
    """Half of the weights of each layer, at random positions."""
    generator = np.random.default_rng(0)
    scores = {key: generator.random(shape) for key, shape in network.mask.shapes.items()}
    keep = {key: size // 2 for key, size in network.mask.sizes.items()}
    return keep_highest(scores, Mask.ones(network.mask.shapes), keep, generator=generator)


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


def test_pruned_weights_stay_zero_in_training(network: Network, mask: Mask) -> None:
    network.rewind(network.draw_weights(0, "initial"), mask)
    network.train(20, seed=0)
    for key, kept in mask.items():
        assert (network.weights[key][~kept] == 0).all()
        assert (network.weights[key][kept] != 0).all()


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
    assert list(np.isfinite(curves.test_accuracy)) == [False, True, False, True]


def test_the_best_weights_are_those_of_least_validation_loss(network: Network) -> None:
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    curves = network.train(200, seed=0)
    final = dict(network.weights)
    best = int(np.argmin(curves.validation_loss))
    assert curves.early_stop_step < 200, "the example does not overfit: it shows nothing"
    assert network.evaluate_best("validation")[0] == pytest.approx(curves.validation_loss[best], rel=1e-6)
    assert network.evaluate("validation")[0] == pytest.approx(curves.validation_loss[-1], rel=1e-6)
    assert network.evaluate("test")[1] == curves.test_accuracy[-1]
    for key, value in network.weights.items():
        np.testing.assert_array_equal(value, final[key])


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
    with pytest.raises(ValueError, match="Take a snapshot before they change: dict"):
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


def changed(split: str, x: Any = None, y: Any = None) -> dict[str, Any]:
    """The data with one split's arrays changed by functions of them."""
    splits: dict[str, Any] = tiny.data()
    old_x, old_y = splits[split]
    splits[split] = (old_x if x is None else x(old_x), old_y if y is None else y(old_y))
    return splits


BAD_DATA = {
    "a missing split": ({"train": tiny.data()["train"]}, "Expected data with .*'validation' is NoneType"),
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
    "two outputs": (two_outputs, ValueError, "one input and one output. Received: 1 and 2"),
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
    with pytest.raises(RuntimeError, match="Expected data to be loaded"):
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


# Large embedding tables: 4.48 million weights, 18 MB.

WORDS = 70_000


def large(*, rows: int = WORDS) -> keras.Model:
    x = keras.Input((6,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(rows, 64)(x))
    return keras.Model(x, keras.layers.Dense(3, "softmax")(pooled))


def documents(seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        name: (generator.integers(0, WORDS, (n, 6)).astype(np.int32), generator.integers(0, 3, n))
        for name, n in (("train", 30), ("validation", 10), ("test", 10))
    }


def network_of_rows(build: Callable[[], Any] = large, **changes: Any) -> Network:
    return network_of(build, **{"test_every": 5, **changes})


def test_large_tables_are_tested_whenever_they_are_evaluated() -> None:
    assert network_of_rows(test_every=None).test_every == 5
    with pytest.raises(ValueError, match="test_every to be evaluate_every where.*Received: 10 and 5"):
        network_of_rows(test_every=10)
    with pytest.raises(ValueError, match="embeddings to be one of .*Received: 'sparse'"):
        network_of_rows(embeddings="sparse")


def test_large_tables_are_trained_densely_where_asked_or_needed(recwarn: pytest.WarningsRecorder) -> None:
    assert len(network_of_rows().tables) == len(network_of_rows(embeddings="lazy").tables) == 1
    assert network_of_rows(embeddings="dense", test_every=10).tables == []
    assert network_of_rows(lambda: large(rows=65_000)).tables == []
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    with pytest.warns(UserWarning, match="1 large embedding tables are trained densely.*RMSprop"):
        assert network_of_rows(optimizer=keras.optimizers.RMSprop, test_every=10).tables == []
    with pytest.raises(ValueError, match="beta_1 well below"):
        network_of_rows(optimizer=lambda: keras.optimizers.Adam(beta_2=0.9))


def test_a_network_with_large_tables_trains_to_the_same_bits_and_tests_its_early_stop() -> None:
    network = network_of_rows()
    network.load(documents())
    mask = Mask.ones(network.mask.shapes)
    results = []
    for _ in range(2):
        network.rewind(network.draw_weights(0, "initial"), mask)
        curves = network.train(20, seed=0, confusion=True)
        results.append((curves, network.weights["embedding/embeddings"].copy()))
    assert np.array_equal(results[0][0].train_loss, results[1][0].train_loss)
    np.testing.assert_array_equal(results[0][1], results[1][1])
    best = int(np.argmin(curves.validation_loss))
    assert network.test_accuracy_at_early_stop(curves) == curves.test_accuracy[best]
    assert np.isfinite(curves.test_accuracy).all() and network.evaluate("test")[1] == curves.test_accuracy[-1]
    assert curves.test_confusion is not None
    diagonals = curves.test_confusion.diagonal(axis1=1, axis2=2).sum(axis=1)
    np.testing.assert_allclose(diagonals / 10, curves.test_accuracy)
    network.load({**documents(), "validation": (np.empty((0, 6)), np.empty(0)), "without_validation": True})
    curves = network.train(7, seed=0)
    assert curves.early_stop_step == 7 and np.isnan(curves.validation_loss).all()
    assert network.test_accuracy_at_early_stop(curves) == curves.test_accuracy[-1]


def test_multi_label_metrics_are_micro_f1_at_the_early_stop_too() -> None:
    def any_classes() -> keras.Model:
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "sigmoid", name="output")])

    def multi_label(split: Any) -> Any:
        x, y = split
        return x, np.stack([y == 0, y > 0, y > 1], axis=1).astype(np.float32)

    data = {name: multi_label(split) for name, split in tiny.data().items()}
    network = network_of(any_classes, loss="binary_crossentropy")
    assert network.metric == "micro-F1" and network_of().metric == "accuracy"
    network.load(data)
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    curves = network.train(200, seed=0, confusion=True)
    x, y = data["test"]
    received = f1_score(y, np.array(network.model(x)) > 0.5, average="micro")
    assert 0 < received < 1 and curves.test_accuracy[-1] == pytest.approx(received)
    best = network.evaluate_best("test")[1]
    assert network.test_accuracy_at_early_stop(curves) == best
    places = {"class indices": np.zeros(40, int), "another width": y[:, :2], "counts": 2 * y}
    for labels in places.values():
        with pytest.raises(ValueError, match="'test': Expected 1 for an example's classes and 0 for the others"):
            network.load({**data, "test": (x, labels)})


def test_the_accuracy_at_the_early_stop_is_that_of_the_best_weights(network: Network) -> None:
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    curves = network.train(200, seed=0)
    assert network.test_accuracy_at_early_stop(curves) == network.evaluate_best("test")[1]
    empty = {"validation": (np.empty((0, 8)), np.empty(0))}
    with pytest.raises(ValueError, match="'validation': Expected x and y of one length"):
        network.load({**tiny.data(), **empty})
    with pytest.raises(ValueError, match="'test': Expected x and y of one length, not empty"):
        network.load({**tiny.data(), "test": (np.empty((0, 8)), np.empty(0)), "without_validation": True})
    try:
        network.load({**tiny.data(), **empty, "without_validation": True})
        curves = network.train(12, seed=0)
        assert curves.early_stop_step == 12 and np.isnan(curves.validation_accuracy).all()
        assert network.test_accuracy_at_early_stop(curves) == curves.test_accuracy[-1] == network.evaluate("test")[1]
    finally:
        network.load(tiny.data())


@pytest.mark.parametrize("number", [-1, 50])
def test_row_numbers_that_no_table_has_name_their_split(number: int) -> None:
    network = network_of(lambda: keras.Sequential([keras.Input((6,)), keras.layers.Embedding(50, 2), *_head()]))
    splits = {name: (x % 50, y) for name, (x, y) in documents().items()}
    network.load(splits)
    splits["test"][0][3, 2] = number
    with pytest.raises(ValueError, match=rf"'test': Expected row numbers in 0 \.\.\. 49.*Received: .*{number}"):
        network.load(splits)


def _head() -> list[keras.layers.Layer]:
    return [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3, "softmax")]
