"""Conversion to masked layers and back."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.layers import MASKED_LAYERS, PLAIN_LAYERS, MaskedConv2D, MaskedDense, MaskedLayer
from lth_keras.masking import (
    get_mask,
    mask_model,
    prunable_weights,
    set_mask,
    strip_masks,
    summary,
    variables,
    walk,
)
from tests.few import few
from tests.masking.models import (
    MODELS,
    OwnDense,
    Scale,
    Subclassed,
    assert_same_outputs,
    example,
    nested_twice,
    outputs,
    pruned_model,
    random_mask,
    two_inputs_and_outputs,
)


def test_the_masked_model_is_the_same_function(build):
    model = build()
    for variable in variables(model).values():  # also biases and statistics have values of their own
        variable.assign(variable + np.linspace(0.1, 0.5, int(np.prod(variable.shape))).reshape(variable.shape))
    x = example(model)
    model(x)  # Keras builds layers that are activations now
    before = [v.numpy() for v in model.weights]
    masked = mask_model(model)
    assert_same_outputs(masked, model, x)
    assert get_mask(masked).density == 1
    assert masked.name == model.name
    for ours, theirs in zip(masked.layers, model.layers, strict=True):
        assert ours.name == theirs.name or isinstance(theirs, layers.InputLayer)  # Keras renames those of a clone
    # The model is left as it is, and shares nothing with its copy.
    for variable in masked.weights:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert not any(isinstance(layer, MaskedLayer) for _, layer in walk(model))


def test_every_layer_that_has_a_masked_counterpart_is_masked_with_its_arguments(build):
    model = build()
    masked = dict(walk(mask_model(model)))
    outer = tuple(f"{place}/" for place, layer in walk(model) if type(layer) in MASKED_LAYERS)
    replaced = {place: MASKED_LAYERS.get(type(layer), type(layer)) for place, layer in walk(model)}
    # A recurrent layer masks its cell; the cell is no masked layer of its own.
    kinds = {place: type(layer) if place.startswith(outer) else replaced[place] for place, layer in walk(model)}
    assert {place: type(layer).__name__ for place, layer in masked.items()} == {
        place: kind.__name__ for place, kind in kinds.items()
    }
    assert list(masked) == list(kinds)

    def plain(config):
        text = json.dumps(config, default=str, sort_keys=True)
        return text.replace("lth_keras>Masked", "").replace("Masked", "")

    for place, layer in walk(model):
        if kinds[place] in PLAIN_LAYERS or not list(layer._flatten_layers(include_self=False)):
            ours, theirs = masked[place].get_config(), layer.get_config()
            if isinstance(layer, layers.InputLayer):
                ours["name"] = theirs["name"]
            for config in (ours, theirs):
                config.pop("activation", None) if not isinstance(layer.get_config().get("activation"), str) else None
            assert plain(ours) == plain(theirs), place


@few("build", MODELS, *(build for build in MODELS if build.__name__ != "wrapped"))
def test_masks_change_the_function_as_zeros_do_and_are_kept_by_a_copy(build):
    masked = pruned_model(build)
    stripped, again = strip_masks(masked), mask_model(masked)
    x = example(masked)
    assert_same_outputs(stripped, masked, x)
    for key, mask in get_mask(masked).items():
        value = variables(stripped)[key].numpy()
        assert np.all(value[~mask] == 0) and not np.signbit(value[~mask]).any() and (value[mask] != 0).any()
    assert not any(isinstance(layer, MaskedLayer) for _, layer in walk(stripped))
    assert "lth_keras" not in json.dumps(keras.saving.serialize_keras_object(stripped), default=str)
    assert get_mask(again) == get_mask(masked)
    assert_same_outputs(again, masked, x)


def test_a_shared_layer_stays_shared():
    masked = mask_model(two_inputs_and_outputs())
    (shared,) = [layer for _, layer in walk(masked) if layer.name == "shared"]
    assert len(shared._inbound_nodes) == 2
    assert sum("shared" in key for key in get_mask(masked)) == 1
    tower = mask_model(nested_twice()).get_layer("tower")
    assert len(tower._inbound_nodes) >= 2


def test_frozen_layers_stay_frozen():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, trainable=False), layers.Dense(2)])
    for copy in (mask_model(model), strip_masks(mask_model(model))):
        assert [layer.trainable for layer in copy.layers] == [False, True]
        assert len(copy.trainable_variables) == 2
    model.trainable = False
    assert mask_model(model).trainable_variables == []


def test_lora_and_quantised_layers_are_kept():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3)])
    model.layers[0].enable_lora(2, lora_alpha=6)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 4)))
    masked = mask_model(model)
    x = example(model)
    assert_same_outputs(masked, model, x)
    set_mask(masked, random_mask(masked))
    stripped = strip_masks(masked)
    for ours, theirs in zip(outputs(stripped, x), outputs(masked, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert np.all(keras.ops.convert_to_numpy(stripped.layers[0].kernel)[~get_mask(masked)["dense/kernel"]] == 0)

    masked = pruned_model(lambda: keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3)]))
    before = get_mask(masked)
    masked.quantize("int8")
    stripped = strip_masks(masked)
    assert stripped.layers[0].quantization_mode == "int8"
    assert_same_outputs(stripped, masked, x)
    with pytest.raises(ValueError, match="before it is quantised"):
        set_mask(masked, random_mask(masked, 1))
    assert get_mask(masked) == before


def test_the_copy_is_not_compiled():
    model = keras.Sequential([keras.Input((3,)), keras.Sequential([layers.Dense(2)])])
    model.layers[0].compile("sgd", "mse")
    model.compile("adam", loss=lambda y, outputs: keras.ops.mean(y - outputs))
    masked = mask_model(model)
    assert not masked.compiled and not masked.layers[0].compiled
    assert model.compiled and model.layers[0].compiled
    assert not strip_masks(masked).compiled


def test_models_built_later():
    deferred = mask_model(keras.Sequential([layers.Dense(3), layers.Dense(2)]))
    with pytest.raises(ValueError, match="'dense' is not built. Give the model an Input"):
        get_mask(deferred)
    deferred(np.ones((2, 4), "float32"))
    assert get_mask(deferred).shapes == {"dense/kernel": (4, 3), "dense_1/kernel": (3, 2)}

    alone = layers.Dense(3)
    alone.build((None, 4))
    alone.bias.assign([1.0, 2.0, 3.0])
    masked = mask_model(keras.Sequential([alone]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(masked(np.zeros((1, 4), "float32"))), [[1, 2, 3]])

    called = keras.Sequential([layers.Dense(3)])
    called(np.ones((2, 4), "float32"))
    assert_same_outputs(mask_model(called), called, np.ones((7, 4), "float32"))


# What cannot be converted


def test_masked_layers_of_a_subclassed_model_s_own_code_cannot_be_stripped():
    model = Subclassed()
    model(np.ones((1, 3), "float32"))
    with pytest.raises(TypeError, match="makes masked layers itself: masked"):
        strip_masks(model)
    assert list(get_mask(model)) == ["masked/kernel"]
    set_mask(model, {"masked/kernel": np.zeros((3, 3), bool)})
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(np.ones((1, 3), "float32"))), np.zeros((1, 3)))
    assert list(get_mask(mask_model(model))) == ["dense/kernel", "masked/kernel"]


def test_a_model_with_nothing_to_prune():
    plain = keras.Sequential([keras.Input((4,)), OwnDense(3), Scale()], name="tiny")
    with pytest.raises(ValueError, match=r"Nothing to prune in model 'tiny'.*Received: \['OwnDense', 'Scale'\]"):
        mask_model(plain)
    for function in (get_mask, strip_masks, prunable_weights):
        with pytest.raises(ValueError, match=r"no masked layer. Convert it with lth_keras.mask_model\(model\)"):
            function(plain)


def test_a_layer_shared_with_a_wrapper_is_an_error():
    dense, x, y = layers.Dense(4), keras.Input((5, 4)), keras.Input((4,))
    model = keras.Model([x, y], [layers.TimeDistributed(dense)(x), dense(y)])
    with pytest.raises(ValueError, match="inside and outside of a wrapper"):
        mask_model(model)


def test_a_subclass_of_a_masked_layer_has_no_plain_counterpart():
    class Own(MaskedConv2D):
        pass

    model = keras.Sequential([keras.Input((4, 4, 1)), Own(2, 2), layers.Flatten(), MaskedDense(2)])
    assert [w.kind for w in prunable_weights(model)] == ["conv", "output"]
    with pytest.raises(TypeError, match=r"\['Own'\]"):
        strip_masks(model)
    with pytest.raises(ValueError, match=r"Nothing to prune .*Received: \[\]"):
        mask_model(keras.Sequential())


@pytest.mark.parametrize("function", [mask_model, get_mask, strip_masks, summary, lambda one: set_mask(one, {})])
def test_what_is_no_model(function):
    with pytest.raises(TypeError, match="Expected a Keras model. Received: 3"):
        function(3)
