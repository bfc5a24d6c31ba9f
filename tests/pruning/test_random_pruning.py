"""Random models of all layer types, pruned at random: exact counts, no gradients, the same function without masks."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from keras import layers, ops

import lth_keras as lth
from lth_keras.layers import PRUNABLE
from lth_keras.masking import PrunableWeight, get_mask, mask_model, prunable_weights, strip_masks, variables, walk
from tests.backend import JIT, gradients
from tests.masking.models import outputs, random_mask
from tests.masking.random_models import MAKERS, random_attention, random_model

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
ATTENTION = (layers.MultiHeadAttention, layers.GroupQueryAttention)
N_OF_M = {"2:4": (2, 4), "1:4": (1, 4), "1:2": (1, 2)}
BLOCKS = {"2x2": (2, 2), "1x4": (1, 4), "4x1": (4, 1)}
PATTERNS = (*N_OF_M, *BLOCKS, "units", "filters", "columns", "heads")


def is_depthwise(weight: PrunableWeight) -> bool:
    return isinstance(weight.layer, DEPTHWISE) and weight.name != "pointwise_kernel"


def inputs_last(weight: PrunableWeight, array: np.ndarray) -> np.ndarray:
    """The array with the axis of its input channels last; of a depthwise kernel, the last axis in space."""
    axis = -2
    if weight.kind == "embedding" or isinstance(weight.layer, TRANSPOSED):
        axis = -1
    elif is_depthwise(weight):
        axis = -3
    elif isinstance(weight.layer, ATTENTION) and weight.name != "output_kernel":
        axis = 0
    return np.moveaxis(array, axis, -1)


def units_last(weight: PrunableWeight, array: np.ndarray) -> np.ndarray:
    """The array as (inputs, units)."""
    if isinstance(weight.layer, TRANSPOSED):
        array = np.moveaxis(array, -2, -1)
    units = array.shape[-1] * (array.shape[-2] if is_depthwise(weight) else 1)
    return array.reshape(-1, units)


def heads_last(weight: PrunableWeight, array: np.ndarray) -> np.ndarray:
    """The array as (others, heads)."""
    array = np.moveaxis(array, 0 if weight.name == "output_kernel" else 1, -1)
    return array.reshape(-1, array.shape[-1])


def in_blocks(array: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """The array as (weights of a block, blocks)."""
    rows, columns = block
    parts = array.reshape(-1, array.shape[-2] // rows, rows, array.shape[-1] // columns, columns)
    return np.moveaxis(parts, (2, 4), (0, 1)).reshape(rows * columns, -1)


def takes(weight: PrunableWeight, pattern: str) -> bool:
    """Whether a pattern can prune a weight."""
    shape = tuple(weight.mask.shape)
    if pattern in N_OF_M:
        return inputs_last(weight, np.zeros(shape)).shape[-1] % N_OF_M[pattern][1] == 0
    if pattern in BLOCKS:
        rows, columns = BLOCKS[pattern]
        return shape[-2] % rows == 0 and shape[-1] % columns == 0
    if pattern == "heads":
        return isinstance(weight.layer, layers.MultiHeadAttention)
    cells = (layers.RNN, layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)
    return weight.kind != "output" and not isinstance(weight.layer, (*cells, *ATTENTION))


def check_pattern(weight: PrunableWeight, kept: np.ndarray, pattern: str, density: float) -> None:
    """Whole groups are kept, and exactly as many as there should be."""
    if pattern in N_OF_M:
        n, m = N_OF_M[pattern]
        assert (inputs_last(weight, kept).reshape(-1, m).sum(axis=1) == n).all()
        return
    groups = {"heads": heads_last}.get(pattern, units_last)(weight, kept)
    if pattern in BLOCKS:
        groups = in_blocks(kept, BLOCKS[pattern])
    assert (groups.all(axis=0) == groups.any(axis=0)).all()
    assert groups.any(axis=0).sum() == round(density * groups.shape[1])


def stays(weight: PrunableWeight, pattern: str) -> bool:
    """Whether a pattern leaves a weight as it is, and is no error for it."""
    return pattern == "heads" or (weight.kind == "output" and pattern not in (*N_OF_M, *BLOCKS))


def pruned_by(model: keras.Model, pattern: str, density: float) -> keras.Model:
    """The model with the pattern; layers that cannot have it stay plain."""
    masked = mask_model(model)
    places, plain = {id(layer): place for place, layer in walk(masked)}, dict(walk(model))
    weights = prunable_weights(masked)
    wrong = {id(w.layer) for w in weights if not takes(w, pattern) and not stays(w, pattern)}
    assume(any(takes(weight, pattern) and id(weight.layer) not in wrong for weight in weights))
    whole: dict[str, Any] = {} if pattern in N_OF_M else {"density": density, "scope": "layer"}
    return lth.prune(model, pattern=pattern, exclude=[plain[places[layer]] for layer in wrong], **whole)


def model_of(seed: int, way: str) -> tuple[keras.Model, np.ndarray]:
    """A random model without layers that are quantised, which cannot be pruned, or have LoRA, which prunes sums."""
    model, x = random_attention(seed) if way == "heads" else random_model(seed)
    found = [layer for _, layer in walk(model)]
    assume(not any(getattr(layer, "quantization_mode", None) for layer in found))
    assume(not any(getattr(layer, "lora_enabled", False) for layer in found))
    return model, x


def gradients_of(model: keras.Model, x: np.ndarray, keys: list[str]) -> dict[str, np.ndarray]:
    """The gradients of a loss by the weights of these keys that are trained."""
    trained = {key: variable for key, variable in variables(model).items() if key in keys and variable.trainable}

    def loss() -> tuple[Any, Any]:
        out = ops.cast(model(x, training=False), "float32")
        return ops.sum(ops.square(out - 1.0)), ops.zeros(())

    return dict(zip(trained, gradients(loss, list(trained.values()))[1], strict=True))


def check(seed: int, way: str, density: float) -> None:
    model, x = model_of(seed, way)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frozen layers, and of those that have no mask
        if way in PATTERNS:
            pruned = pruned_by(model, way, density)
        elif way == "mask":
            pruned = mask_model(model)
            lth.set_mask(pruned, random_mask(pruned, seed))
        else:
            pruned = lth.prune(model, density, scope=way)
        stripped = strip_masks(pruned)
    mask = get_mask(pruned)
    for weight in prunable_weights(pruned):
        if way in PATTERNS and takes(weight, way):
            check_pattern(weight, mask[weight.key], way, density)
        elif way in PATTERNS:
            assert mask[weight.key].all()
    if way not in (*PATTERNS, "mask"):
        assert mask.kept == round(density * mask.size) and min(mask.counts().values()) >= 1
    np.testing.assert_allclose(outputs(pruned, x)[0], outputs(stripped, x)[0], rtol=1e-5, atol=1e-5)
    plain, before = variables(stripped), variables(model)
    found, expected = gradients_of(pruned, x, list(mask)), gradients_of(stripped, x, list(mask))
    assert found.keys() == expected.keys()
    for key, kept in mask.items():
        value = np.array(ops.convert_to_numpy(plain[key]))
        np.testing.assert_array_equal(value, np.where(kept, ops.convert_to_numpy(before[key]), 0))
        if key in found:
            assert not found[key][~kept].any(), key
            scale = np.abs(expected[key]).max() + 1e-6
            np.testing.assert_allclose(found[key][kept] / scale, expected[key][kept] / scale, atol=1e-4)


# The same examples every time; a smaller seed is no simpler model, so failures are not shrunk.
SAME: dict[str, Any] = {"deadline": None, "derandomize": True, "database": None, "phases": [Phase.generate]}
WAYS = st.sampled_from(["layer", "global", "mask", *PATTERNS])
DENSITIES = st.floats(0.3, 0.95)


@settings(max_examples=3, **SAME)
@given(st.integers(0, 10_000), WAYS, DENSITIES)
def test_random_models_pruned_at_random(seed: int, way: str, density: float) -> None:
    check(seed, way, density)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["layer", "global", "mask", *PATTERNS])
def test_many_random_models_pruned_at_random(way: str) -> None:
    @settings(max_examples=12, **SAME)
    @given(st.integers(0, 10_000), DENSITIES)
    def property_of(seed: int, density: float) -> None:
        check(seed, way, density)

    property_of()


def check_training(seed: int) -> None:
    """2:4 holds after every step, and no step moves a pruned weight."""
    model, x = model_of(seed, "2:4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruned = pruned_by(model, "2:4", 0.5)
    mask = get_mask(pruned)
    pruned.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=JIT)
    held = {w.key: np.array(ops.convert_to_numpy(w.variable)) for w in prunable_weights(pruned)}
    for _ in range(3):
        pruned.fit(x, np.ones((len(x), 2), "float32"), batch_size=len(x), verbose=0)
        assert get_mask(pruned) == mask
        plain = variables(strip_masks(pruned))
        for weight in prunable_weights(pruned):
            value = np.array(ops.convert_to_numpy(plain[weight.key]))
            check_pattern(weight, mask[weight.key], "2:4", 0.5)
            assert (np.count_nonzero(inputs_last(weight, value).reshape(-1, 4), axis=1) <= 2).all()
            now = np.array(ops.convert_to_numpy(weight.variable))
            if getattr(weight.holder, "kernel_constraint", None) is None:  # max_norm scales whole units
                np.testing.assert_array_equal(now[~mask[weight.key]], held[weight.key][~mask[weight.key]])


@settings(max_examples=1, **SAME)
@given(st.integers(0, 10_000))
def test_two_of_four_holds_after_every_step_of_fit(seed: int) -> None:
    check_training(seed)


@pytest.mark.slow
@settings(max_examples=12, **SAME)
@given(st.integers(10_000, 20_000))
def test_two_of_four_holds_after_every_step_of_fit_of_many(seed: int) -> None:
    check_training(seed)


def test_every_prunable_layer_type_can_be_in_a_random_model() -> None:
    generator = np.random.default_rng(0)
    made = [layer for maker in MAKERS for layer in maker(generator)._flatten_layers()]
    assert {*PRUNABLE} <= {type(layer) for layer in made}
