"""A layer type is prunable by one entry in the registry, wherever its weights are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import lth_keras.layers
from lth_keras.layers import KINDS, MASKED_LAYERS, NOT_PRUNABLE, PRUNABLE
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, is_connected, mask_model, prunable_weights, set_mask, strip_masks, variables
from tests.backend import aligned, gradients


class Type(NamedTuple):
    layer: Callable[[Any], Any]
    shape: tuple[int, ...]
    keys: list[str]
    kind: str


def of_one(make: Callable[[], Any], shape: tuple[int, ...], weights: Sequence[str], kind: str) -> Type:
    """A layer of one input, with its prunable weights as they are called inside it."""
    place = re.sub(r"_\d+$", "", make().name)
    return Type(lambda x: make()(x), shape, [f"{place}/{weight}" for weight in weights], kind)


CELLS = {"SimpleRNN": "simple_rnn_cell", "GRU": "gru_cell", "LSTM": "lstm_cell"}
PROJECTIONS = [f"{name}/kernel" for name in ("query", "key", "value", "attention_output")]
GATED = [f"{name}/kernel" for name in ("query", "key", "value", "gate", "attention_output")]
L1 = keras.regularizers.L1(0.1)


def types() -> dict[str, Type]:
    """A layer of each type in the registry, and of those with weights that not every layer of the type has."""
    kernel, both = ["kernel"], ["depthwise_kernel", "pointwise_kernel"]
    found = {
        "Dense": of_one(lambda: layers.Dense(3), (4,), kernel, "dense"),
        "EinsumDense": of_one(lambda: layers.EinsumDense("abc,cd->abd", (4, 3)), (4, 2), kernel, "dense"),
        "Embedding": of_one(lambda: layers.Embedding(9, 3), (4,), ["embeddings"], "embedding"),
        "ReversibleEmbedding": of_one(lambda: layers.ReversibleEmbedding(9, 3), (4,), ["embeddings"], "embedding"),
        "ReversibleEmbedding, not tied": Type(back_and_forth, (4,), UNTIED, "embedding"),
        "MultiHeadAttention": Type(
            lambda x: layers.MultiHeadAttention(2, 3)(x, x),
            (4, 2),
            [f"multi_head_attention/{name}" for name in PROJECTIONS],
            "dense",
        ),
        "GroupQueryAttention": Type(
            lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x),
            (4, 2),
            [f"grouped_query_attention/{name}" for name in PROJECTIONS],
            "dense",
        ),
    }
    if "use_gate" in inspect.signature(layers.MultiHeadAttention).parameters:
        found["MultiHeadAttention, gated"] = Type(
            lambda x: layers.MultiHeadAttention(2, 3, use_gate=True)(x, x),
            (4, 2),
            [f"multi_head_attention/{name}" for name in GATED],
            "dense",
        )
    for n in (1, 2, 3):
        image = (3,) * n + (2,)
        convolutions = {f"Conv{n}D": kernel, f"Conv{n}DTranspose": kernel, f"SeparableConv{n}D": both}
        for name, weights in convolutions.items():
            if hasattr(layers, name):
                found[name] = of_one(partial(getattr(layers, name), 2, 2), image, weights, "conv")
        if n < 3:
            found[f"DepthwiseConv{n}D"] = of_one(
                partial(getattr(layers, f"DepthwiseConv{n}D"), 2), image, kernel, "conv"
            )
        weights = ["conv_lstm_cell/kernel", "conv_lstm_cell/recurrent_kernel"]
        found[f"ConvLSTM{n}D"] = of_one(partial(getattr(layers, f"ConvLSTM{n}D"), 2, 2), (2, *image), weights, "conv")
    for name, cell in CELLS.items():
        weights = [f"{cell}/kernel", f"{cell}/recurrent_kernel"]
        make = partial(getattr(layers, name), 3, kernel_regularizer=L1, return_sequences=True)
        found[name] = of_one(make, (4, 2), weights, "dense")
        inside = partial(getattr(layers, f"{name}Cell"), 3)
        found[f"{name}Cell"] = of_one(partial(in_rnn, inside), (4, 2), weights, "dense")
    return found


def in_rnn(cell: Callable[[], Any]) -> Any:
    return layers.RNN(cell(), return_sequences=True)


def back_and_forth(x: Any) -> Any:
    layer = layers.ReversibleEmbedding(9, 3, tie_weights=False)
    return layer(layer(x), reverse=True)


UNTIED = ["reversible_embedding/embeddings", "reversible_embedding/reverse_embeddings"]
TYPES = types()
QUICK = ("SeparableConv1D", "MultiHeadAttention", "LSTM")


@pytest.fixture(params=[pytest.param(TYPES[n], id=n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in TYPES])
def added(request: pytest.FixtureRequest) -> Type:
    """A layer type."""
    found: Type = request.param
    return found


def test_every_layer_of_keras_with_weights_is_prunable_or_it_is_said_why_not() -> None:
    for name, layer in vars(layers).items():
        if isinstance(layer, type) and issubclass(layer, keras.layers.Layer) and layer is not keras.layers.Layer:
            own = [base for base in layer.__mro__ if base.__module__.startswith("keras.src.") and base not in BASES]
            adds = any("add_weight(" in inspect.getsource(base) for base in own)
            stated = layer in PRUNABLE or layer.__name__ in NOT_PRUNABLE or issubclass(layer, HOLDERS)
            assert stated or not adds, name
    assert {getattr(layers, name.split(",")[0]) for name in TYPES} == {*PRUNABLE}


BASES = {keras.layers.Layer, *keras.layers.Layer.__mro__}
HOLDERS = (layers.Wrapper, layers.RNN, layers.StackedRNNCells)
"""Layers whose weights are those of layers inside; SpectralNormalization adds the estimate of a singular vector."""


def pruned(added: Type) -> tuple[keras.Model, keras.Model]:
    """A model with a layer of that type, and one that is masked at random."""
    inputs = keras.Input(added.shape)
    model = keras.Model(inputs, layers.Dense(3, name="last")(layers.Flatten()(added.layer(inputs))))
    masked = mask_model(model)
    generator = np.random.default_rng(0)
    set_mask(masked, {key: generator.random(shape) < 0.7 for key, shape in get_mask(masked).shapes.items()})
    return model, masked


def examples(added: Type) -> np.ndarray:
    generator = np.random.default_rng(1)
    if added.kind == "embedding":
        return generator.integers(0, 9, (2, *added.shape))
    return generator.normal(size=(2, *added.shape)).astype("float32")


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(aligned(x))))


def test_an_entry_is_all_that_a_layer_type_needs(added: Type, tmp_path: Path) -> None:
    plain, masked = pruned(added)
    weights = prunable_weights(masked)
    assert [weight.key for weight in weights] == [*added.keys, "last/kernel"]
    assert [weight.kind for weight in weights] == [added.kind] * len(added.keys) + ["output"]
    x = examples(added)
    for key, variable in variables(plain).items():
        if key in get_mask(masked):
            variable.assign(variable * get_mask(masked)[key])
    expected = outputs(plain, x)
    np.testing.assert_array_equal(outputs(masked, x), expected)
    # PyTorch's products round by the alignment of memory, which differs from call to call.
    np.testing.assert_allclose(masked.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(outputs(strip_masks(masked), x), expected)
    masked.save(tmp_path / "masked.keras")
    again = keras.saving.load_model(tmp_path / "masked.keras")
    np.testing.assert_array_equal(outputs(again, x), expected)
    assert get_mask(again) == get_mask(masked)


def test_pruned_weights_have_no_gradient_and_all_others_that_of_keras(added: Type) -> None:
    plain, masked = pruned(added)
    mask = get_mask(masked)
    for key, variable in variables(plain).items():
        if key in mask:
            variable.assign(variable * mask[key])
    expected, found = by_key(plain, added), by_key(masked, added)
    for key, kept in mask.items():
        np.testing.assert_array_equal(found[key][~kept], 0)
        np.testing.assert_allclose(found[key][kept], expected[key][kept], rtol=1e-4, atol=1e-6)
    assert sum(array.any() for array in found.values()) > len(found) / 2


def by_key(model: keras.Model, added: Type) -> dict[str, np.ndarray]:
    """The gradient of a loss by each weight of the model."""
    x = examples(added)

    def loss() -> tuple[Any, Any]:
        return ops.sum(model(x) ** 2) + sum(model.losses), ops.zeros(())

    keys = variables(model)
    return dict(zip(keys, gradients(loss, list(keys.values()))[1], strict=True))


def test_a_weight_reads_as_the_keras_variable_outside_the_forward_pass(added: Type) -> None:
    _, masked = pruned(added)
    for weight in prunable_weights(masked):
        for one in weight.layer.masked_weights():
            assert getattr(one.holder, one.attribute) is one.variable


@pytest.mark.parametrize("layer", PRUNABLE)
def test_the_masked_type_has_a_name_in_the_package(layer: type[keras.layers.Layer]) -> None:
    masked = MASKED_LAYERS[layer]
    (name,) = {f"Masked{name.split(',')[0]}" for name in TYPES if getattr(layers, name.split(",")[0]) is layer}
    assert getattr(lth_keras.layers, name) is masked
    assert keras.saving.get_registered_name(masked) == f"lth_keras>{name}"


def test_kinds_of_layers_are_kinds_of_rates() -> None:
    assert {entry.kind for entry in PRUNABLE.values()} | {"output"} == set(KINDS)


def test_a_weight_without_which_nothing_passes_cuts_a_network_through() -> None:
    for name, cut in {
        "SeparableConv1D": "pointwise_kernel",
        "LSTM": "cell/kernel",
        "MultiHeadAttention": "value",
    }.items():
        _, masked = pruned(TYPES[name])
        mask = get_mask(masked)
        for key in list(mask)[:-1]:
            only = Mask({one: np.full(array.shape, one != key) for one, array in mask.items()})
            assert is_connected(masked, only) == (cut not in key and "depthwise" not in key and "output" not in key), (
                key
            )
