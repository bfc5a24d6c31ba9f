"""Masked layers against the Keras layers that they extend."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.layers import MASKED_LAYERS, MaskedDense, MaskedEmbedding, pruned_weights_are_zero
from tests.backend import shapes_computed
from tests.layers.cases import CASES, DTYPES, gradient, inputs, mask_of, outputs, pair, weight


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


def test_where_pruned_weights_are_zero_the_forward_pass_leaves_the_mask_out_and_the_gradient_does_not(case):
    cls, arguments, shape = case
    plain, masked, mask = pair(cls, arguments, shape)
    x = inputs(cls, shape)
    weight(masked).assign(np.where(mask, weight(masked).numpy(), 0))
    expected, (gradients, _) = outputs(masked, x), gradient(masked, x)
    with pruned_weights_are_zero():
        np.testing.assert_array_equal(outputs(masked, x), expected)
        np.testing.assert_array_equal(gradient(masked, x)[0], gradients)
        if cls is not layers.Embedding:  # which masks the rows that it looks up, and not the table
            for layer in (plain, masked):
                weight(layer).assign(np.ones(mask.shape))
            np.testing.assert_array_equal(outputs(masked, x), outputs(plain, x))
    assert np.all(gradients[~mask] == 0) and gradients.any()


@pytest.mark.parametrize("cls", [layers.Dense, layers.Conv2D])
def test_a_constraint_does_not_see_pruned_weights(cls):
    arguments, shape = next((a, s) for c, a, s in CASES.values() if c is cls)
    plain, masked, mask = pair(cls, {**arguments, "kernel_constraint": keras.constraints.UnitNorm(axis=0)}, shape)
    for layer in (plain, masked):
        optimizer = keras.optimizers.SGD(0.0)
        optimizer.apply([ops.zeros(weight(layer).shape)], [weight(layer)])
    np.testing.assert_allclose(weight(masked).numpy()[mask], weight(plain).numpy()[mask], rtol=1e-6)


def test_a_masked_weight_has_a_regulariser_and_a_constraint_of_keras_classes():
    """Keras before 3.15 takes no others."""
    layer = MaskedDense(3, kernel_regularizer="l2", kernel_constraint="unit_norm")
    layer.build((None, 4))
    assert isinstance(weight(layer).regularizer, keras.regularizers.Regularizer)
    assert isinstance(weight(layer).constraint, keras.constraints.Constraint)


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
        np.testing.assert_array_equal(outputs(outer, np.ones((1, 4), "float32")), np.zeros((1, 3)))
        mask_of(layer).assign(np.ones(mask_of(layer).shape, bool))


def test_an_embedding_masks_only_the_rows_that_it_looks_up():
    layer = MaskedEmbedding(1234, 5)
    layer.build()
    computed = shapes_computed(lambda x: layer(x), np.zeros(3, np.int32))
    assert (3, 5) in computed and (1234, 5) not in computed
