"""Batches of tickets: what each has of its own beside weights, and how many are trained at once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.training.engines import auto, batched, engine_named
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.training.engines.cases import assert_same_within_rounding, jax_only, ticket, trained

OPTIMIZERS: dict[str, Any] = {
    "adam": tiny.adam,
    "sgd": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9),
}


def several(*hidden: Any, outputs: str = "softmax") -> Any:
    return lambda: keras.Sequential([keras.Input((8,)), layers.Dense(16, "relu"), *hidden, layers.Dense(3, outputs)])


def assert_as_alone(network: Network, datasets: Any) -> None:
    """Whether a batch of three, of one data set each, trains as each alone does."""
    network.take({seed: network.checked(data) for seed, data in enumerate(datasets)})
    tickets = [ticket(network, seed) for seed in range(2)] + [ticket(network, 0, "b")]
    alone = trained(network, tickets, confusion=True)
    network.engine = engine_named("batched:3")
    for received, expected in zip(trained(network, tickets, confusion=True), alone, strict=True):
        assert_same_within_rounding(received, expected)


@jax_only
@few("name", OPTIMIZERS, "sgd")
def test_each_has_its_own_dropout_and_batch_statistics(name: str) -> None:
    build = lambda: several(layers.BatchNormalization(), layers.Dropout(0.3))()  # noqa: E731
    network = tiny.network_of(build, optimizer=OPTIMIZERS[name], evaluation_batch_size=16)
    assert_as_alone(network, [tiny.data(seed) for seed in range(2)])


@jax_only
@pytest.mark.slow
def test_multi_label_tickets_are_measured_as_if_alone() -> None:
    def data(seed: int) -> dict[str, Any]:
        one_hot = np.eye(3, dtype="float32")
        return {name: (x, np.maximum(one_hot[y], one_hot[y // 2])) for name, (x, y) in tiny.data(seed).items()}

    network = tiny.network_of(several(outputs="sigmoid"), loss="binary_crossentropy", evaluation_batch_size=16)
    assert_as_alone(network, [data(seed) for seed in range(2)])
    assert network.metric == "micro_f1"


@jax_only
def test_trials_of_different_shapes_are_refused() -> None:
    network = tiny.network_of(engine="batched:2")
    other = {name: (x[:-1], y[:-1]) for name, (x, y) in tiny.data(1).items()}
    network.take({0: network.checked(tiny.data(0)), 1: network.checked(other)})
    with pytest.raises(ValueError, match=r"equal shapes.*engine='compiled'"):
        trained(network, [ticket(network)])


class Gpu:
    """A backend with a GPU that has so many bytes free."""

    most_tickets = None

    def __init__(self, free: int | None) -> None:
        self._free = free

    def device(self) -> tuple[str, int | None]:
        return "gpu", self._free


def test_as_many_as_fit_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny.network_of(evaluation_batch_size=16)

    def width(tickets: int, free: int | None, of: Network = network) -> int:
        monkeypatch.setattr(batched, "backend", lambda: Gpu(free))
        return batched.best_width(of, tickets)

    assert width(6, 10**10) == 6 and width(1000, None) == 64
    fits = [width(1000, free) for free in (10**4, 3 * 10**5, 6 * 10**5)]
    assert 1 == fits[0] < fits[1] < fits[2] < 64
    assert 1.8 < fits[2] / fits[1] < 2.2
    convolutional = [keras.Input((8, 1)), layers.Conv1D(2, 3), layers.Flatten(), layers.Dense(3, "softmax")]
    assert width(6, 10**10, tiny.network_of(lambda: keras.Sequential(convolutional), jit_compile=None)) == 1


def test_auto_is_what_is_recorded_and_else_a_batch_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(asked: str = "auto", recorded: str | None = None, tickets: int = 6, device: str = "gpu") -> str:
        return auto.spelling_for(asked, recorded, tickets, lambda: device, object)[0]

    monkeypatch.setattr(auto, "backend", lambda: Gpu(None))
    monkeypatch.setattr(auto, "best_width", lambda network, tickets: tickets - 1)
    assert (chosen(), chosen(tickets=2), chosen(tickets=1), chosen(device="cpu")) == ("batched:5", *["auto"] * 3)
    assert chosen("native", "compact") == "native" and chosen(recorded="compact") == "compact"
    monkeypatch.setattr(Gpu, "most_tickets", 1)
    assert chosen() == "auto"
