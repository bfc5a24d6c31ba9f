"""Wanda multiplies each weight's magnitude by the norm of the inputs that the weight sees."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.criteria import State
from lth_keras.masking import get_mask, mask_model, set_mask, variables
from lth_keras.pruning import ModelDerivatives
from tests.masking.models import outputs

X = np.random.default_rng(0).normal(size=(7, 6, 4)).astype("float32")
# A layer of X, and for each of its weights what a weight of it is multiplied with, found by differentiating a sum.
LAYERS = {
    "dense": lambda x: layers.Dense(3)(x),
    "einsum": lambda x: layers.EinsumDense("abc,cde->abde", (None, 2, 3))(x),
    "conv": lambda x: layers.Conv1D(4, 1)(x),
    "conv, grouped": lambda x: layers.Conv1D(6, 1, groups=2)(x),
    "transposed": lambda x: layers.Conv1DTranspose(3, 1)(x),
    "depthwise": lambda x: layers.DepthwiseConv1D(1, depth_multiplier=2)(x),
}


def norms(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    masked = mask_model(model)
    weights = {key: np.array(value) for key, value in variables(masked).items()}
    derivatives = ModelDerivatives(masked, None).on(lambda: (x, np.zeros(len(x))))
    state = State(weights, get_mask(masked), np.random.default_rng(0), derivatives=derivatives)
    return {key: np.broadcast_to(state.input_norms[key], shape) for key, shape in get_mask(masked).shapes.items()}


def measured(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The norm of each weight's inputs, from the outputs of the linear layer with that weight alone."""
    layer = model.layers[-1]
    kernel = layer.kernel
    found = np.zeros(kernel.shape)
    for index in np.ndindex(*kernel.shape):
        alone = np.zeros(kernel.shape, "float32")
        alone[index] = 1
        kernel.assign(alone)
        found[index] = np.sqrt(np.square(np.asarray(outputs(model, x)[0], np.float64)).sum())
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_norms_are_those_of_what_a_weight_is_multiplied_with(name: str) -> None:
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, LAYERS[name](inputs))
    (found,) = norms(model, X).values()
    np.testing.assert_allclose(found, measured(model, X), rtol=1e-5)


def test_embeddings_recurrent_input_kernels_and_attention() -> None:
    words = keras.Input((6,))
    table = keras.Model(words, layers.Dense(1)(layers.Flatten()(layers.Embedding(5, 2)(words))))
    indices = np.array([[0, 0, 1, 3, 3, 3]])
    np.testing.assert_allclose(norms(table, indices)["embedding/embeddings"][:, 0], np.sqrt([2, 1, 0, 3, 0]), rtol=1e-6)
    x = keras.Input((6, 4))
    attention = keras.Model(x, layers.MultiHeadAttention(2, 3)(x, x))
    found = norms(attention, X)["multi_head_attention/query/kernel"]
    np.testing.assert_allclose(found[:, 0, 0], np.sqrt(np.square(X).sum((0, 1))), rtol=1e-5)


def test_scores_rank_by_magnitude_times_norm_and_see_the_mask() -> None:
    x = keras.Input((2,))
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="b")(layers.Dense(2, use_bias=False, name="a")(x)))
    for name, value in {"a": [[1.0, 1.0], [1.0, 1.0]], "b": [[1.0], [2.0]]}.items():
        model.get_layer(name).kernel.assign(np.array(value))
    data = np.array([[3.0, 1.0], [4.0, 1.0]], "float32")
    masked = mask_model(model)
    set_mask(masked, {"a/kernel": np.array([[1, 1], [1, 0]], bool), "b/kernel": np.ones((2, 1), bool)})
    pruned = lth.prune(masked, 3 / 6, "wanda", data=(data, np.zeros((2, 1))), loss="mse")
    # Norms: 5 and sqrt(2) at a; at b sqrt(16 + 25) and sqrt(9 + 16), since the second unit has lost its second input.
    assert get_mask(pruned)["b/kernel"].ravel().tolist() == [True, True]
    assert get_mask(pruned)["a/kernel"].sum() == 1 and get_mask(pruned)["a/kernel"][0].sum() == 1


def test_what_is_missing_or_not_known_is_said() -> None:
    x = keras.Input((6, 4))
    recurrent = keras.Model(x, layers.Dense(2)(layers.LSTM(3)(x)))
    data: Any = (X, np.zeros((7, 2)))
    with pytest.raises(ValueError, match=r"Received: lstm/lstm_cell/recurrent_kernel \(MaskedLSTM\). Leave their"):
        lth.prune(recurrent, 0.5, "wanda", data=data, loss="mse")
    with pytest.raises(ValueError, match="as this criterion takes activations"):
        lth.prune(recurrent, 0.5, "wanda", exclude=layers.LSTM)
    assert get_mask(lth.prune(recurrent, 0.5, "wanda", data=data, loss="mse", exclude=layers.LSTM)).kept == 3
