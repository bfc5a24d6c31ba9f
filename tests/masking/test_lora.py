"""Criteria rank what a layer with LoRA computes with: kernel plus update."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.criteria import CRITERIA, State, bimodal, criterion, scores_as_weights
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, lora_updates, mask_model, strip_masks, variables
from lth_keras.pruning.oneshot import prune

RANDOM = np.random.default_rng(0)


def build():
    """Of each layer that LoRA is for; updates as large as the weights."""
    model = keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            layers.Embedding(11, 4),
            layers.Conv1D(4, 3),
            layers.Reshape((4, 3, 2)),
            layers.Conv2D(3, 2),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    for layer in model.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2, lora_alpha=3)
    for variable in variables(model).values():
        variable.assign(RANDOM.normal(size=variable.shape))
    return model


def test_layers_that_are_quantised_too_are_refused_with_what_to_do():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="low"), layers.Dense(3)])
    model.layers[0].enable_lora(2)
    model.layers[0].quantize("int8")
    with pytest.raises(NotImplementedError, match="Received: low. Prune the model before it is quantised"):
        prune(model, 0.5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantised_model_is_not_pruned(mode):
    model = mask_model(keras.Sequential([keras.Input((8,)), layers.Dense(4, name="low"), layers.Dense(3)]))
    model.quantize(mode)
    with pytest.raises(ValueError, match="before it is quantised. Received: low/kernel, dense/kernel"):
        prune(model, 0.5)


def test_magnitude_ranks_the_sum():
    model = build()
    masked = mask_model(model)
    effective = {key: value.numpy() for key, value in variables(strip_masks(masked)).items() if key in get_mask(masked)}
    assert list(effective) == list(lora_updates(masked)) and len(effective) == 4
    sizes = np.sort(np.concatenate([np.abs(value).ravel() for value in effective.values()]))[::-1]
    kept = round(0.2 * sizes.size)
    expected = {key: np.abs(value) >= sizes[kept - 1] for key, value in effective.items()}
    assert get_mask(prune(model, 0.2)) == Mask(expected)


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_scores_of_derivatives_are_those_of_the_merged_network(name):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6, "relu"), layers.Dense(3, "softmax")])
    for layer in model.layers:
        layer.enable_lora(2)
    for variable in variables(model).values():
        variable.assign(RANDOM.normal(size=variable.shape))
    merged = strip_masks(mask_model(model))
    x, y = RANDOM.normal(size=(20, 5)).astype("float32"), RANDOM.integers(0, 3, 20)
    own, other = (
        get_mask(prune(one, 0.4, name, data=(x, y), loss="sparse_categorical_crossentropy")) for one in (model, merged)
    )
    assert own.jaccard(other) > 0.8


def test_synaptic_flow_says_that_it_knows_no_lora():
    with pytest.raises(ValueError, match=r"without LoRA for 'synflow'.*dense/kernel"):
        prune(build(), 0.5, "synflow")


@pytest.mark.parametrize("made", [scores_as_weights, bimodal])
def test_scores_in_place_of_weights_know_no_lora_either(made):
    generator = np.random.default_rng(1)
    weights = {key: generator.normal(size=shape) for key, shape in {"k": (4, 3), "a": (4, 2), "b": (2, 3)}.items()}
    state = State(weights, Mask.ones({"k": (4, 3)}), np.random.default_rng(0), updates={"k": ("a", "b", 1.5)})
    with pytest.raises(ValueError, match="without LoRA where scores stand for weights.*LoRA in k"):
        made(criterion("magnitude"), state)


@pytest.mark.parametrize("name", ["initial_magnitude", "magnitude_change", "movement"])
def test_initial_values_have_their_update_too(name):
    assert name in CRITERIA
    generator = np.random.default_rng(1)
    shapes = {"k": (4, 3), "a": (4, 2), "b": (2, 3)}
    final, initial = ({key: generator.normal(size=shape) for key, shape in shapes.items()} for _ in range(2))
    mask, draws = Mask.ones({"k": (4, 3)}), np.random.default_rng(0)
    merged = [{"k": one["k"] + 1.5 * one["a"] @ one["b"]} for one in (final, initial)]
    scores = criterion(name)(State(final, mask, draws, initial, updates={"k": ("a", "b", 1.5)}))
    expected = criterion(name)(State(merged[0], mask, draws, merged[1]))
    np.testing.assert_allclose(scores["k"], expected["k"])
