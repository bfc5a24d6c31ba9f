"""Tickets on networks of their living units: which those are, and what stays as it is."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.system import memory
from lth_keras.training.engines import Ticket, engine_named
from lth_keras.training.engines.compact import WORTH, compact_sizes
from lth_keras.training.network import Network
from tests.few import few
from tests.training.engines.cases import (
    BIASED,
    assert_same_within_rounding,
    chain,
    data,
    network_of,
    take,
    ticket,
    trained,
)

OPTIMIZERS: dict[str, Any] = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "clipped": lambda: keras.optimizers.RMSprop(0.005, global_clipnorm=0.5),
}


def smaller_networks(network: Network) -> list[Network]:
    return [made for made in network.programs.values() if isinstance(made, Network)]


def assert_as_whole(network: Network, start: Ticket, steps: int = 40) -> Any:
    """Whether the compact engine trains the ticket as the compiled one does, on a smaller network."""
    (expected,) = trained(network, [start], steps, confusion=True)
    network.engine = engine_named("compact")
    (received,) = trained(network, [start], steps, confusion=True)
    assert_same_within_rounding(received, expected)
    (small,) = smaller_networks(network)
    assert small.model.count_params() < network.model.count_params()
    return received, expected


@few(("optimizer", "activation"), [*((name, "relu") for name in OPTIMIZERS), ("momentum", "tanh")], ("clipped", "relu"))
def test_what_is_cut_off_stays_as_it_is_and_biases_speak_alone(optimizer: str, activation: str) -> None:
    network = network_of("compiled", lambda: chain(activation), optimizer=OPTIMIZERS[optimizer])
    take(network, 0)
    start = ticket(network)
    received, expected = assert_as_whole(network, start)
    mask = start.mask
    assert mask is not None and start.weights is not None
    for key, whole in expected.weights.items():  # to the last bit
        still = whole == (start.weights[key] * mask[key] if key in mask else start.weights[key])
        np.testing.assert_array_equal(received.weights[key][still & (whole != 0)], whole[still & (whole != 0)])
    assert received.weights["second/bias"][BIASED] != 0.5


def test_layers_that_are_frozen_stay_so() -> None:
    def frozen() -> keras.Model:
        model = chain()
        model.layers[1].trainable = False
        return model

    network = network_of("compact", frozen, prune_frozen=True)
    take(network, 0)
    start = ticket(network)
    (received,) = trained(network, [start], 20)
    assert start.weights is not None and start.mask is not None and smaller_networks(network)
    for key, moves in (("first/kernel", False), ("second/kernel", True)):
        assert (received.weights[key] != start.weights[key] * start.mask[key]).any() == moves


@pytest.mark.slow
def test_inputs_are_cast_as_the_whole_network_casts_them() -> None:
    def of_integers() -> keras.Model:
        layers = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((6, 8), dtype="int32"), *layers])

    network = network_of("compiled", of_integers)
    network.take({0: network.checked(data(0))})  # which are no integers
    generator = np.random.default_rng(0)
    kept = {key: generator.random(shape) < 0.05 for key, shape in network.mask.shapes.items()}
    assert_as_whole(network, ticket(network, mask=Mask(kept)))


@few("shape", [(0, 6, 8), 0], 0, ids=["shaped", "flat"])
def test_a_validation_split_that_is_not_there_has_any_shape(shape: Any) -> None:
    network = network_of("compact")
    take(network, 0)
    (splits,) = network.datasets.values()
    none = (np.empty(shape, np.float32), np.empty(0, np.int32))
    network.take({0: network.checked({**splits, "validation": none, "without_validation": True})})
    (received,) = trained(network, [ticket(network)], 10)
    assert received.curves.early_stop_step == 10


def test_the_whole_network_trains_what_is_hardly_smaller_to_the_same_bits() -> None:
    network = network_of("compiled")
    take(network, 0)
    dense = ticket(network, mask=Mask.ones(network.mask.shapes))
    (expected,) = trained(network, [dense], 10)
    network.engine = engine_named("compact")
    (received,) = trained(network, [dense], 10)
    assert not smaller_networks(network)
    for key, value in expected.weights.items():
        np.testing.assert_array_equal(received.weights[key], value)


@pytest.mark.slow
def test_only_the_data_of_one_network_are_kept() -> None:
    network = network_of("compact")
    take(network, 0)
    wide = ticket(network)
    assert wide.mask is not None
    narrow = Mask({key: value & (np.arange(value.shape[1]) < 4) for key, value in wide.mask.items()})
    trained(network, [wide, wide._replace(mask=narrow)], 5)
    first, second = smaller_networks(network)
    assert not first.datasets and second.datasets


def test_a_network_that_does_not_fit_beside_the_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("compact")
    take(network, 0)
    monkeypatch.setattr(memory, "free_memory_bytes", lambda: 1_000)
    with pytest.raises(memory.NotEnoughMemoryError, match="Expected memory"):
        trained(network, [ticket(network)])


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
        (lambda: keras.optimizers.SGD(0.1, weight_decay=1e-4), "SGD with weight_decay=0.0001"),
        (lambda: keras.optimizers.Adafactor(1e-3), "Adafactor"),
        (lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_overwrite_frequency=5), "Adam with use_ema=True"),
    ],
)
def test_optimisers_that_move_weights_without_a_gradient_are_refused(optimizer: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"without weight decay.*Received: {named}.*Use another engine than compact"):
        network_of("compact", optimizer=optimizer)
