"""A summary counts what is kept, what is empty and what is computed, and names what is not masked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.masking import get_mask, mask_model, set_mask
from tests.few import few
from tests.masking.models import OwnDense
from tests.masking.test_inside import X, subclassed

L = layers
# Layer, shape of its input, multiplications by its kernels on one example, counted by hand.
CASES = {
    "dense": (L.Dense(3), (4,), {"kernel": 12}),
    "dense on sequences": (L.Dense(3), (5, 4), {"kernel": 5 * 12}),
    "einsum": (L.EinsumDense("abc,cd->abd", (5, 3)), (5, 4), {"kernel": 5 * 12}),
    "embedding": (L.Embedding(9, 3), (4,), {"embeddings": 0}),
    "conv": (L.Conv2D(3, 2), (5, 4, 2), {"kernel": 4 * 3 * 2 * 2 * 2 * 3}),
    "conv, strided": (L.Conv2D(3, 2, strides=2, padding="same"), (5, 4, 2), {"kernel": 3 * 2 * 2 * 2 * 2 * 3}),
    "conv, transposed": (L.Conv1DTranspose(3, 2), (5, 2), {"kernel": 5 * 2 * 2 * 3}),
    "depthwise": (L.DepthwiseConv1D(2), (5, 3), {"kernel": 4 * 2 * 3}),
    "separable": (L.SeparableConv1D(4, 2), (5, 3), {"depthwise_kernel": 4 * 2 * 3, "pointwise_kernel": 4 * 3 * 4}),
    "recurrent": (L.LSTM(3), (5, 2), {"lstm_cell/kernel": 5 * 2 * 12, "lstm_cell/recurrent_kernel": 5 * 3 * 12}),
    "convolutional and recurrent": (
        L.ConvLSTM1D(3, 2, return_sequences=True),
        (5, 4, 2),
        {"conv_lstm_cell/kernel": 5 * 3 * 2 * 2 * 12, "conv_lstm_cell/recurrent_kernel": 5 * 3 * 2 * 3 * 12},
    ),
}


@few("name", CASES, "dense on sequences", "conv, strided", "conv, transposed", "recurrent")
def test_operations_are_counted(name):
    layer, shape, expected = CASES[name]
    x = keras.Input(shape)
    for model in (keras.Model(x, layer(x)), keras.Sequential([keras.Input(shape), layer])):
        found = {row.weight.partition("/")[2]: row.flops for row in lth.summary(model).rows}
        assert found == {key: 2 * count for key, count in expected.items()}


def test_attention_and_shared_layers_count_each_call():
    query, value = keras.Input((5, 4)), keras.Input((7, 3))
    shared = layers.Dense(4)
    attended = layers.MultiHeadAttention(2, 3)(shared(query), value)
    model = keras.Model([query, value], shared(attended))
    found = {row.weight: row.flops // 2 // row.size for row in lth.summary(model).rows}
    places = ["query", "key", "value", "attention_output"]
    assert [found[f"multi_head_attention/{place}/kernel"] for place in places] == [5, 7, 7, 5]
    assert found["dense/kernel"] == 10


def test_operations_of_attention_do_not_depend_on_how_it_is_called():
    query, value = keras.Input((5, 4)), keras.Input((7, 4))
    allowed = keras.Input((5, 7), dtype="bool")
    words = layers.Embedding(9, 4, mask_zero=True)(keras.Input((5,), dtype="int32"))
    for attended, expected in (
        (layers.MultiHeadAttention(2, 3)(value=value, query=query), [5, 7, 7, 5]),
        (layers.MultiHeadAttention(2, 3)(query, value, attention_mask=allowed), [5, 7, 7, 5]),
        (layers.MultiHeadAttention(2, 3)(words, words), [5, 5, 5, 5]),
    ):
        model = keras.Model(keras.utils.get_source_inputs(attended), attended)
        rows = [row for row in lth.summary(model).rows if row.kind != "embedding"]
        assert [row.flops // 2 // row.size for row in rows] == expected


def test_operations_of_an_embedding_that_is_used_both_ways():
    for tied, expected in ((True, {"embeddings": 5}), (False, {"embeddings": 0, "reverse_embeddings": 5})):
        x, embedding = keras.Input((5,), dtype="int32"), layers.ReversibleEmbedding(9, 4, tie_weights=tied)
        model = keras.Model(x, embedding(embedding(x), reverse=True))
        rows = lth.summary(model).rows
        assert {row.weight.rpartition("/")[2]: row.flops // 2 // row.size for row in rows} == expected


def test_a_stateful_model_keeps_its_state():
    model = mask_model(keras.Sequential([keras.Input(batch_shape=(3, 5, 2)), layers.LSTM(4, stateful=True)]))
    model(np.ones((3, 5, 2), "float32"))
    before = [keras.ops.convert_to_numpy(state) for state in model.layers[0].states]
    assert [row.flops for row in lth.summary(model).rows] == [2 * 5 * 2 * 16, 2 * 5 * 4 * 16]
    np.testing.assert_array_equal([keras.ops.convert_to_numpy(state) for state in model.layers[0].states], before)


def test_kept_weights_and_empty_outputs():
    x = keras.Input((6, 2))
    model = mask_model(keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Conv1DTranspose(4, 2)(x)))))
    mask = {key: np.ones(array.shape, bool) for key, array in get_mask(model).items()}
    mask["conv1d_transpose/kernel"][:, 1] = False  # a filter: the kernel is (width, filters, channels)
    mask["dense/kernel"][:, :2] = False
    set_mask(model, mask)
    transposed, dense = lth.summary(model).rows
    assert (transposed.empty_outputs, transposed.outputs, transposed.kept) == (1, 4, 12)
    assert (dense.empty_outputs, dense.outputs, dense.kept, dense.size) == (2, 3, 28, 84)
    assert transposed.flops_kept == transposed.flops * 12 / 16
    summary = lth.summary(model)
    assert (summary.kept, summary.size, summary.density) == (40, 100, 0.4)
    frame = summary.to_frame()
    assert list(frame.index) == [row.weight for row in summary.rows] and list(frame.density) == [0.75, 28 / 84]
    assert "1 of 4" in str(summary) and "40.00" in str(summary)


def test_what_is_not_masked_is_listed_with_its_reason():
    model = keras.Sequential([keras.Input((4,)), OwnDense(3, name="own"), layers.Dense(2), layers.Dense(2)])
    model.layers[1].trainable = False
    for given in (model, mask_model(model, frozen=False)):
        summary = lth.summary(given)
        assert [one.place for one in summary.unmasked][:1] == ["own"]
        assert "own (OwnDense), 12 weights: its class is not registered, see lth_keras.register_prunable" in str(
            summary
        )
    assert "dense (Dense), 6 weights: it is frozen" in str(summary)


def test_a_subclassed_model_is_summed_up_as_it_is():
    model = subclassed()
    before = keras.ops.convert_to_numpy(model(X[:1]))
    assert lth.summary(model).rows == [] and len(lth.summary(model).unmasked) > 3
    mask_model(model)
    rows = lth.summary(model).rows
    assert {row.flops for row in rows} == {None} and "?" in str(lth.summary(model))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(X[:1])), before, rtol=1e-6)


class TwoInputs(keras.Model):
    """A dense layer on each word of a text of any length, and another on the second input."""

    def __init__(self):
        super().__init__()
        self.words, self.other = layers.Dense(3, name="words"), layers.Dense(2, name="other")

    def call(self, inputs):
        return keras.ops.concatenate([keras.ops.mean(self.words(inputs["x"]), 1), self.other(inputs["z"])], -1)


def test_operations_of_a_subclassed_model_are_counted_on_given_inputs():
    model = TwoInputs()
    inputs = {"x": np.ones((6, 5, 4), "float32"), "z": np.ones((6, 7), "float32")}
    before = keras.ops.convert_to_numpy(model(inputs))
    mask_model(model)
    assert {row.flops for row in lth.summary(model).rows} == {None}
    found = {row.weight: row.flops // 2 for row in lth.summary(model, inputs).rows}
    assert found == {"words/kernel": 5 * 4 * 3, "other/kernel": 7 * 2}
    longer = lth.summary(model, {**inputs, "x": np.ones((1, 9, 4), "float32")}).rows
    assert longer[0].flops == 2 * 9 * 4 * 3
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(inputs)), before, rtol=1e-6)


def test_operations_of_a_functional_model_of_any_length_are_counted_on_given_inputs():
    x = keras.Input((None, 4))
    model = keras.Model(x, layers.Dense(3)(x))
    assert lth.summary(model).rows[0].flops is None
    assert lth.summary(model, np.ones((2, 5, 4), "float32")).rows[0].flops == 2 * 5 * 12


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="Expected a built model"):
        lth.summary(keras.Sequential([layers.Dense(3)]))
