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
    assert list(kinds(wrapped()).values()) == ["embedding", *["dense"] * 10, "output"]


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


def made_in_another_order_than_used(sizes=(4, 4)):
    """Layers whose paths, `dense/kernel` and `dense_1/kernel`, are each other's places."""
    keras.utils.clear_session()
    x = keras.Input((4,))
    last, first = layers.Dense(sizes[1]), layers.Dense(sizes[0])
    model = mask_model(keras.Model(x, last(first(x))))
    paths = [w.variable.path for w in prunable_weights(model)]
    assert [w.key for w in prunable_weights(model)] == ["dense/kernel", "dense_1/kernel"] == paths[::-1]
    return model


def test_keys_that_are_places_and_paths_are_not_guessed():
    model = made_in_another_order_than_used()
    mask = random_mask(model)
    by_path = {w.variable.path: mask[w.key] for w in prunable_weights(model)}
    with pytest.raises(ValueError, match="dense/kernel, each the place of one.*by='place'"):
        set_mask(model, by_path)
    assert get_mask(model).density == 1
    set_mask(model, by_path, by="path")
    assert get_mask(model) == mask
    set_mask(model, dict(mask), by="place")
    assert get_mask(model) == mask
    set_mask(model, mask)  # as get_mask returns it
    assert get_mask(model) == mask
    with pytest.raises(ValueError, match="'place', 'path' or None"):
        set_mask(model, mask, by="name")


def test_shapes_can_tell_places_from_paths():
    model = made_in_another_order_than_used((5, 3))
    mask = random_mask(model)
    set_mask(model, dict(mask))
    assert get_mask(model) == mask


def test_a_mask_that_is_no_mapping_is_refused():
    model = pruned_model(sequential)
    for mask in ([np.ones((3, 3))], np.ones(3), None):
        with pytest.raises(TypeError, match="mapping of each prunable weight.*get_mask"):
            set_mask(model, mask)


def test_a_partial_mask_is_missing_what_it_has_not():
    model = pruned_model(sequential)
    before = get_mask(model)
    some = {"first/kernel": before["first/kernel"], "other/kernel": np.ones((2, 2), bool)}
    with pytest.raises(ValueError, match=r"missing: conv2d/kernel, dense/kernel, dense_1/kernel; unexpected: other/k"):
        set_mask(model, some)
    set_mask(model, {key: value.astype("float32") for key, value in before.items()})
    assert get_mask(model) == before
    with pytest.raises(ValueError, match="zeros and ones, as the mask of 'first/kernel'"):
        set_mask(model, {**before, "first/kernel": np.full(before["first/kernel"].shape, np.nan)})


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
