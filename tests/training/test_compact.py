"""Tickets on networks of their living units are those of the whole network, and cost what they save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.system import memory
from lth_keras.training.compact import WORTH, Compact, compact_sizes
from lth_keras.training.network import Network
from tests import tiny

SIZES = (48, 64, 40, 3)
BIASED = 5
"""A unit of the second layer with a bias, though nothing comes in."""


def build(activation: str = "relu") -> keras.Model:
    layers = [keras.layers.Dense(units, activation, name=f"hidden_{units}") for units in SIZES[1:-1]]
    output = keras.layers.Dense(SIZES[-1], "softmax", name="output")
    return keras.Sequential([keras.Input((6, 8)), keras.layers.Flatten(), *layers, output])


def data(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.normal(size=(examples, 6, 8)).astype(np.float32)
        return x, np.digitize(x[:, 0].sum(1), [-1, 1]).astype(np.int32)

    return {"train": split(320), "validation": split(64), "test": split(64)}


def sparse_mask(shapes: dict[str, tuple[int, ...]]) -> Mask:
    """A twentieth of the weights at random, and nothing into `BIASED` of the second layer but weights from it."""
    generator = np.random.default_rng(0)
    kept = {key: generator.random(shape) < 0.05 for key, shape in shapes.items()}
    kept["hidden_40/kernel"][:, BIASED] = False
    kept["output/kernel"][BIASED] = True
    return Mask(kept)


def network_of(optimizer: Callable[[], keras.Optimizer] = tiny.adam, build: Any = build, **changes: Any) -> Network:
    parameters = {"batch_size": 16, "evaluate_every": 20, "test_every": 20, "loss": "sparse_categorical_crossentropy"}
    made = Network(
        build,
        optimizer=optimizer,
        jit_compile=keras.backend.backend() == "jax",
        **{**parameters, **changes},
    )
    made.load(data())
    return made


def start(network: Network) -> dict[str, np.ndarray]:
    weights = dict(network.draw_weights(0, "initial"))
    weights["hidden_40/bias"][BIASED] = 0.5
    return weights


OPTIMISERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "clipped": lambda: keras.optimizers.RMSprop(0.005, global_clipnorm=0.5),
}


@pytest.mark.parametrize(
    ("optimizer", "activation"),
    [*((name, "relu") for name in OPTIMISERS), ("momentum", "tanh")],
)
def test_a_ticket_trains_as_in_the_whole_network(optimizer: str, activation: str) -> None:
    network = network_of(OPTIMISERS[optimizer], lambda: build(activation))
    weights, mask = start(network), sparse_mask(network.mask.shapes)
    halfway: dict[str, dict[str, np.ndarray]] = {}

    def trained(trainer: Any, name: str) -> Any:
        after = {30: lambda: halfway.update({name: dict(trainer.weights)})}
        curves = trainer.train(100, seed=3, names=("level", 1), confusion=True, after=after)
        return curves, dict(trainer.weights), trainer.test_metric_at_early_stop(curves)

    compact = Compact(network)
    ticket = compact.ticket(weights, mask)
    assert ticket is not network
    received, small, accuracy = trained(ticket, "small")
    network.rewind(weights, mask)
    expected, whole, expected_accuracy = trained(network, "whole")
    for curve in ("train_loss", "validation_loss", "validation_accuracy", "test_accuracy"):
        np.testing.assert_allclose(getattr(received, curve), getattr(expected, curve), rtol=2e-4, atol=1e-5)
    np.testing.assert_array_equal(received.step, expected.step)
    np.testing.assert_allclose(received.test_confusion, expected.test_confusion, atol=1)
    assert accuracy == pytest.approx(expected_accuracy, abs=0.02)
    for key in whole:
        assert small[key].dtype == whole[key].dtype
        np.testing.assert_allclose(small[key], whole[key], rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(halfway["small"][key], halfway["whole"][key], rtol=1e-3, atol=2e-5)
    # What is cut off is where the whole network leaves it, to the last bit, and what is pruned is zero.
    still = {key: whole[key] == (weights[key] * mask[key] if key in mask else weights[key]) for key in whole}
    assert sum(int((part & mask[key]).sum()) for key, part in still.items() if key in mask) > 10
    for key, part in still.items():
        np.testing.assert_array_equal(small[key][part & (whole[key] != 0)], whole[key][part & (whole[key] != 0)])
    assert all((small[key][~mask[key]] == 0).all() for key in mask)
    moved = small["hidden_40/bias"][BIASED] != weights["hidden_40/bias"][BIASED]
    assert moved  # it speaks by its bias alone


def test_layers_that_are_frozen_stay_so() -> None:
    def frozen() -> keras.Model:
        model = build()
        model.layers[1].trainable = False
        return model

    network = network_of(build=frozen, prune_frozen=True)
    weights, mask = start(network), sparse_mask(network.mask.shapes)
    ticket = Compact(network).ticket(weights, mask)
    ticket.train(20, seed=0)
    np.testing.assert_array_equal(
        ticket.weights["hidden_64/kernel"], weights["hidden_64/kernel"] * mask["hidden_64/kernel"]
    )
    assert (ticket.weights["hidden_40/kernel"] != weights["hidden_40/kernel"] * mask["hidden_40/kernel"]).any()


def test_inputs_are_cast_as_the_whole_network_casts_them() -> None:
    def of_integers() -> keras.Model:
        hidden = keras.layers.Dense(64, "relu", name="hidden_64")
        output = keras.layers.Dense(SIZES[-1], "softmax", name="output")
        return keras.Sequential([keras.Input((6, 8), dtype="int32"), keras.layers.Flatten(), hidden, output])

    network = network_of(build=of_integers)  # of data that are no integers
    weights = dict(network.draw_weights(0, "initial"))
    generator = np.random.default_rng(0)
    mask = Mask({key: generator.random(shape) < 0.05 for key, shape in network.mask.shapes.items()})
    ticket = Compact(network).ticket(weights, mask)
    received = ticket.train(40, seed=0)
    network.rewind(weights, mask)
    expected = network.train(40, seed=0)
    np.testing.assert_allclose(received.validation_loss, expected.validation_loss, rtol=1e-4)


@pytest.mark.parametrize("empty", [np.empty((0, 6, 8), np.float32), np.empty(0)])
def test_a_ticket_trains_without_a_validation_split(empty: np.ndarray) -> None:
    network = network_of()
    network.load({**data(), "validation": (empty, np.empty(0, np.int32)), "without_validation": True})
    weights, mask = start(network), sparse_mask(network.mask.shapes)
    ticket = Compact(network).ticket(weights, mask)
    received = ticket.train(20, seed=0)
    accuracy = ticket.test_metric_at_early_stop(received)
    network.rewind(weights, mask)
    expected = network.train(20, seed=0)
    np.testing.assert_allclose(received.test_loss, expected.test_loss, rtol=1e-4)
    assert accuracy == pytest.approx(network.test_metric_at_early_stop(expected), abs=0.02)


def test_a_ticket_has_the_same_bits_whatever_was_trained_before() -> None:
    network = network_of()
    weights, mask = start(network), sparse_mask(network.mask.shapes)
    other = Mask({key: np.roll(value, 7) for key, value in mask.items()})

    def trained(compact: Compact, *before: Mask) -> dict[str, np.ndarray]:
        for each in before:
            compact.ticket(weights, each).train(20, seed=1)
        ticket = compact.ticket(weights, mask)
        ticket.train(40, seed=0)
        return dict(ticket.weights)

    one, two = trained(Compact(network)), trained(Compact(network), other, mask, Mask.ones(mask.shapes))
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])


def test_the_whole_network_trains_what_is_hardly_smaller() -> None:
    network = network_of()
    dense = Mask.ones(network.mask.shapes)
    weights = start(network)
    assert Compact(network).ticket(weights, dense) is network
    np.testing.assert_array_equal(network.weights["hidden_64/kernel"], weights["hidden_64/kernel"])


def test_only_the_data_of_one_network_are_kept() -> None:
    network = network_of()
    weights, mask = start(network), sparse_mask(network.mask.shapes)
    narrow = Mask({key: value & (np.arange(value.shape[1]) < 8) for key, value in mask.items()})
    compact = Compact(network)
    first: Any = compact.ticket(weights, mask)
    second: Any = compact.ticket(weights, narrow)
    assert first._small is not second._small
    with pytest.raises(RuntimeError, match="data to be loaded"):
        first.train(20, seed=0)
    second.train(20, seed=0)


def test_a_network_that_does_not_fit_beside_the_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of()
    compact = Compact(network)
    monkeypatch.setattr(memory, "free_memory_bytes", lambda: 1_000)
    with pytest.raises(memory.NotEnoughMemoryError, match="Expected memory"):
        compact.ticket(start(network), sparse_mask(network.mask.shapes))


@pytest.mark.parametrize("seed", range(10))
def test_sizes_hold_what_lives_and_save_what_they_say(seed: int) -> None:
    generator = np.random.default_rng(seed)
    full = [784, 300, 100, 10]
    living = [int(generator.integers(0, n + 1)) for n in full[:-1]] + [10]
    sizes = compact_sizes(full, living)
    assert all(alive <= size <= most for alive, size, most in zip(living, sizes, full, strict=True))

    def products(each: Any) -> int:
        first, *others = [a * b for a, b in zip(each, each[1:], strict=False)]
        return 2 * first + 3 * sum(others)

    assert sizes == tuple(full) or products(sizes) <= WORTH * products(full)


@pytest.mark.parametrize(
    ("living", "expected"),
    [
        ((784, 300, 100, 10), (784, 300, 100, 10)),
        ((780, 300, 90, 10), (784, 300, 100, 10)),  # 0.7% would be saved
        ((292, 87, 49, 10), (392, 152, 100, 10)),  # the last narrow layer would save little
        ((0, 0, 0, 0), (104, 40, 16, 10)),  # a network that is cut through still has its biases
    ],
)
def test_sizes_of_lenet(living: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert compact_sizes((784, 300, 100, 10), living) == expected


@pytest.mark.parametrize(
    ("optimizer", "named"),
    [
        (lambda: keras.optimizers.AdamW(1e-3), "AdamW"),
        (lambda: keras.optimizers.SGD(0.1, weight_decay=1e-4), "SGD with weight_decay=0.0001"),
        (lambda: keras.optimizers.Adafactor(1e-3), "Adafactor"),
        (lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_overwrite_frequency=5), "Adam with use_ema=True"),
    ],
)
def test_optimisers_that_move_weights_without_a_gradient_are_refused(
    optimizer: Callable[[], keras.Optimizer], named: str
) -> None:
    with pytest.raises(ValueError, match=f"without weight decay.*Received: {named}.*Search without compact"):
        Compact(network_of(optimizer))


def test_an_optimiser_that_all_networks_would_share_is_refused() -> None:
    one = tiny.adam()
    with pytest.raises(ValueError, match="Expected optimizer\\(\\) to make a new optimiser.*Received: the same Adam"):
        Compact(network_of(lambda: one))


def search_of(**changes: Any) -> Any:
    parameters = {
        "build": build,
        "data": data(),
        "densities": (0.5, 0.05, 0.02),
        "rates": None,
        "levels": 3,
        "scope": "global",
        "steps": 60,
        "batch_size": 16,
        "evaluate_every": 20,
        "test_every": 20,
    }
    return tiny.make(**{**parameters, **changes})


@pytest.mark.slow
def test_a_search_finds_the_same_tickets(tmp_path: Path) -> None:
    branches = ("winning_ticket", "random_reinit", "random_mask")
    whole = search_of(config={"name": "whole"}).run(1, branches, out=tmp_path)
    search = search_of(config={"name": "small"}, compact=True)
    small = search.run(1, branches, out=tmp_path)
    assert search._workshop.compact(search.network)._made  # it was trained on smaller ones
    for branch in branches:
        received = tiny.masks_of(small, 0, branch, 3)
        assert received == tiny.masks_of(whole, 0, branch, 3)
    for name in ("validation_loss", "train_loss"):
        np.testing.assert_allclose(small.dataset[name], whole.dataset[name], rtol=2e-3, atol=1e-4)


def test_a_run_says_that_it_is_compact(tmp_path: Path) -> None:
    plain, compact = search_of(), search_of(compact=True)
    assert compact.identity == {**plain.identity, "compact": True}


def test_a_search_of_a_model_that_is_no_chain_says_so_before_it_trains(tmp_path: Path) -> None:
    def convolutional() -> keras.Model:
        layers = [keras.layers.Conv1D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((6, 8)), *layers])

    with pytest.raises(ValueError, match="Expected a chain of Dense layers"):
        search_of(build=convolutional, compact=True).run(1, out=tmp_path)
    assert not list(tmp_path.rglob("level_*.h5"))


def test_a_variant_that_cannot_be_compact_says_so_before_anything_is_trained(tmp_path: Path) -> None:
    decayed = {"compact": True, "optimizer": lambda: keras.optimizers.AdamW(1e-3)}
    search = search_of(config={"name": "variant"}, variants={"decayed": decayed})
    with pytest.raises(ValueError, match="without weight decay"):
        search.run(1, ("winning_ticket", "decayed"), out=tmp_path)
    assert not list(tmp_path.rglob("level_*.h5"))


def test_tickets_are_not_trained_together_on_smaller_networks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected vectorize=1 with compact"):
        search_of(compact=True, vectorize=2).run(2, out=tmp_path)
