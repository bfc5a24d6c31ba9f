"""The engine that trains with Keras' own step: on arrays as the compiled one, and on streams."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.backends import backend
from lth_keras.search.identity import digest
from lth_keras.training.engines import engine_named
from tests import tiny
from tests.backend import BACKEND
from tests.data.test_streams import Batches, iterate
from tests.few import few
from tests.search.test_rewinding import build as with_normalisation
from tests.search.test_rewinding import momentum, search_of
from tests.tiny import assert_same_numbers
from tests.training.engines.cases import assert_same_bits, assert_same_within_rounding, ticket, trained

ROOT = Path(__file__).parents[3]
reproducible = pytest.mark.skipif(not backend().compiles, reason="random layers are refused on PyTorch")


def with_dropout() -> keras.Model:
    hidden = [layers.Dense(16), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3)]
    return keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(3, "softmax")])


def averaged() -> keras.Optimizer:
    return keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.8)


@reproducible
@few("optimizer", [momentum, averaged], averaged)
def test_random_layers_statistics_weights_and_averages_are_those_of_the_compiled_engine(optimizer: Any) -> None:
    data = tiny.data()
    data["train"] = (*data["train"], np.linspace(0, 2, 120, dtype="float32"))  # type: ignore[assignment]
    results = []
    for engine in ("compiled", "fit"):
        network = tiny.network_of(with_dropout, optimizer=optimizer, engine=engine, evaluation_batch_size=16)
        network.take({0: network.checked(data)})
        results += trained(network, [ticket(network)])
    assert_same_within_rounding(results[1], results[0])


def with_several() -> keras.Model:
    one, other = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    hidden = layers.Concatenate()([layers.Dense(8, "relu")(one), layers.Dense(8, "relu")(other)])
    outputs = {"kind": layers.Dense(3, "softmax", name="kind")(hidden), "size": layers.Dense(1, name="size")(hidden)}
    return keras.Model([one, other], outputs)


def test_several_inputs_and_outputs_with_weights_of_losses_are_trained_as_by_the_compiled_engine() -> None:
    data = {name: ([x, x[:, ::-1]], {"kind": y, "size": x[:, 0]}) for name, (x, y) in tiny.data().items()}
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    results = []
    for engine in ("compiled", "fit"):
        network = tiny.network_of(
            with_several, engine=engine, loss=losses, loss_weights={"kind": 1.0, "size": 0.5}, metric={"kind": None}
        )
        network.take({0: network.checked(data)})
        results += trained(network, [ticket(network)])
    assert_same_within_rounding(results[1], results[0])


class Doubled(keras.Model):
    """A model that trains on twice its loss."""

    def compute_loss(self, *args: Any, **options: Any) -> Any:
        return 2 * super().compute_loss(*args, **options)


def own_model() -> keras.Model:
    x = keras.Input((8,))
    return Doubled(x, layers.Dense(3, "softmax")(layers.Dense(16, "relu")(x)))


def test_a_model_that_trains_in_its_own_way_does_so() -> None:
    losses = []
    for build in (lambda: keras.Sequential(own_model().layers), own_model):
        network = tiny.network_of(build, optimizer=lambda: keras.optimizers.SGD(0.0), engine="fit")
        network.take({0: network.checked(tiny.data())})
        weights = {key: np.full_like(value, 0.1) for key, value in network.weights.items()}
        (result,) = trained(network, [ticket(network, weights=weights)])
        losses.append(result.curves.train_loss)
    np.testing.assert_allclose(losses[1], 2 * losses[0], rtol=1e-5)


class Wrapped(Doubled):
    """A class that Keras does not copy."""

    def __init__(self) -> None:
        x = keras.Input((8,))
        super().__init__(x, layers.Dense(3, "softmax")(x))


def test_a_class_whose_training_the_copy_with_masks_would_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"without an __init__ of its own.*compute_loss\. Received: Wrapped"):
        tiny.network_of(Wrapped, engine="fit")


def test_a_step_that_returns_no_loss_is_refused() -> None:
    network = tiny.network_of(engine="fit")
    network.load(tiny.data())
    program = network.engine.program(network)
    program._model.train_on_batch = lambda *args, **options: {"mine": 1.0}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="train_step of .*'loss'.*Received: mine"):
        network.train(5, seed=0)


# Streams


class Noted(Batches):
    """Notes which batches are read."""

    def __init__(self, *arrays: Any, batch: int = 10) -> None:
        super().__init__(*arrays, batch=batch)
        self.read: list[int] = []

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return super().__getitem__(index)


def test_batches_of_a_py_dataset_are_shuffled_in_every_epoch_by_the_seed() -> None:
    data = tiny.data()
    train = Noted(*data["train"])
    network = tiny.network_of(engine="fit")
    network.take({0: network.checked({**data, "train": train})})
    orders = []
    for seed in (0, 0, 2):
        train.read.clear()
        orders.append((trained(network, [ticket(network, seed, data=0)], 24)[0], list(train.read)))
    for _, order in orders:
        first, second = order[:12], order[12:]
        assert sorted(first) == sorted(second) == list(range(12)) and first != second
    assert orders[0][1] == orders[1][1] != orders[2][1]
    assert_same_bits(orders[1][0], orders[0][0])


def test_a_stream_in_its_own_order_gives_every_step_its_batch_and_begins_again() -> None:
    """As arrays whose permutation is the order of the stream: 4 batches an epoch, the last of 24 examples."""
    data = tiny.data()
    x, y = data["train"]
    seen: list[Any] = []

    def noted() -> Iterator[Any]:
        for batch in iterate(x, y)():
            seen.append(float(batch[0][0, 0]))
            yield batch

    network = tiny.network_of(engine="fit", loss="sparse_categorical_crossentropy")
    network.take({0: network.checked({**data, "train": noted, "test": Batches(*data["test"], batch=7)})})
    seen.clear()
    start = ticket(network, score_at=5)
    (result,) = trained(network, [start], 10)
    assert seen == [float(x[32 * (i % 4), 0]) for i in range(10)]
    by_hand = tiny.network_of(engine="fit")
    by_hand.rewind(start.weights, start.mask)
    model = by_hand.model
    model.compile(tiny.adam(), "sparse_categorical_crossentropy", jit_compile=by_hand.jit_compile)
    for i in range(10):
        rows = slice(32 * (i % 4), min(32 * (i % 4) + 32, 120))
        model.train_on_batch(x[rows], y[rows])
    for key, value in by_hand.weights.items():
        np.testing.assert_allclose(result.weights[key], value, rtol=1e-5, atol=1e-6)
    on_arrays = tiny.network_of(engine="compiled")
    on_arrays.load(data)
    on_arrays.weights = dict(result.weights)
    measured = result.curves.test_loss[-1], result.curves.test_metric[-1]
    np.testing.assert_allclose(on_arrays.evaluate("test"), measured, rtol=1e-5)


def streams(**changes: Any) -> dict[str, Any]:
    data = tiny.data()
    made = {name: Batches(*part, batch=10) for name, part in data.items()}
    return {**made, **changes}


def test_a_search_on_streams_is_reproducible_rewinds_and_scores_on_first_batches(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"engine": "fit", "rewind": "epoch:1", "epochs": 2, "steps": None, "levels": 1}
    first, second = (search_of(**{**changes, "data": streams(), "criterion": "snip"}) for _ in range(2))
    assert first.identity == second.identity
    one = first.run(out=tmp_path / "one")
    second.network = first.network
    other = second.run(out=tmp_path / "other")
    assert_same_numbers(one, other)
    assert one.dataset.attrs["steps_per_epoch"] == 12
    level = one.directory.read(0, "winning_ticket", 1)
    assert level is not None and level.step[0] == 15 and level.step[-1] == 24  # after epoch 1


@pytest.mark.slow
@pytest.mark.parametrize("rewind", ["step:7", "none", "learning_rate:step:7", "fine_tune"])
def test_rewinding_is_that_of_the_compiled_engine(rewind: str, tmp_path: Path) -> None:
    runs = []
    for engine in ("compiled", "fit"):
        search = search_of(rewind, engine=engine, optimizer=momentum, build=with_normalisation, levels=1)
        runs.append(search.run(out=tmp_path / engine).dataset)
    for name in ("train_loss", "validation_loss", "test_loss"):
        np.testing.assert_allclose(runs[1][name], runs[0][name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_other_streams_have_another_directory_and_those_that_change_the_same() -> None:
    def name_of(**changes: Any) -> str:
        return digest(streams(**changes))

    x, y = tiny.data()["train"]
    assert name_of() == name_of() != digest(tiny.data())
    others = [Batches(x + 1, y, batch=10), Batches(x, y, batch=20), iterate(x, y)]
    known = [name_of(), *(name_of(train=other) for other in others)]
    assert all(one != other for one, other in itertools.combinations(known, 2))
    generator = np.random.default_rng(0)

    def augmented() -> Iterator[Any]:
        return ((x + generator.normal(size=x.shape).astype("float32"), y) for x, y in iterate(x, y)())

    assert name_of(train=augmented) == name_of(train=augmented)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a generator": (
        {"train": iterate(*tiny.data()["train"])()},
        {},
        "'train': Expected a stream that can be read again",
    ),
    "an endless test": (
        {"test": Batches(*tiny.data()["test"], length=None)},
        {},
        "'test': Expected a dataset with an end",
    ),
    "epochs without an end": (
        {"train": Batches(*tiny.data()["train"], length=None)},
        {"epochs": 1, "steps": None},
        "steps= for a dataset without an end",
    ),
    "counts": ({}, {"confusion": True}, "confusion=False with a test split that is a stream"),
    "class weights": ({}, {"class_weight": {0: 2.0}}, "class_weight=None for a stream"),
    "other shapes": ({"train": Batches(tiny.data()["train"][0][:, :5], tiny.data()["train"][1])}, {}, "of shape .8,."),
    "other labels": ({"test": Batches(tiny.data()["test"][0], np.full(40, 3))}, {}, r"labels in 0 \.\.\. 2"),
    "weights of tests": ({"test": Batches(*tiny.data()["test"], np.ones(40))}, {}, "'test': Expected batches .x, y."),
}


@few("what", REFUSED, "a generator", "an endless test", "other labels")
def test_what_cannot_be_streamed_is_refused(what: str, tmp_path: Path) -> None:
    changed, changes, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        tiny.make(data=streams(**changed), engine="fit", **changes).run(out=tmp_path)


def test_an_endless_stream_is_trained_on_for_a_number_of_steps(tmp_path: Path) -> None:
    endless = Batches(*tiny.data()["train"], batch=10, length=None)
    run = tiny.make(data=streams(train=endless), engine="fit", levels=0).run(out=tmp_path)
    assert run.dataset.step[-1] == 20 and "steps_per_epoch" not in run.dataset.attrs


DISTRIBUTED = """
import keras, numpy as np
from tests import tiny
from tests.training.engines.cases import ticket, trained

results = []
for distribution in (None, keras.distribution.DataParallel()):
    keras.distribution.set_distribution(distribution)
    network = tiny.network_of(engine="fit")
    network.take({0: network.checked(tiny.data())})
    results += trained(network, [ticket(network)])
one, other = results
shards = network.model.variables[0].value.addressable_shards
assert len(shards) == 2, shards
for name in ("train_loss", "validation_loss", "test_metric"):
    np.testing.assert_allclose(getattr(one.curves, name), getattr(other.curves, name), rtol=1e-4, atol=1e-5)
print("the same")
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="Keras' own distribution is for JAX")
def test_two_devices_train_what_one_does() -> None:
    variables = {
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": BACKEND,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    child = [sys.executable, "-c", DISTRIBUTED]
    result = subprocess.run(child, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1:] == ["the same"], result.stderr


def test_replicas_that_would_each_train_on_whole_batches_are_refused() -> None:
    network = tiny.network_of()
    network.model = SimpleNamespace(distribute_strategy=SimpleNamespace(num_replicas_in_sync=2))  # type: ignore[assignment]
    refusal = engine_named("fit").refusal(network, None)
    assert refusal is not None and "a strategy of 2 replicas" in refusal
    if BACKEND == "torch":
        refusal = engine_named("fit").refusal(tiny.network_of(with_dropout), None)
        assert refusal is not None and "without random layers" in refusal
