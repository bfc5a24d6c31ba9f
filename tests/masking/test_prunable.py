"""Kinds of prunable weights; masks read and set."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.masking import get_mask, mask_model, prunable_weights, set_mask, variables
from tests.masking.models import (
    nested_twice,
    pruned_model,
    random_mask,
    residual,
    sequential,
    two_inputs_and_outputs,
    wrapped,
)

# Kinds


def kinds(model):
    return {w.key.removesuffix("/kernel"): w.kind for w in prunable_weights(mask_model(model))}


def test_kinds_name_the_output_layers():
    assert kinds(sequential()) == {"first": "conv", "conv2d": "conv", "dense": "dense", "dense_1": "output"}
    assert kinds(residual()) == {"dense": "dense", "dense_1": "dense", "dense_2": "dense", "dense_3": "output"}
    assert list(kinds(two_inputs_and_outputs()).values()) == ["embedding", "conv", "dense", "output", "output"]
    assert list(kinds(nested_twice()).values()) == ["dense", "dense", "dense", "output"]
    assert list(kinds(wrapped()).values()) == ["embedding", "dense", "dense", "output"]


def test_both_terms_of_a_residual_output_are_output_layers():
    x = keras.Input((4,))
    first = layers.Dense(4, name="first")(x)
    second = layers.Dense(4, name="second")(layers.Dense(4, name="hidden")(first))
    assert kinds(keras.Model(x, first + second)) == {"first": "output", "hidden": "dense", "second": "output"}


def test_the_output_layer_inside_a_nested_model_that_branches():
    x = keras.Input((4,))
    left, right = layers.Dense(4, name="left")(x), layers.Dense(4, name="right")(x)
    nested = keras.Model(x, layers.Dense(2, name="end")(left) + layers.Dense(2, name="end2")(right))
    for model in (keras.Sequential([keras.Input((4,)), nested]), keras.Model(x, layers.Softmax()(nested(x)))):
        assert list(kinds(model).values()) == ["dense", "dense", "output", "output"]


# Reading and setting


def test_a_mask_is_set_and_read_by_place(build):
    masked = mask_model(build())
    values = [v.numpy() for v in variables(masked).values()]
    mask = random_mask(masked)
    set_mask(masked, mask)
    assert get_mask(masked) == mask
    assert all(w.mask.dtype == "bool" for w in prunable_weights(masked))
    for variable, value in zip(variables(masked).values(), values, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_mask_is_set_by_weight_path():
    layers.Dense(1)
    masked = mask_model(keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4), layers.Dense(4)]))
    expected = random_mask(masked)
    # Keras' counters make the path of one weight the place of another: sequential_3/dense_1/kernel.
    by_path = {w.variable.path: expected[w.key] for w in prunable_weights(masked)}
    assert set(by_path) != set(expected)
    set_mask(masked, by_path)
    assert get_mask(masked) == expected


def test_paths_that_are_places_of_other_weights():
    layers.Dense(1)
    masked = mask_model(keras.Sequential([layers.Dense(4), layers.Dense(4)]))
    for layer, width in zip(masked.layers, (4, 4), strict=True):
        layer.build((None, width))  # built by itself, a layer's path has no name of a model before it
    expected = random_mask(masked)
    paths = [w.variable.path for w in prunable_weights(masked)]
    assert set_mask(masked, {w.variable.path: expected[w.key] for w in prunable_weights(masked)}) is None
    assert get_mask(masked) == expected, paths


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "values"])
def test_a_mask_of_another_model_changes_nothing(change):
    masked = pruned_model(sequential)
    before = get_mask(masked)
    other = {key: ~value for key, value in before.items()}
    if change == "missing":
        del other["dense_1/kernel"]
    elif change == "unexpected":
        other["dense_2/kernel"] = np.ones((2, 2), bool)
    elif change == "shape":
        other["dense_1/kernel"] = np.ones((2, 2), bool)
    else:
        other["dense_1/kernel"] = np.full(before["dense_1/kernel"].shape, 0.5)
    with pytest.raises(ValueError, match=r"dense_[12]/kernel"):
        set_mask(masked, other)
    assert get_mask(masked) == before
