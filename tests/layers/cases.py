"""Layers to mask, each beside the Keras layer that it extends."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.layers import MASKED_LAYERS, mask_name
from tests.backend import BACKEND, aligned, gradients

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
    ("embedding", "mixed_float16"),
    *(
        pytest.param(name, dtype, marks=pytest.mark.slow)
        for name in IN_EVERY_DTYPE
        for dtype in ("float16", "mixed_float16", "mixed_bfloat16")
        if (name, dtype) != ("embedding", "mixed_float16")
    ),
    *(pytest.param(name, "float64", marks=[WITHOUT_FLOAT64, pytest.mark.slow]) for name in IN_EVERY_DTYPE),
]


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
    return np.asarray(keras.ops.convert_to_numpy(layer(aligned(x))), "float64")


def gradient(layer, x):
    """Of a made-up loss, and what the layer adds to it."""

    def loss():
        out = layer(x)
        factors = np.arange(np.prod(out.shape), dtype=keras.backend.standardize_dtype(out.dtype)).reshape(out.shape)
        added = sum(layer.losses)
        return ops.sum(ops.multiply(out, factors)) + added, added

    added, (found,) = gradients(loss, [weight(layer)])
    return found, float(added)
