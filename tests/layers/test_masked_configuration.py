"""Masked layers are configured, saved and loaded with all that Keras' own have."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.layers import KINDS, MASKED_LAYERS, MaskedEmbedding
from tests.layers.cases import mask_of, pair

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


@pytest.mark.parametrize("cls", NOT_DEFAULT, ids=lambda cls: cls.__name__)
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
        assert masked.kind_of_layer in KINDS


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


@pytest.mark.parametrize("value", [7.5, np.nan, -1.0])
def test_a_stored_mask_of_other_values_is_refused(case, value):
    cls, arguments, shape = case
    _, masked, _ = pair(cls, arguments, shape)
    store: dict = {}
    masked.save_own_variables(store)
    name = f"{masked.prunable[0]}_mask"
    before = [variable.numpy() for variable in masked.weights]
    store = {key: np.array(stored) + 1 for key, stored in store.items() if key != name}
    store[name] = np.ones(mask_of(masked).shape, "float32")
    store[name].flat[0] = value
    with pytest.raises(ValueError, match=f"{name} of layer '{masked.name}'"):
        masked.load_own_variables(store)
    for variable, old in zip(masked.weights, before, strict=True):
        np.testing.assert_array_equal(variable, old)
