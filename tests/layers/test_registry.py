"""A layer type is prunable by one entry in the registry, wherever its weights are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import lth_keras.layers
from lth_keras.layers import KINDS, MASKED_LAYERS, PLAIN_LAYERS, PRUNABLE, Prunable, add_prunable
from lth_keras.masking import get_mask, mask_model, prunable_weights, set_mask, strip_masks, variables
from tests.backend import gradients


class Type(NamedTuple):
    layer: type[keras.layers.Layer]
    entry: Prunable
    make: Callable[[Any], Any]
    shape: tuple[int, ...]
    keys: list[str]


ATTENTION = {name: f"_{name}_dense._kernel" for name in ("query", "key", "value", "output")}
TYPES = {
    "on the layer, as a property": Type(
        layers.Conv3D,
        Prunable("conv", {"kernel": "_kernel"}),
        lambda x: layers.Conv3D(2, 2)(x),
        (3, 3, 3, 2),
        ["conv3d/kernel"],
    ),
    "on the layer": Type(
        layers.DepthwiseConv2D,
        Prunable("conv", {"kernel": "kernel"}),
        lambda x: layers.DepthwiseConv2D(2)(x),
        (3, 3, 2),
        ["depthwise_conv2d/kernel"],
    ),
    "several": Type(
        layers.SeparableConv1D,
        Prunable("conv", {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel"}),
        lambda x: layers.SeparableConv1D(8, 2)(x),
        (4, 2),
        ["separable_conv1d/depthwise_kernel", "separable_conv1d/pointwise_kernel"],
    ),
    "in a cell": Type(
        layers.LSTM,
        Prunable("dense", {"kernel": "cell.kernel", "recurrent_kernel": "cell.recurrent_kernel"}),
        lambda x: layers.LSTM(3, kernel_regularizer=keras.regularizers.L1(0.1))(x),
        (4, 2),
        ["lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel"],
    ),
    "in layers inside": Type(
        layers.MultiHeadAttention,
        Prunable("dense", ATTENTION),
        lambda x: layers.MultiHeadAttention(2, 3)(x, x),
        (4, 2),
        [f"multi_head_attention/{name}/kernel" for name in ("query", "key", "value", "attention_output")],
    ),
}


QUICK = ("several", "in layers inside")


@pytest.fixture(params=[pytest.param(TYPES[n], id=n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in TYPES])
def added(request: pytest.FixtureRequest) -> Iterator[Type]:
    """A layer type, in the registry for the time of a test."""
    layer, entry = request.param.layer, request.param.entry
    masked = add_prunable(layer, entry.kind, entry.variables)
    yield request.param
    del PRUNABLE[layer], MASKED_LAYERS[layer], PLAIN_LAYERS[masked]


def pruned(added: Type) -> tuple[keras.Model, keras.Model]:
    """A model with a layer of that type, and one that is masked at random."""
    inputs = keras.Input(added.shape)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(added.make(inputs))))
    masked = mask_model(model)
    generator = np.random.default_rng(0)
    set_mask(masked, {key: generator.random(shape) < 0.5 for key, shape in get_mask(masked).shapes.items()})
    return model, masked


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(x)))


def test_an_entry_is_all_that_a_layer_type_needs(added: Type, tmp_path: Path) -> None:
    plain, masked = pruned(added)
    weights = prunable_weights(masked)
    assert [weight.key for weight in weights] == [*added.keys, "dense/kernel"]
    assert [weight.kind for weight in weights] == [added.entry.kind] * len(added.keys) + ["output"]
    masks = [variable.name for variable in weights[0].layer.non_trainable_variables if variable.dtype == "bool"]
    assert masks == [f"{name}_mask" for name in added.entry.variables]
    x = np.random.default_rng(1).normal(size=(2, *added.shape)).astype("float32")
    for key, variable in variables(plain).items():
        if key in get_mask(masked):
            variable.assign(variable * get_mask(masked)[key])
    expected = outputs(plain, x)
    np.testing.assert_array_equal(outputs(masked, x), expected)
    np.testing.assert_array_equal(np.asarray(masked.predict(x, verbose=0)), plain.predict(x, verbose=0))
    np.testing.assert_array_equal(outputs(strip_masks(masked), x), expected)
    masked.save(tmp_path / "masked.keras")
    again = keras.saving.load_model(tmp_path / "masked.keras")
    np.testing.assert_array_equal(outputs(again, x), expected)
    assert get_mask(again) == get_mask(masked)


def test_pruned_weights_have_no_gradient_and_all_others_have(added: Type) -> None:
    _, masked = pruned(added)
    weights = prunable_weights(masked)
    x = np.random.default_rng(1).normal(size=(2, *added.shape)).astype("float32")

    def loss() -> tuple[Any, Any]:
        return ops.sum(masked(x) ** 2) + sum(masked.losses), ops.zeros(())

    _, found = gradients(loss, [weight.variable for weight in weights])
    for weight, gradient in zip(weights, found, strict=True):
        kept = ops.convert_to_numpy(weight.mask)
        assert not gradient[~kept].any(), weight.key
        assert np.mean(gradient[kept] != 0) > 0.4, weight.key  # the attention of one softmax can be nearly even


def test_a_weight_reads_as_the_keras_variable_outside_the_forward_pass(added: Type) -> None:
    _, masked = pruned(added)
    for weight in prunable_weights(masked):
        for one in weight.layer.masked_weights():
            assert getattr(one.holder, one.attribute) is one.variable


def test_the_masked_type_has_a_name_in_the_package(added: Type) -> None:
    masked = MASKED_LAYERS[added.layer]
    assert getattr(lth_keras.layers, f"Masked{added.layer.__name__}") is masked
    assert keras.saving.get_registered_name(masked) == f"lth_keras>Masked{added.layer.__name__}"


def test_kinds_of_layers_are_kinds_of_rates() -> None:
    assert {entry.kind for entry in PRUNABLE.values()} | {"output"} == set(KINDS)


@pytest.mark.parametrize(
    ("layer", "kind", "names"),
    [(layers.Dense, "dense", ["kernel"]), (layers.Conv3D, "output", ["kernel"]), (layers.Conv3D, "conv", [])],
)
def test_an_entry_that_cannot_be_is_refused(layer: type[keras.layers.Layer], kind: str, names: list[str]) -> None:
    before = dict(PRUNABLE)
    with pytest.raises(ValueError, match="Expected a layer type that is not prunable yet"):
        add_prunable(layer, kind, dict.fromkeys(names, "_kernel"))
    assert before == PRUNABLE
