"""Pruned weights stay out while LoRA, quantisation and training are at work."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.layers import MaskedConv1D, MaskedConv2D, MaskedDense, MaskedEmbedding, pruned_weights_are_zero
from lth_keras.masking import mask_model
from tests.backend import gradients
from tests.few import few
from tests.layers.cases import CASES, inputs, mask_of, outputs, pair, random_mask, weight


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


@pytest.mark.parametrize("name", ["dense", "conv1d", "conv2d", "embedding"])
def test_what_lora_adds_to_pruned_weights_stays_out_where_they_are_taken_to_be_zero(name):
    cls, arguments, shape = CASES[name]
    _, masked, _ = pair(cls, arguments, shape)
    masked.enable_lora(2)
    b = next(v for v in masked.trainable_variables if "lora" in v.name and not v.numpy().any())
    b.assign(np.random.default_rng(5).normal(size=b.shape))
    x = inputs(cls, shape)
    expected = outputs(masked, x)
    with pruned_weights_are_zero():
        np.testing.assert_array_equal(outputs(masked, x), expected)


def test_lora_alpha_of_the_constructor_is_used():
    layer = MaskedDense(3, lora_rank=2, lora_alpha=8)
    layer.build((None, 4))
    assert layer.lora_alpha == 8


@few("mode", ["int8", "int4"], "int8")
@few("name", ["dense", "dense on sequences", "embedding"], "dense", "embedding")
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
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), ops.convert_to_numpy(model(x)))
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


@few(("name", "jit"), [*((name, False) for name in OPTIMIZERS), ("adam", True)], ("clipped, averaged", False))
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


ON_WEIGHTS = {
    "constraint": {"constraint": keras.constraints.MaxNorm(1.0)},
    "regulariser": {"regularizer": "l2"},
    "both": {"constraint": "unit_norm", "regularizer": "l1"},
}


@few("given", ON_WEIGHTS.values(), ON_WEIGHTS["both"], ids=ON_WEIGHTS)
def test_constraints_and_regularisers_see_the_mask_of_their_step(given):
    """Also a mask set after a step was compiled: a step of size 0 leaves what it keeps, and zeroes the rest."""
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            MaskedEmbedding(11, 4, **{f"embeddings_{key}": value for key, value in given.items()}),
            layers.Flatten(),
            MaskedDense(8, **{f"kernel_{key}": value for key, value in given.items()}),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 11, (16, 6)), generator.normal(size=(16, 8))
    model.fit(x, y, batch_size=8, verbose=0)
    masked = [layer for layer in model.layers if hasattr(layer, "prunable")]
    for seed in range(2):
        for layer in masked:
            mask_of(layer).assign(random_mask(mask_of(layer).shape, seed))
            weight(layer).assign(generator.normal(size=weight(layer).shape) + 3)
        expected = float(model.evaluate(x, y, verbose=0))
        np.testing.assert_allclose(float(model.train_on_batch(x, y)), expected, rtol=1e-4)
        for layer in masked:
            mask, value = mask_of(layer).numpy(), weight(layer).numpy()
            assert value[mask].all()
            if "constraint" in given:
                assert not value[~mask].any()
                norms = np.linalg.norm(value, axis=0)
                assert np.all(norms <= 1.001) and norms.max() > 0.9
    model.fit(x, y, batch_size=8, verbose=0)


def test_a_constraint_that_cannot_know_its_mask_says_so():
    layer = MaskedDense(3, kernel_constraint="unit_norm", name="mine")
    layer.build((None, 4))
    with keras.StatelessScope(), pytest.raises(RuntimeError, match="mine/kernel_mask"):
        weight(layer).constraint(weight(layer).numpy())


@pytest.mark.parametrize(
    "kind, fused", [(keras.layers.LSTM, "bidirectional_lstm"), (keras.layers.GRU, "bidirectional_gru")]
)
def test_bidirectional_does_not_run_a_pair_with_kernels_that_it_reads_itself(kind, fused, monkeypatch):
    """Where Keras has a fused function, as on GPUs, it gets the kernels without their masks."""
    backend = keras.src.backend
    if not hasattr(backend, fused):
        pytest.skip("this Keras runs no pair at once")

    def other(*arguments, **named):
        raise AssertionError("ran with kernels that are not masked")

    monkeypatch.setattr(backend, fused, other)
    x = keras.Input((5, 3))
    model = keras.Model(x, keras.layers.Bidirectional(kind(4))(x))
    with pytest.raises(AssertionError, match="not masked"):
        model(np.zeros((2, 5, 3), "float32"))
    masked = mask_model(model)
    layer = masked.layers[-1].forward_layer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked(np.zeros((2, 5, 3), "float32"))
    assert layer.use_cudnn == "auto"
