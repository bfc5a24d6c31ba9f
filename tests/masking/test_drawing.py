"""Draws of weights: decided by a seed alone, and as the layer itself would draw them."""

from __future__ import annotations

import random
import weakref

import keras
import numpy as np
import pytest

from lth_keras.masking.drawing import redrawing, seeded
from lth_keras.training.network import Network
from tests import tiny


class Loud(keras.initializers.Initializer):
    """Draws from numpy's global generator, and takes no seed."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> np.ndarray:
        return np.random.normal(size=shape).astype(np.float32)


def recurrent() -> keras.Model:
    """Weights of every kind: recurrent ones, an LSTM's forget bias, statistics, an initialiser without a seed."""
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.LSTM(3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(4, kernel_initializer=Loud()),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=9.0, seed=7)),
        ]
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(recurrent, optimizer=tiny.adam, loss="mse", batch_size=1, evaluate_every=1)


def test_a_draw_is_decided_by_seed_and_names(network: Network) -> None:
    first = network.draw_weights(3, "initial")
    np.random.seed(99)
    keras.utils.set_random_seed(98)
    keras.random.normal((3,))
    again = network.draw_weights(3, "initial")
    assert first.keys() == network.weights.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)
    for other in (network.draw_weights(4, "initial"), network.draw_weights(3, "random_reinit", 1)):
        for key, value in first.items():
            if "kernel" in key:
                assert not np.isclose(value, other[key]).any(), key


def test_a_weight_is_drawn_when_accessed_the_same_each_time_and_not_kept(network: Network) -> None:
    drawn = network.draw_weights(3, "initial")
    for key in drawn:
        first = drawn[key]
        expected, gone = first.copy(), weakref.ref(first)
        first[...] = 7  # the caller's own
        del first
        assert gone() is None
        np.testing.assert_array_equal(drawn[key], expected, err_msg=key)


def test_a_draw_leaves_the_model_and_the_global_generators(network: Network) -> None:
    before = dict(network.weights)
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    network.draw_weights(5, "initial")
    assert (random.random(), np.random.random()) == expected
    for key, value in network.weights.items():
        np.testing.assert_array_equal(value, before[key])


def test_a_draw_is_what_the_layers_would_draw(network: Network) -> None:
    drawn = network.draw_weights(0, "initial")
    forget = next(value for key, value in drawn.items() if "lstm" in key and key.endswith("bias"))
    np.testing.assert_array_equal(forget, np.repeat([0, 1, 0, 0], 3))
    recurrent_kernel = next(value for key, value in drawn.items() if key.endswith("recurrent_kernel"))
    np.testing.assert_allclose(recurrent_kernel @ recurrent_kernel.T, np.eye(3), atol=1e-5)  # orthogonal
    np.testing.assert_array_equal(drawn["batch_normalization/moving_variance"], np.ones(3))
    assert drawn["dense_1/kernel"].std() > 2  # its own scale, and below: not its fixed seed
    assert not np.isclose(drawn["dense_1/kernel"], recurrent().layers[-1].kernel).any()


def test_weights_are_drawn_independently_of_each_other() -> None:
    def twins() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])

    drawn = Network(twins, optimizer=tiny.adam, loss="mse", batch_size=1).draw_weights(0, "initial")
    assert not np.isclose(drawn["dense/kernel"], drawn["dense_1/kernel"]).any()


def test_what_a_seeded_block_draws_is_decided_by_its_seed() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), np.random.random(), float(keras.random.uniform(()))

    with seeded(5):
        first = draws()
    with pytest.raises(KeyError), seeded(5):
        assert draws() == first
        raise KeyError
    with seeded(6):
        assert not set(draws()) & set(first)


def test_a_layer_without_such_an_initialiser_is_left_to_a_rebuild() -> None:
    layer = keras.layers.Dense(2, kernel_initializer=lambda shape, dtype: np.ones(shape))
    layer.build((None, 3))
    assert redrawing(layer, layer.kernel, 0) is None
    draw = redrawing(layer, layer.bias, 0)
    assert draw is not None
    np.testing.assert_array_equal(draw(), np.zeros(2))
