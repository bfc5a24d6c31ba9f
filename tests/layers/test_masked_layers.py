"""Masked layers against the Keras layers that they extend, and what pruning means for training."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.layers import (
    KINDS,
    MASKED_LAYERS,
    MaskedConv1D,
    MaskedConv2D,
    MaskedDense,
    MaskedEmbedding,
    mask_name,
)
from tests.backends import BACKEND, gradients, shapes_computed

CASES = {
    "dense": (layers.Dense, {"units": 4}, (3, 5)),
    "dense on sequences": (layers.Dense, {"units": 4, "activation": "gelu", "use_bias": False}, (3, 2, 5)),
    "dense softmax": (layers.Dense, {"units": 4, "activation": "softmax", "bias_initializer": "ones"}, (3, 5)),
    "conv1d": (layers.Conv1D, {"filters": 4, "kernel_size": 3, "bias_initializer": "ones"}, (2, 7, 4)),
    "conv1d strided": (layers.Conv1D, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}, (2, 7, 4)),
    "conv1d causal": (
        layers.Conv1D,
        {"filters": 4, "kernel_size": 2, "padding": "causal", "dilation_rate": 2, "use_bias": False},
        (2, 7, 4),
    ),
    "conv1d grouped": (layers.Conv1D, {"filters": 4, "kernel_size": 3, "groups": 2, "activation": "relu"}, (2, 7, 4)),
    "conv2d": (layers.Conv2D, {"filters": 4, "kernel_size": 3, "bias_initializer": "ones"}, (2, 6, 7, 4)),
    "conv2d strided": (
        layers.Conv2D,
        {"filters": 4, "kernel_size": (2, 3), "strides": (2, 1), "padding": "same", "activation": "tanh"},
        (2, 6, 7, 4),
    ),
    "conv2d dilated": (layers.Conv2D, {"filters": 4, "kernel_size": 2, "dilation_rate": (2, 3)}, (2, 6, 7, 4)),
    "conv2d grouped": (layers.Conv2D, {"filters": 4, "kernel_size": 3, "groups": 4, "use_bias": False}, (2, 6, 7, 4)),
    "embedding": (layers.Embedding, {"input_dim": 11, "output_dim": 4}, (3, 6)),
    "embedding with padding": (layers.Embedding, {"input_dim": 11, "output_dim": 4, "mask_zero": True}, (3, 2, 6)),
}
IN_EVERY_DTYPE = ["dense", "conv1d grouped", "conv2d strided", "embedding"]
WITHOUT_FLOAT64 = pytest.mark.skipif(BACKEND == "jax", reason="JAX has float32 in its place, unless told otherwise")
DTYPES = [
    *((name, "float32") for name in CASES),
    *((name, dtype) for name in IN_EVERY_DTYPE for dtype in ("float16", "mixed_float16", "mixed_bfloat16")),
    *(pytest.param(name, "float64", marks=WITHOUT_FLOAT64) for name in IN_EVERY_DTYPE),
]


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


def inputs(cls, shape, seed=0):
    generator = np.random.default_rng(seed)
    if cls is layers.Embedding:
        return generator.integers(0, 11, shape)
    return generator.normal(size=shape).astype("float32")


def weight(layer):
    """The prunable variable of a layer, plain or masked."""
    return layer._embeddings if isinstance(layer, layers.Embedding) else layer._kernel


def mask_of(layer):
    return getattr(layer, mask_name(layer.prunable[0]))


def random_mask(shape, seed=1):
    return np.random.default_rng(seed).random(shape) < 0.5


def pair(cls, arguments, shape, dtype="float32"):
    """A Keras layer with zeroed weights and a masked layer whose mask hides the same weights, with other values."""
    plain, masked = cls(**arguments, dtype=dtype), MASKED_LAYERS[cls](**arguments, dtype=dtype)
    for layer in (plain, masked):
        layer.build(shape)
    value = np.random.default_rng(2).normal(size=weight(plain).shape)
    mask = random_mask(value.shape)
    weight(plain).assign(np.where(mask, value, 0))
    weight(masked).assign(value)
    mask_of(masked).assign(mask)
    return plain, masked, mask


def outputs(layer, x):
    return np.asarray(keras.ops.convert_to_numpy(layer(x)), "float64")


def gradient(layer, x):
    """Of a made-up loss, and what the layer adds to it."""

    def loss():
        out = layer(x)
        factors = np.arange(np.prod(out.shape), dtype=keras.backend.standardize_dtype(out.dtype)).reshape(out.shape)
        added = sum(layer.losses)
        return ops.sum(out * factors) + added, added

    added, (found,) = gradients(loss, [weight(layer)])
    return found, float(added)


@pytest.mark.parametrize(("name", "dtype"), DTYPES)
def test_an_all_true_mask_changes_nothing(name, dtype):
    cls, arguments, shape = CASES[name]
    plain, masked, _ = pair(cls, arguments, shape, dtype)
    weight(masked).assign(weight(plain))
    mask_of(masked).assign(np.ones(mask_of(masked).shape, bool))
    x = inputs(cls, shape)
    assert masked(x).dtype == plain(x).dtype
    np.testing.assert_array_equal(outputs(masked, x), outputs(plain, x))


@pytest.mark.parametrize(("name", "dtype"), DTYPES)
def test_a_mask_equals_zeros_in_the_keras_layer(name, dtype):
    cls, arguments, shape = CASES[name]
    plain, masked, _ = pair(cls, arguments, shape, dtype)
    x = inputs(cls, shape)
    np.testing.assert_array_equal(outputs(masked, x), outputs(plain, x))
    assert (outputs(plain, x) != 0).any()


def test_masks_start_all_true_boolean_and_not_trainable(case):
    cls, arguments, shape = case
    layer = MASKED_LAYERS[cls](**arguments)
    layer.build(shape)
    mask = mask_of(layer)
    assert mask.dtype == "bool" and mask.shape == weight(layer).shape and mask.numpy().all()
    assert not mask.trainable
    assert any(v is mask for v in layer.non_trainable_weights)
    assert any(v is weight(layer) for v in layer.trainable_weights)


def test_raw_values_of_pruned_weights_change_no_output(case):
    cls, arguments, shape = case
    _, masked, mask = pair(cls, arguments, shape)
    x = inputs(cls, shape)
    before = outputs(masked, x)
    weight(masked).assign(np.where(mask, weight(masked).numpy(), 1e6))
    np.testing.assert_array_equal(outputs(masked, x), before)


@pytest.mark.parametrize("regularizer", [None, keras.regularizers.L1L2(0.1, 0.1)], ids=["plain", "regularised"])
def test_gradient_is_zero_where_pruned_and_that_of_keras_elsewhere(case, regularizer):
    cls, arguments, shape = case
    name = MASKED_LAYERS[cls].prunable[0]
    arguments = {**arguments, f"{name}_regularizer": regularizer, "activity_regularizer": regularizer}
    plain, masked, mask = pair(cls, arguments, shape)
    x = inputs(cls, shape)
    (ours, our_losses), (theirs, their_losses) = gradient(masked, x), gradient(plain, x)
    assert np.all(ours[~mask] == 0)
    np.testing.assert_allclose(ours[mask], theirs[mask], rtol=1e-5, atol=1e-5)
    assert (theirs[~mask] != 0).any()
    assert (our_losses > 0) == (regularizer is not None)
    np.testing.assert_allclose(our_losses, their_losses, rtol=1e-6)


@pytest.mark.parametrize("cls", [layers.Dense, layers.Conv2D])
def test_a_constraint_does_not_see_pruned_weights(cls):
    arguments, shape = next((a, s) for c, a, s in CASES.values() if c is cls)
    plain, masked, mask = pair(cls, {**arguments, "kernel_constraint": keras.constraints.UnitNorm(axis=0)}, shape)
    for layer in (plain, masked):
        optimizer = keras.optimizers.SGD(0.0)
        optimizer.apply([ops.zeros(weight(layer).shape)], [weight(layer)])
    np.testing.assert_allclose(weight(masked).numpy()[mask], weight(plain).numpy()[mask], rtol=1e-6)


def test_the_weight_reads_as_the_keras_variable_outside_the_forward_pass(case):
    cls, arguments, shape = case
    _, masked, _ = pair(cls, arguments, shape)
    masked(inputs(cls, shape))
    assert getattr(masked, masked.prunable[0]) is weight(masked)
    with pytest.raises(Exception):  # noqa: B017  # whatever Keras raises for an input of the wrong kind
        masked("not a tensor")
    assert getattr(masked, masked.prunable[0]) is weight(masked)


def test_a_masked_layer_inside_the_forward_pass_of_another():
    inner, outer = MaskedDense(3, use_bias=False), MaskedDense(3, use_bias=False)
    outer.activation = inner
    outer(np.ones((1, 4), "float32"))
    for layer in (inner, outer):
        mask_of(layer).assign(np.zeros(mask_of(layer).shape, bool))
        np.testing.assert_array_equal(outer(np.ones((1, 4), "float32")), np.zeros((1, 3)))
        mask_of(layer).assign(np.ones(mask_of(layer).shape, bool))


def test_an_embedding_masks_only_the_rows_that_it_looks_up():
    layer = MaskedEmbedding(1234, 5)
    layer.build()
    computed = shapes_computed(lambda x: layer(x), np.zeros(3, np.int32))
    assert (3, 5) in computed and (1234, 5) not in computed


NOT_DEFAULT = {
    layers.Dense: {"units": 3, "activation": "tanh", "use_bias": False, "lora_rank": 2, "lora_alpha": 2},
    layers.Conv1D: {
        "filters": 4,
        "kernel_size": 3,
        "strides": 2,
        "padding": "causal",
        "data_format": "channels_first",
        "dilation_rate": 3,
        "groups": 2,
        "activation": "tanh",
        "use_bias": False,
    },
    layers.Conv2D: {
        "filters": 4,
        "kernel_size": (3, 2),
        "strides": (2, 1),
        "padding": "same",
        "data_format": "channels_first",
        "dilation_rate": (3, 1),
        "groups": 2,
        "activation": "tanh",
        "use_bias": False,
    },
    layers.Embedding: {"input_dim": 5, "output_dim": 3, "mask_zero": True, "lora_rank": 2, "lora_alpha": 2},
}


def not_default(cls):
    """A value other than the default for every argument of a layer's constructor; what Keras 3.15 has."""
    arguments = dict(
        NOT_DEFAULT[cls],
        name="mine",
        trainable=False,
        dtype="mixed_bfloat16",
        activity_regularizer=keras.regularizers.L2(0.25),
    )
    for name in inspect.signature(cls).parameters:
        if name.endswith("_initializer"):
            arguments[name] = keras.initializers.RandomNormal(0.5, 0.25, seed=3)
        elif name.endswith("_regularizer"):
            arguments[name] = keras.regularizers.L1L2(0.25, 0.5)
        elif name.endswith("_constraint"):
            arguments[name] = keras.constraints.MaxNorm(2, axis=0)
    left = set(inspect.signature(cls).parameters) - set(arguments)
    assert left <= {"kwargs", "weights", "quantization_config", "lora_rank", "lora_alpha"}, "a new argument of Keras?"
    return arguments


@pytest.mark.parametrize("cls", MASKED_LAYERS, ids=lambda cls: cls.__name__)
def test_configuration_is_complete_and_makes_the_same_layer(cls):
    arguments = not_default(cls)
    if max(np.ravel(arguments.get("strides", 1))) > 1:
        arguments["dilation_rate"] = 1
    plain, masked = cls(**arguments), MASKED_LAYERS[cls](**arguments)
    assert masked.get_config() == plain.get_config()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(masked))
    assert type(again) is MASKED_LAYERS[cls]
    assert again.get_config() == masked.get_config()
    required = dict(list(arguments.items())[: 1 if cls is layers.Dense else 2])
    default = cls(**required).get_config()
    same = {key for key, value in plain.get_config().items() if key in default and default[key] == value}
    assert same <= {*required, "dilation_rate", "quantization_config"}, "the test leaves arguments at their defaults"


def test_layers_are_registered_under_the_package():
    for masked in MASKED_LAYERS.values():
        assert keras.saving.get_registered_name(masked) == f"lth_keras>{masked.__name__}"
        assert masked in KINDS


def test_an_embedding_takes_initial_weights():
    value = np.arange(12.0, dtype="float32").reshape(4, 3)
    for weights in (value, [value]):
        layer = MaskedEmbedding(4, 3, weights=weights)
        np.testing.assert_array_equal(layer.embeddings.numpy(), value)
        assert layer.embeddings_mask.numpy().all()


def test_weights_and_masks_are_saved_and_loaded(case, tmp_path):
    cls, arguments, shape = case
    _, masked, mask = pair(cls, arguments, shape)
    store: dict = {}
    masked.save_own_variables(store)
    again = MASKED_LAYERS[cls](**arguments)
    again.build(shape)
    again.load_own_variables(store)
    for ours, theirs in zip(again.weights, masked.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(mask_of(again), mask)


# Pruned weights stay out while LoRA, quantisation and training are at work.


@pytest.mark.parametrize("as_argument", [False, True])
@pytest.mark.parametrize("name", ["dense", "conv1d", "conv2d", "embedding"])
def test_lora_keeps_pruned_weights_out(name, as_argument):
    cls, arguments, shape = CASES[name]
    _, masked, mask = pair(cls, {**arguments, **({"lora_rank": 2} if as_argument else {})}, shape)
    if not as_argument:
        masked.enable_lora(2, lora_alpha=3)
        assert masked.lora_alpha == 3
    assert masked.lora_enabled
    a, b = (v for v in masked.trainable_variables if "lora" in v.name)
    b.assign(np.random.default_rng(5).normal(size=b.shape))
    merged = keras.ops.convert_to_numpy(getattr(masked, masked.prunable[0]))
    plain = cls(**arguments)
    plain.build(shape)
    weight(plain).assign(np.where(mask, merged, 0))
    x = inputs(cls, shape)
    np.testing.assert_allclose(outputs(masked, x), outputs(plain, x), rtol=1e-5, atol=1e-5)
    assert (merged[~mask] != 0).any()

    _, found = gradients(lambda: (ops.sum(masked(x) ** 2), None), [a, b])
    assert all(np.any(one) for one in found)


def test_lora_alpha_of_the_constructor_is_used():
    layer = MaskedDense(3, lora_rank=2, lora_alpha=8)
    layer.build((None, 4))
    assert layer.lora_alpha == 8


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("name", ["dense", "dense on sequences", "embedding"])
def test_quantisation_keeps_pruned_weights_out(name, mode):
    cls, arguments, shape = CASES[name]
    plain, masked, _ = pair(cls, arguments, shape)
    for layer in (plain, masked):
        layer.quantize(mode)
    assert masked.quantization_mode == mode
    x = inputs(cls, shape)
    np.testing.assert_array_equal(outputs(masked, x), outputs(plain, x))
    with pytest.raises(NotImplementedError, match="LoRA"):
        masked.enable_lora(2)


def test_grouped_int4_keeps_pruned_weights_at_exactly_zero():
    layer = MaskedDense(1, use_bias=False, kernel_initializer="ones")
    layer.build((None, 8))
    mask = np.arange(8)[:, None] % 2 == 0
    layer.kernel_mask.assign(mask)
    layer.quantize("int4", config=keras.quantizers.Int4QuantizationConfig(block_size=4))
    np.testing.assert_allclose(outputs(layer, np.eye(8, dtype="float32")), mask, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        keras.quantizers.Float8QuantizationConfig(),
        keras.quantizers.GPTQConfig(dataset=None, tokenizer=None),
        keras.quantizers.AWQConfig(dataset=None, tokenizer=None),
    ],
    ids=["float8", "gptq", "awq"],
)
def test_quantisation_that_would_bring_pruned_weights_back_is_refused(config):
    layer = MaskedDense(3)
    layer.build((None, 4))
    with pytest.raises(NotImplementedError, match="strip_masks"):
        layer.quantize(config.mode, config=config)


def test_quantisation_with_lora_is_refused():
    layer = MaskedDense(3, lora_rank=2)
    layer.build((None, 4))
    with pytest.raises(NotImplementedError, match="lora_enabled=True"):
        layer.quantize("int8")
    with pytest.raises(NotImplementedError):
        MaskedDense(3, dtype="float8_from_float32").build((None, 4))


def test_a_model_with_masked_layers_is_quantised_and_saved(tmp_path):
    model = keras.Sequential([keras.Input((6,)), MaskedEmbedding(11, 4), layers.Flatten(), MaskedDense(3)])
    masked = [layer for layer in model.layers if hasattr(layer, "prunable")]
    for layer in masked:
        mask_of(layer).assign(random_mask(mask_of(layer).shape))
    model.quantize("int8")
    assert [layer.quantization_mode for layer in masked] == ["int8", "int8"]
    model.save(tmp_path / "model.keras")
    x = inputs(layers.Embedding, (3, 6))
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))
    np.testing.assert_array_equal(again.layers[-1].kernel_mask, model.layers[-1].kernel_mask)


def all_kinds():
    """A model of all masked layers, with regularisers; pruned weights start half at zero, half elsewhere."""
    l2 = {"kernel_regularizer": keras.regularizers.L2(0.01), "activity_regularizer": keras.regularizers.L2(0.01)}
    model = keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            MaskedEmbedding(11, 4, embeddings_regularizer="l2"),
            MaskedConv1D(4, 3, padding="same", **l2),
            layers.Reshape((4, 4, 2)),
            MaskedConv2D(3, 2, activation="relu", **l2),
            layers.Flatten(),
            MaskedDense(3, activation="softmax", **l2),
        ]
    )
    for i, layer in enumerate(layer for layer in model.layers if hasattr(layer, "prunable")):
        mask = random_mask(mask_of(layer).shape, seed=i)
        value = weight(layer).numpy()
        mask_of(layer).assign(mask)
        weight(layer).assign(np.where(mask | random_mask(mask.shape, seed=10 + i), value, 0))
    return model


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "clipped, averaged": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1, use_ema=True, ema_momentum=0.5),
}


@pytest.mark.parametrize(("name", "jit"), [*((name, False) for name in OPTIMIZERS), ("adam", True)])
def test_fit_never_moves_pruned_weights(name, jit):
    keras.utils.set_random_seed(1)
    model = all_kinds()
    pruned = [layer for layer in model.layers if hasattr(layer, "prunable")]
    before = [weight(layer).numpy() for layer in pruned]
    model.compile(OPTIMIZERS[name](), "sparse_categorical_crossentropy", jit_compile=jit)
    generator = np.random.default_rng(0)
    model.fit(generator.integers(0, 11, (24, 8)), generator.integers(0, 3, 24), batch_size=8, epochs=2, verbose=0)
    for layer, start in zip(pruned, before, strict=True):
        mask, value = mask_of(layer).numpy(), weight(layer).numpy()
        assert (value[mask] != start[mask]).any()
        assert np.all(value[~mask & (start == 0)] == 0) and (~mask & (start == 0)).any()
        if name == "adamw":  # the raw value decays, as Keras has it; it is out of the function all the same
            assert np.all(np.abs(value[~mask]) <= np.abs(start[~mask]))
        else:
            np.testing.assert_array_equal(value[~mask], start[~mask])
