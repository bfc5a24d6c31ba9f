from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.models import lenet_300_100


def test_it_is_the_network_of_the_paper() -> None:
    model = lenet_300_100()
    assert [layer.name for layer in model.layers] == ["hidden_1", "hidden_2", "output"]
    shapes = [tuple(weight.shape) for weight in model.weights]
    assert shapes == [(784, 300), (300,), (300, 100), (100,), (100, 10), (10,)]
    assert model.count_params() == 266_610
    assert sum(np.prod(shape) for shape in shapes if len(shape) == 2) == 266_200


def test_kernels_are_glorot_normal_and_biases_zero() -> None:
    keras.utils.set_random_seed(0)
    for layer in lenet_300_100().layers:
        kernel, bias = layer.get_weights()
        # The deviation after truncation at two standard deviations, "Glorot & Bengio", 2010.
        assert kernel.std() == pytest.approx(np.sqrt(2 / sum(kernel.shape)), rel=0.1)
        # A normal distribution cut at two deviations has kurtosis 2.4, a uniform one 1.8.
        if kernel.size > 10_000:
            assert np.mean((kernel / kernel.std()) ** 4) == pytest.approx(2.37, abs=0.1)
        assert not bias.any()


def test_the_output_is_the_network_written_out_in_numpy() -> None:
    model = lenet_300_100(input_shape=(5,), classes=3, hidden=(7, 6))
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    (k1, b1), (k2, b2), (k3, b3) = (layer.get_weights() for layer in model.layers)
    logits = np.maximum(np.maximum(x @ k1 + b1, 0) @ k2 + b2, 0) @ k3 + b3
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    received = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_the_same_keras_seed_gives_the_same_weights() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return lenet_300_100().get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_images_are_flattened() -> None:
    model = lenet_300_100(input_shape=(8, 8, 1), hidden=(16,))
    assert model.output_shape == (None, 10)
    assert model.layers[0].name == "flatten"
    assert [layer.name for layer in model.layers[1:]] == ["hidden_1", "output"]


def test_without_hidden_layers_it_is_a_linear_classifier() -> None:
    assert lenet_300_100(hidden=()).count_params() == 7850


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": 1},
        {"classes": 0},
        {"classes": 2.5},
        {"hidden": (300, 0)},
        {"hidden": (300, -1)},
        {"hidden": (300, True)},
        {"input_shape": ()},
        {"input_shape": (0,)},
        {"input_shape": (None,)},
    ],
)
def test_impossible_sizes_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        lenet_300_100(**arguments)
