"""Which units of a chain of dense layers live, and which models are such chains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.masking import dense_chain, living_units, mask_model

Dense = keras.layers.Dense


def living_by_search(kernels: list[np.ndarray], constant: list[np.ndarray]) -> list[set[int]]:
    """The same, unit by unit, over all ways through the network."""
    layers = [set(range(kernels[0].shape[0])), *(set() for _ in kernels)]
    for i, (kernel, always) in enumerate(zip(kernels, constant, strict=True)):
        layers[i + 1] = {j for j in range(kernel.shape[1]) if always[j] or any(kernel[u, j] for u in layers[i])}
    layers[-1] = set(range(kernels[-1].shape[1]))
    for i in reversed(range(len(kernels))):
        layers[i] = {
            u for u in layers[i] if any(kernels[i][u, j] for j in range(kernels[i].shape[1]) if j in layers[i + 1])
        }
    return layers


@pytest.mark.parametrize("seed", range(20))
def test_living_units_are_on_a_path_from_an_input_to_an_output(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = (9, 7, 6, 3)
    kernels = [generator.random(shape) < 0.2 for shape in zip(sizes, sizes[1:], strict=False)]
    constant = [generator.random(units) < 0.2 for units in sizes[1:]]
    found = living_units(kernels, constant)
    assert [set(np.flatnonzero(units)) for units in found] == living_by_search(kernels, constant)


def test_all_live_in_a_dense_network_and_only_outputs_in_an_empty_one() -> None:
    shapes = ((4, 3), (3, 2))
    constant = [np.zeros(3, bool), np.zeros(2, bool)]
    dense = living_units([np.ones(shape, bool) for shape in shapes], constant)
    empty = living_units([np.zeros(shape, bool) for shape in shapes], constant)
    assert [int(units.sum()) for units in dense] == [4, 3, 2]
    assert [int(units.sum()) for units in empty] == [0, 0, 2]


def test_a_chain_is_found_in_sequential_and_functional_models() -> None:
    image = keras.Input((4, 2))
    flat = keras.layers.Flatten()(image)
    hidden = Dense(5, "tanh", name="first")(flat)
    functional = mask_model(keras.Model(image, Dense(3, "softmax", name="second")(hidden)))
    sequential = mask_model(keras.Sequential([keras.Input((4,)), Dense(5, "relu"), Dense(3, "softmax")]))
    assert [(part.place, part.zero_without_input) for part in dense_chain(functional)] == [
        ("first", False),
        ("second", False),
    ]
    assert [(part.place, part.zero_without_input) for part in dense_chain(sequential)] == [
        ("dense", True),
        ("dense_1", False),
    ]


def _residual() -> keras.Model:
    x = keras.Input((4,))
    return keras.Model(x, Dense(2)(keras.layers.Add()([x, Dense(4)(x)])))


def _shared() -> keras.Model:
    x, twice = keras.Input((4,)), Dense(4, name="twice")
    return keras.Model(x, Dense(2)(twice(twice(x))))


class _Scaled(keras.layers.Flatten):
    def call(self, inputs: Any) -> Any:
        return 2 * super().call(inputs)


def _sequential(*layers: Any, shape: tuple[int, ...] = (4,)) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential([keras.Input(shape), *(make() for make in layers), Dense(2)])


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (_residual, "add"),
        (_sequential(lambda: keras.layers.Dropout(0.5)), "dropout"),
        (_sequential(lambda: Dense(4), keras.layers.LayerNormalization), "layer_normalization"),
        (_sequential(lambda: Dense(4, "softmax")), "dense"),
        (_sequential(lambda: Dense(4, kernel_regularizer="l2")), "kernel_regularizer"),
        (_sequential(lambda: Dense(4, bias_constraint="max_norm")), "bias_constraint"),
        (_sequential(lambda: Dense(4, activity_regularizer="l1")), "activity_regularizer"),
        (_sequential(lambda: Dense(4), shape=(3, 4)), "dense"),
        (_sequential(lambda: keras.layers.Conv1D(3, 2), keras.layers.Flatten, shape=(5, 2)), "conv1d"),
        (_shared, "'twice' more than once"),
        (_sequential(lambda: Dense(4, lora_rank=2)), "lora_kernel_a, lora_kernel_b beside"),
        (_sequential(_Scaled, shape=(3, 4)), "a _Scaled"),
        (_sequential(lambda: keras.layers.Flatten("channels_first"), shape=(3, 4)), "data_format='channels_first'"),
        (_sequential(lambda: keras.layers.Flatten(dtype="float16"), shape=(3, 4)), "'flatten' in float16"),
    ],
)
def test_what_is_no_chain_is_named(build: Callable[[], keras.Model], named: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected a chain of Dense layers(.|\n)*Received: .*{named}"):
        dense_chain(mask_model(build()))
