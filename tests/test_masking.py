"""Masks on whole models: conversion, places of weights, reading and setting, files."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.layers import MASKED_LAYERS, MaskedConv2D, MaskedDense, MaskedLayer
from lth_keras.masking import (
    _snake_case,
    get_mask,
    mask_model,
    prunable_weights,
    seed_states,
    set_mask,
    strip_masks,
    variables,
    walk,
)
from lth_keras.masks import Mask


class Scale(layers.Layer):
    """A layer of the user's, not registered, with weights that have no name."""

    def __init__(self, start=2.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(self.start))
        self.offset = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale + self.offset

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable(package="tests")
class OwnDense(layers.Dense):
    """A subclass of the user's: what it does with its kernel is not known, so it is not masked."""

    def call(self, inputs, training=None):
        return -super().call(inputs, training=training)


class Block(layers.Layer):
    """A layer of the user's that holds a Dense layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4)

    def call(self, x):
        return self.inner(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.masked = MaskedDense(3, name="masked")

    def call(self, x):
        return self.masked(self.dense(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, activation="relu", name="first"),
            layers.BatchNormalization(),
            layers.Conv2D(4, 2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, activation="relu"),
            layers.Dense(3),
            layers.Activation("softmax"),
        ]
    )


def residual():
    x = keras.Input((4,))
    hidden = layers.Dense(4, activation="relu")(x)
    late, early = layers.Dense(4), layers.Dense(4)  # made in another order than they are called in
    hidden = late(early(hidden)) + hidden
    return keras.Model(x, layers.Softmax()(layers.Dense(3)(hidden)))


def two_inputs_and_outputs():
    words, numbers = keras.Input((5,), dtype="int32"), keras.Input((4,))
    text = layers.GlobalMaxPooling1D()(layers.Conv1D(4, 2)(layers.Embedding(9, 4)(words)))
    shared = layers.Dense(4, activation="tanh", name="shared")
    both = layers.Concatenate()([shared(text), shared(numbers)])
    return keras.Model(
        {"words": words, "numbers": numbers}, {"a": layers.Dense(2)(both), "b": layers.Dense(1, name="b")(both)}
    )


def nested_twice():
    tower_in = keras.Input((4,))
    tower = keras.Model(tower_in, layers.Dense(4, name="inner")(layers.Dense(4)(tower_in)), name="tower")
    x, y = keras.Input((4,)), keras.Input((4,))
    head = keras.Sequential([keras.Input((8,)), layers.Dense(4), layers.Dense(2)])
    return keras.Model([x, y], head(layers.Concatenate()([tower(x), tower(y)])))


def wrapped():
    inner = keras.Sequential([keras.Input((4,)), Scale(3.0), layers.Dense(4)])
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.TimeDistributed(inner),
            layers.TimeDistributed(layers.Dense(4, activation="relu")),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Bidirectional(layers.GRU(3)),
            layers.Dense(2),
        ]
    )


def custom_layers():
    def own_activation(x):
        return keras.ops.tanh(x) + 1

    class OwnRegularizer(keras.regularizers.Regularizer):
        def __call__(self, x):
            return 0.5 * keras.ops.sum(x)

        def get_config(self):
            return {}

    return keras.Sequential(
        [
            keras.Input((4,)),
            Scale(),
            layers.Dense(4, activation=own_activation, kernel_regularizer=OwnRegularizer()),
            layers.Activation(own_activation),
            OwnDense(4),
            layers.Dense(4, activation=lambda x: x * 2),
            layers.SpectralNormalization(layers.Dense(3, activation=layers.PReLU())),
            layers.Dense(2, activation=layers.PReLU(alpha_initializer="ones"), trainable=False),
        ]
    )


MODELS = [sequential, residual, two_inputs_and_outputs, nested_twice, wrapped, custom_layers]


@pytest.fixture(params=MODELS, ids=lambda build: build.__name__)
def build(request):
    return request.param


def example(model, seed=0):
    """Inputs for a model: integers below 9 where it takes integers."""
    generator = np.random.default_rng(seed)

    def one(tensor):
        shape = (3, *tensor.shape[1:])
        if tensor.dtype == "int32":
            return generator.integers(0, 9, shape).astype("int32")
        return generator.normal(size=shape).astype("float32")

    return keras.tree.map_structure(one, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)


def outputs(model, x):
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def assert_same_outputs(one, other, x):
    for ours, theirs in zip(outputs(one, x), outputs(other, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def random_mask(model, seed=0):
    generator = np.random.default_rng(seed)
    return Mask({key: generator.random(value.shape) < 0.6 for key, value in get_mask(model).items()})


def pruned_model(build, seed=0):
    model = mask_model(build())
    set_mask(model, random_mask(model, seed))
    return model


# Conversion


def test_the_masked_model_is_the_same_function(build):
    model = build()
    for variable in variables(model).values():  # also biases and statistics have values of their own
        variable.assign(variable + np.linspace(0.1, 0.5, variable.shape.num_elements()).reshape(variable.shape))
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
        variable.assign(keras.ops.zeros_like(variable))
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert not any(isinstance(layer, MaskedLayer) for _, layer in walk(model))


def test_every_layer_that_has_a_masked_counterpart_is_masked(build):
    masked = mask_model(build())
    assert not [place for place, layer in walk(masked) if type(layer) in MASKED_LAYERS]
    plain = [(place, type(layer)) for place, layer in walk(build())]
    assert [(place, type(layer)) for place, layer in walk(masked)] == [
        (place, MASKED_LAYERS.get(kind, kind)) for place, kind in plain
    ]


def test_every_argument_of_every_layer_is_kept(build):
    model = build()
    masked = dict(walk(mask_model(model)))

    def plain(config):
        text = json.dumps(config, default=str, sort_keys=True)
        return text.replace("lth_keras>Masked", "").replace("Masked", "")

    for place, layer in walk(model):
        if type(layer) in MASKED_LAYERS or not list(layer._flatten_layers(include_self=False)):
            ours, theirs = masked[place].get_config(), layer.get_config()
            if isinstance(layer, layers.InputLayer):
                ours["name"] = theirs["name"]
            for config in (ours, theirs):
                config.pop("activation", None) if not isinstance(layer.get_config().get("activation"), str) else None
            assert plain(ours) == plain(theirs), place


def test_masks_change_the_function_as_zeros_do(build):
    masked = pruned_model(build)
    stripped = strip_masks(masked)
    x = example(masked)
    assert_same_outputs(stripped, masked, x)
    for key, mask in get_mask(masked).items():
        value = variables(stripped)[key].numpy()
        assert np.all(value[~mask] == 0) and not np.signbit(value[~mask]).any() and (value[mask] != 0).any()


def test_strip_masks_leaves_no_object_of_the_library(build):
    stripped = strip_masks(pruned_model(build))
    assert not any(isinstance(layer, MaskedLayer) for _, layer in walk(stripped))
    assert "lth_keras" not in json.dumps(keras.saving.serialize_keras_object(stripped), default=str)


def test_a_masked_model_is_masked_again_with_its_masks(build):
    masked = pruned_model(build)
    again = mask_model(masked)
    assert get_mask(again) == get_mask(masked)
    assert_same_outputs(again, masked, example(masked))


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
    assert np.all(stripped.layers[0].kernel.numpy()[~get_mask(masked)["dense/kernel"]] == 0)

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
    np.testing.assert_array_equal(masked(np.zeros((1, 4), "float32")), [[1, 2, 3]])

    called = keras.Sequential([layers.Dense(3)])
    called(np.ones((2, 4), "float32"))
    assert_same_outputs(mask_model(called), called, np.ones((7, 4), "float32"))


# What cannot be converted


def test_a_subclassed_model_is_a_clear_error():
    model = Subclassed()
    model(np.ones((1, 3), "float32"))
    for convert in (mask_model, strip_masks):
        with pytest.raises(TypeError, match="Received: Subclassed, a subclassed model. Write it with the layers of"):
            convert(model)
    # Written with masked layers, all else works.
    assert list(get_mask(model)) == ["masked/kernel"]
    set_mask(model, {"masked/kernel": np.zeros((3, 3), bool)})
    np.testing.assert_array_equal(model(np.ones((1, 3), "float32")), np.zeros((1, 3)))


def test_a_model_with_nothing_to_prune():
    plain = keras.Sequential([keras.Input((4,)), OwnDense(3), Scale()], name="tiny")
    with pytest.raises(ValueError, match=r"Nothing to prune in model 'tiny'.*Received: \['OwnDense', 'Scale'\]"):
        mask_model(plain)
    for function in (get_mask, strip_masks, prunable_weights):
        with pytest.raises(ValueError, match=r"no masked layer. Convert it with lth_keras.mask_model\(model\)"):
            function(plain)


def test_layers_inside_layers_of_the_users_own_are_named_in_a_warning():
    model = keras.Sequential([keras.Input((4,)), Block(), layers.Dense(2)])
    with pytest.warns(UserWarning, match=r"Not masked.*\['block/dense'\]"):
        masked = mask_model(model)
    assert list(get_mask(masked)) == ["dense/kernel"]


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


# Places


def test_places_are_unique_and_the_same_in_every_copy(build, tmp_path):
    first = mask_model(build())
    places = list(variables(first))
    assert len(set(places)) == len(places)
    assert len(places) + len(get_mask(first)) == len(first.weights)
    assert set(get_mask(first)) <= set(places)
    for count in (1, 2):
        for _ in range(count):  # Keras counts these
            layers.Dense(1), layers.LSTM(1), layers.Conv2D(1, 1), Scale().build((1, 1)), MaskedDense(1)
        again = build()
        assert list(variables(again)) == places
        assert list(variables(mask_model(again))) == places
        assert list(variables(strip_masks(mask_model(again)))) == places
        assert list(get_mask(mask_model(again))) == list(get_mask(first))
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
            assert _snake_case(name) == keras.src.utils.naming.to_snake_case(name)


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


def test_seed_states_are_those_of_random_layers():
    masked = mask_model(sequential())
    assert len(seed_states(masked)) == 1
    assert not {id(v) for v in seed_states(masked)} & {id(v) for v in masked.weights}
    assert len(seed_states(mask_model(residual()))) == 0


# Files


def test_weights_files_hold_the_masks(build, tmp_path):
    masked = pruned_model(build)
    masked.save_weights(tmp_path / "all.weights.h5")
    again = mask_model(build())
    again.load_weights(tmp_path / "all.weights.h5")
    assert get_mask(again) == get_mask(masked)
    assert_same_outputs(again, masked, example(masked))


_LOAD = """
import importlib.abc, sys
import numpy as np

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "lth_keras":
            raise ModuleNotFoundError(f"No module named {name!r}")

folder, with_library = sys.argv[1], sys.argv[2] == "with"
if with_library:
    sys.path.insert(0, sys.argv[3])
    import lth_keras
else:
    sys.meta_path.insert(0, Block())
    try:
        import lth_keras
    except ModuleNotFoundError:
        pass
    else:
        sys.exit("lth_keras is importable: the test shows nothing")
import keras

arrays = np.load(folder + "/arrays.npz")
for name in "sequential", "residual", "nested_twice":
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    x = [arrays[key] for key in sorted(arrays) if key.startswith(name + ".x")]
    y = keras.ops.convert_to_numpy(model(x if len(x) > 1 else x[0], training=False))
    np.testing.assert_array_equal(y, arrays[name + ".y"])
assert any(m.split(".")[0] == "lth_keras" for m in sys.modules) == with_library
print("same outputs")
"""


@pytest.mark.parametrize("library", ["with", "without"])
def test_saved_models_load_in_a_new_process(library, tmp_path):
    arrays = {}
    for build in (sequential, residual, nested_twice):
        masked = pruned_model(build)
        saved = masked if library == "with" else strip_masks(masked)
        saved.save(tmp_path / f"{build.__name__}.keras")
        x = example(masked)
        arrays |= {f"{build.__name__}.x{i}": part for i, part in enumerate(keras.tree.flatten(x))}
        arrays[f"{build.__name__}.y"] = outputs(masked, x)[0]
        if library == "without":
            with zipfile.ZipFile(tmp_path / f"{build.__name__}.keras") as file:
                assert b"lth_keras" not in file.read("config.json")
    np.savez(tmp_path / "arrays.npz", **arrays)
    (tmp_path / "load.py").write_text(_LOAD)
    root = str(__file__).rsplit("/tests/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-I", "load.py", str(tmp_path), library, root],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip().endswith("same outputs"), done.stderr[-2000:]
