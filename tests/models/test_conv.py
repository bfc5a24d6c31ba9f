from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.masking import mask_model, prunable_weights
from lth_keras.models import conv_2, conv_4, conv_6, vgg


def counts(model: keras.Model) -> dict[str, tuple[int, int]]:
    """Kernels' weights by kind, without and with biases."""
    found: dict[str, tuple[int, int]] = {}
    for layer in model.layers:
        if layer.weights:
            kind = "conv" if isinstance(layer, keras.layers.Conv2D) else "dense"
            kernels, everything = found.get(kind, (0, 0))
            found[kind] = (kernels + int(np.prod(layer.kernel.shape)), everything + layer.count_params())
    return found


@pytest.mark.parametrize(
    ("build", "in_all", "conv"),
    [(conv_2, 4.3, 0.038), (conv_4, 2.4, 0.260), (conv_6, 2.3, 1.1)],
)
def test_they_have_the_papers_number_of_weights(build: Callable[[], keras.Model], in_all: float, conv: float) -> None:
    """Figure 2, in millions: 4.3 / 0.038, 2.4 / 0.260, and 1.1 in Conv-6's convolutions; its 1.7 fit no padding."""
    model = build()
    assert model.count_params() / 1e6 == pytest.approx(in_all, abs=0.05)
    assert counts(model)["conv"][0] / 1e6 == pytest.approx(conv, abs=0.05 if conv > 1 else 0.001)


def test_conv_6_has_the_weights_of_the_thesis() -> None:
    assert counts(conv_6()) == {"dense": (1_116_672, 1_117_194), "conv": (1_144_512, 1_145_408)}


def test_layers_are_the_papers() -> None:
    model = conv_4()
    assert [layer.name for layer in model.layers] == [
        *("conv_1_a", "conv_1_b", "pool_1", "conv_2_a", "conv_2_b", "pool_2"),
        *("flatten", "dense_1", "dense_2", "output"),
    ]
    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert (filters, units) == ([64, 64, 128, 128], [256, 256, 10])


def test_the_output_is_the_network_written_out_in_numpy() -> None:
    model = vgg((2,), (5,), (4, 6, 3), 3)
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)

    def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        height, width = x.shape[1:3]
        total = sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
        return np.maximum(total + bias, 0)

    weights = [layer.get_weights() for layer in model.layers if layer.weights]
    hidden = convolved(convolved(x, *weights[0]), *weights[1])
    hidden = hidden.reshape(2, 2, 2, 3, 2, 2).max(axis=(2, 4)).reshape(2, -1)
    logits = np.maximum(hidden @ weights[2][0] + weights[2][1], 0) @ weights[3][0] + weights[3][1]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, rtol=1e-4, atol=1e-6)


def test_kernels_are_glorot_normal_and_biases_zero() -> None:
    keras.utils.set_random_seed(0)
    model = conv_2()
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel, bias = layer.get_weights()
        *window, inputs, outputs = kernel.shape
        assert kernel.std() == pytest.approx(np.sqrt(2 / (np.prod(window) * (inputs + outputs))), rel=0.1)
        assert not bias.any()


def test_all_kernels_are_prunable_by_the_papers_kinds() -> None:
    found = prunable_weights(mask_model(vgg((2, 3), (4,), (4, 4, 1), 2)))
    assert [weight.kind for weight in found] == ["conv"] * 4 + ["dense", "output"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": 1},
        {"classes": 2.5},
        {"input_shape": (7, 32, 3)},
        {"input_shape": (32, 32)},
        {"input_shape": (32, 32, 0)},
    ],
)
def test_impossible_sizes_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        conv_6(**arguments)


@pytest.mark.parametrize("arguments", [{"blocks": (0,)}, {"blocks": (2,), "hidden": (True,)}])
def test_impossible_layers_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected positive integers"):
        vgg(**arguments)
