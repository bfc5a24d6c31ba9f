"""Layers on the rows in use: the outputs and gradients that they have on whole tables."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.backends import backend
from lth_keras.layers import MaskedConv1D, MaskedEmbedding
from lth_keras.layers.rows import Rows, looked_up, rows_in_use
from lth_keras.masking import get_mask, mask_model, set_mask
from tests.backend import gradients
from tests.few import few

if not backend().trains_by_rows:
    pytest.skip("no program uses rows there", allow_module_level=True)
HEIGHT, DIMENSION, LENGTH = 40, 6, 25
INDEX = np.random.default_rng(0).integers(3, 20, (5, LENGTH)).astype(np.int32)  # with duplicates


def embedding(**arguments):
    """With random values and a random mask."""
    layer = MaskedEmbedding(HEIGHT, DIMENSION, **arguments)
    layer.build()
    generator = np.random.default_rng(1)
    layer._embeddings.assign(generator.normal(size=(HEIGHT, DIMENSION)))
    layer.embeddings_mask.assign(generator.random((HEIGHT, DIMENSION)) < 0.6)
    return layer


def rows_of(layer, index, padding=0, values=None):
    """The rows of the layer that an input uses, and further ones as padding."""
    rows, inverse = np.unique(index, return_inverse=True)
    rows = np.append(rows, np.zeros(padding, rows.dtype))
    table = layer._embeddings.numpy() if values is None else values
    return Rows(table[rows], layer.embeddings_mask.numpy()[rows], inverse.reshape(index.shape).astype(np.int32))


@pytest.mark.parametrize("shape", [(5, LENGTH), (125,), (5, 5, 5)])
@pytest.mark.parametrize("padding", [0, 7])
def test_an_embedding_gives_the_same_rows(shape, padding):
    layer, index = embedding(), INDEX.reshape(shape)
    outside = np.array(layer(index))
    with rows_in_use({layer: rows_of(layer, index, padding)}):
        inside = layer(index)
    np.testing.assert_array_equal(inside, outside)
    assert inside.shape == (*shape, DIMENSION) and (outside == 0).any()


def test_the_rows_given_are_those_that_are_used():
    layer = embedding()
    with rows_in_use({layer: rows_of(layer, INDEX, values=2 * layer._embeddings.numpy())}):
        inside = np.array(layer(INDEX))
    np.testing.assert_array_equal(inside, 2 * np.array(layer(INDEX)))


def test_lower_precision_is_that_of_the_layer():
    layer = embedding(dtype="mixed_float16")
    outside = layer(INDEX)
    with rows_in_use({layer: rows_of(layer, INDEX)}):
        inside = layer(INDEX)
    assert inside.dtype == outside.dtype == "float16"
    np.testing.assert_array_equal(inside, outside)


def test_other_layers_keep_their_tables():
    layer, other = embedding(), embedding()
    with rows_in_use({layer: rows_of(layer, INDEX, values=np.zeros((HEIGHT, DIMENSION), np.float32))}):
        assert not np.any(layer(INDEX))
        np.testing.assert_array_equal(other(INDEX + 20), other(INDEX + 20))
        assert looked_up(other(INDEX)) is None


def test_nothing_is_left_of_the_context():
    layer, table = embedding(), 0
    outside = np.array(layer(INDEX))

    def rows(factor):
        return {layer: rows_of(layer, INDEX, values=factor * layer._embeddings.numpy())}

    with rows_in_use(rows(2)):
        table = layer(INDEX)
        with rows_in_use(rows(3)):
            np.testing.assert_allclose(layer(INDEX), 3 * outside)
            assert looked_up(table) is None  # of the context around it
        with pytest.raises(ZeroDivisionError), rows_in_use(rows(4)):
            raise ZeroDivisionError
        np.testing.assert_allclose(layer(INDEX), 2 * outside)
        found = looked_up(table)
        np.testing.assert_array_equal(ops.take(found.table, found.index, axis=0), table)
        assert looked_up(table + 0) is None
    np.testing.assert_array_equal(layer(INDEX), outside)
    assert looked_up(table) is None


def model_of(*after, between=()):
    """An embedding and what follows, all masked at random."""
    keras.utils.set_random_seed(0)
    model = mask_model(
        keras.Sequential([keras.Input((LENGTH,), dtype="int32"), layers.Embedding(HEIGHT, DIMENSION), *between, *after])
    )
    generator = np.random.default_rng(2)
    set_mask(model, {key: generator.random(value.shape) < 0.7 for key, value in get_mask(model).items()})
    return model


def conv(filters=3, width=4, **arguments):
    return layers.Conv1D(filters, width, bias_initializer="random_normal", **arguments)


def results(model, by_rows, training=False):
    """Output, and gradients with respect to the table's rows and the other weights, of a made-up loss."""
    layer = next(layer for layer in model.layers if isinstance(layer, MaskedEmbedding))
    rows = rows_of(layer, INDEX, padding=3)
    table = keras.Variable(rows.values) if by_rows else layer._embeddings
    others = [v for v in model.trainable_variables if v is not layer._embeddings]

    def loss():
        with rows_in_use({layer: rows._replace(values=table)} if by_rows else {}):
            outputs = model(INDEX, training=training)
        return ops.sum(ops.sin(outputs)), outputs

    outputs, (own, *found) = gradients(loss, [table, *others])
    if by_rows:
        assert not own[-3:].any()  # padding
        own = own[:-3]
    else:
        assert not np.delete(own, np.unique(INDEX), axis=0).any()
        own = own[np.unique(INDEX)]
    return np.array(outputs), own, found


def assert_agree(model, **arguments):
    (output, table, others), (expected, expected_table, expected_others) = (
        results(model, by_rows, **arguments) for by_rows in (True, False)
    )
    assert output.shape == expected.shape
    for one, other in zip((output, table, *others), (expected, expected_table, *expected_others), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)
    mask = model.layers[0].embeddings_mask.numpy()[np.unique(INDEX)]
    assert (~mask).any() and not table[~mask].any()
    for layer, gradient in ((layer, g) for layer in model.layers if isinstance(layer, MaskedConv1D) for g in others):
        if gradient.shape == layer.kernel_mask.shape:
            assert not gradient[~layer.kernel_mask.numpy()].any()


@pytest.fixture
def convolved(monkeypatch):
    """How many convolutions were computed on rows."""
    from lth_keras.layers import conv as module

    calls, original = [], module.convolve_rows

    def counted(*arguments):
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(module, "convolve_rows", counted)
    return calls


@few("width", [1, 4, 22, LENGTH], 4, LENGTH)
@few("arguments", [{"filters": 1}, {"activation": "relu"}, {"use_bias": False}], {"activation": "relu"})
def test_a_convolution_on_rows_is_that_of_keras(width, arguments, convolved):
    assert_agree(model_of(conv(width=width, **arguments)))
    assert len(convolved) == 1


OTHERWISE = {
    "strides": {"strides": 2},
    "dilation": {"dilation_rate": 2},
    "same": {"padding": "same"},
    "causal": {"padding": "causal"},
    "groups": {"groups": 3},
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_other_convolutions_are_left_to_keras(what, convolved):
    assert_agree(model_of(conv(**OTHERWISE[what])))
    assert not convolved


def test_a_sequence_shorter_than_the_kernel_is_an_error_as_in_keras():
    layer, convolution, index = embedding(), MaskedConv1D(3, 5), INDEX[:, :3]
    convolution.build((None, None, DIMENSION))
    of_keras = "output size would be negative|resulted in an empty output"  # on TensorFlow, on JAX
    for rows in ({}, {layer: rows_of(layer, index)}):
        with pytest.raises(Exception, match=of_keras), rows_in_use(rows):
            convolution(layer(index))


def test_a_convolution_behind_dropout_sees_what_dropout_left(convolved):
    model = model_of(conv(), between=[layers.Dropout(0.5, seed=0)])
    assert_agree(model)  # in inference, dropout is not there
    assert len(convolved) == 1
    (state,) = [v for v in model.variables if "seed" in v.name]
    start, outputs = state.numpy(), []
    for by_rows in (True, False):
        state.assign(start)
        outputs.append(results(model, by_rows, training=True)[0])
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=2e-5)
    assert len(convolved) == 1


def test_a_second_convolution_is_on_the_first(convolved):
    assert_agree(model_of(conv(), conv(2, 3)))
    assert len(convolved) == 1
