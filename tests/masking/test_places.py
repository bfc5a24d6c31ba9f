"""Places of layers and weights: unique, and the same in every copy."""

import keras
from keras import layers

from lth_keras.layers import MaskedDense
from lth_keras.masking import get_mask, mask_model, seed_states, strip_masks, variables
from lth_keras.masking.places import snake_case
from tests.masking.models import (
    Scale,
    nested_twice,
    pruned_model,
    residual,
    sequential,
    two_inputs_and_outputs,
    wrapped,
)


def test_places_are_unique_and_the_same_in_every_copy(build, tmp_path):
    first = mask_model(build())
    places = list(variables(first))
    assert len(set(places)) == len(places)
    assert len(places) + len(get_mask(first)) == len(first.weights)
    assert set(get_mask(first)) <= set(places)
    layers.Dense(1), layers.LSTM(1), layers.Conv2D(1, 1), Scale().build((1, 1)), MaskedDense(1)  # Keras counts these
    again = build()
    masked = mask_model(again)
    for copy in (again, masked, strip_masks(masked)):
        assert list(variables(copy)) == places
    assert list(get_mask(masked)) == list(get_mask(first))
    for key, variable in variables(again).items():
        assert variable.shape == variables(first)[key].shape


def test_places_survive_a_file(tmp_path):
    for i, build in enumerate([sequential, residual, two_inputs_and_outputs, nested_twice]):
        masked = pruned_model(build)
        masked.save(tmp_path / f"{i}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{i}.keras")
        assert list(variables(loaded)) == list(variables(masked))
        assert get_mask(loaded) == get_mask(masked)


def test_names_of_the_user_are_kept_and_made_up_ones_counted_anew():
    keys = list(get_mask(mask_model(sequential())))
    assert keys == ["first/kernel", "conv2d/kernel", "dense/kernel", "dense_1/kernel"]
    assert list(get_mask(mask_model(nested_twice()))) == [
        "tower/dense/kernel",
        "tower/inner/kernel",
        "sequential/dense/kernel",
        "sequential/dense_1/kernel",
    ]
    assert [key for key in variables(wrapped()) if "bidirectional" in key][::3] == [
        "bidirectional/forward_lstm/lstm_cell/kernel",
        "bidirectional/backward_lstm/lstm_cell/kernel",
        "bidirectional_1/forward_gru/gru_cell/kernel",
        "bidirectional_1/backward_gru/gru_cell/kernel",
    ]


def test_a_layer_explicitly_named_as_an_automatic_one():
    def named(position):
        layers.Dense(1)  # so that no automatic name below is "dense"
        made = [layers.Dense(2), layers.Dense(2)]
        made.insert(position, layers.Dense(3, name="dense"))
        return keras.Sequential([keras.Input((4,)), *made])

    for position, width in enumerate([(3, 2, 2), (2, 3, 2), (2, 2, 3)]):
        keys = [list(get_mask(mask_model(named(position))).shapes.items()) for _ in range(3)]
        assert keys[0] == keys[1] == keys[2]
        assert [key for key, _ in keys[0]] == ["dense/kernel", "dense_1/kernel", "dense_2/kernel"]
        assert tuple(shape[1] for _, shape in keys[0]) == width


def test_names_are_made_up_as_keras_does():
    for name in dir(layers):
        kind = getattr(layers, name)
        if isinstance(kind, type):
            assert snake_case(name) == keras.src.utils.naming.to_snake_case(name)


def test_seed_states_are_those_of_random_layers():
    masked = mask_model(sequential())
    assert len(seed_states(masked)) == 1
    assert not {id(v) for v in seed_states(masked)} & {id(v) for v in masked.weights}
    assert len(seed_states(mask_model(residual()))) == 0
