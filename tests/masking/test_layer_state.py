"""The copy of a model holds the state of its layers: it computes the same function, or an error names the layer."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.masking import get_mask, mask_model, set_mask, strip_masks
from lth_keras.training.network import Network
from tests.backend import BACKEND
from tests.few import few
from tests.masking.models import outputs

RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def sequential(shape, *inside, dtype="float32", units=3):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *inside, layers.Dense(units)])


def adapted(layer, data):
    layer.adapt(data)
    return layer


def normalization(**arguments):
    return adapted(layers.Normalization(**arguments), 3 * floats(50, 4) + 5)


def normalized():
    return sequential((4,), normalization()), floats(5, 4)


def normalized_in_half():
    return sequential((4,), normalization(dtype="mixed_float16")), floats(5, 4)


def nested_and_shared():
    shared, x, inner = normalization(), keras.Input((4,)), keras.Input((4,))
    nested = keras.Model(inner, layers.Dense(4)(shared(inner)))
    return keras.Model(x, layers.Dense(2)(nested(shared(x)))), floats(5, 4)


def in_a_wrapper():
    inside = sequential((4,), normalization())
    return sequential((6, 4), layers.TimeDistributed(inside)), floats(5, 6, 4)


def discretized():
    return sequential((1,), adapted(layers.Discretization(num_bins=4, output_mode="one_hot"), floats(50, 1))), floats(
        5, 1
    )


def integers(mode):
    table = adapted(layers.IntegerLookup(output_mode=mode), np.array([[5, 7], [9, 9], [11, 5]]))
    return sequential((2,), table, dtype="int32"), np.array([[5, 1], [9, 7]], "int32")


def words():
    table = adapted(layers.StringLookup(output_mode="multi_hot"), np.array([["a"], ["b"], ["line\nbreak"]]))
    return sequential((2,), table, dtype="string"), np.array([["a", "line\nbreak"], ["zz", "b"]])


def text(mode):
    table = adapted(layers.TextVectorization(output_mode=mode), ["the cat sat", "on the mat"])
    return sequential((1,), table, dtype="string"), np.array([["the mat"], ["a cat"]])


def closures():
    def scaled(factor):
        return lambda x: x * factor

    return sequential((4,), layers.Lambda(scaled(3.0)), layers.Lambda(scaled(-2.0))), floats(5, 4)


def quantised(mode):
    model = sequential((4, 8), layers.EinsumDense("abc,cd->abd", (None, 6)), layers.Dense(6))
    for layer in model.layers:
        layer.quantize(mode)
    return model, floats(2, 4, 8)


def lora():
    model = sequential((4, 4, 2), layers.Conv2D(6, 2), layers.Flatten(), layers.Dense(4))
    for layer in (model.layers[0], model.layers[2]):
        layer.enable_lora(2, lora_alpha=3)
    for variable in model.trainable_variables:
        variable.assign(floats(*variable.shape))
    return model, floats(5, 4, 4, 2)


def recurrent():
    return sequential(
        (5, 3), layers.LSTM(4, dropout=0.3, recurrent_dropout=0.2, return_sequences=True), layers.GRU(4)
    ), floats(2, 5, 3)


def features():
    import tensorflow as tf

    space = keras.utils.FeatureSpace({"a": "float_normalized", "b": "integer_categorical"}, output_mode="concat")
    space.adapt(tf.data.Dataset.from_tensor_slices({"a": np.array([1.0, 2, 4]), "b": np.array([1, 2, 3])}))
    model = keras.Model(space.get_inputs(), layers.Dense(3)(space.get_encoded_features()))
    return model, {"a": np.array([[1.0], [2.0]], "float32"), "b": np.array([[1], [9]], "int32")}


CASES = {
    "normalisation": normalized,
    "normalisation, half precision": normalized_in_half,
    "normalisation, nested and shared": nested_and_shared,
    "normalisation in a wrapper": in_a_wrapper,
    "discretisation": discretized,
    "integers": lambda: integers("multi_hot"),
    "integers, tf-idf": lambda: integers("tf_idf"),
    "words": words,
    "text": lambda: text("count"),
    "text, tf-idf": lambda: text("tf_idf"),
    "lambdas with closures": closures,
    "int8": lambda: quantised("int8"),
    "int4": lambda: quantised("int4"),
    "LoRA": lora,
    "recurrent dropout": recurrent,
    "feature space": features,
}
OF_STRINGS = ("words", "text", "text, tf-idf")


def evaluated(model, x):
    if BACKEND == "tensorflow" and getattr(x, "dtype", None) is not None and x.dtype.kind == "U":
        x = keras.ops.convert_to_tensor(x)
    return outputs(model, x)[0].astype("float64")


@few(
    "name", CASES, *(name for name in CASES if name not in ("int8", "recurrent dropout", "normalisation in a wrapper"))
)
def test_copies_compute_the_same_function(name):
    if name in OF_STRINGS and BACKEND != "tensorflow":
        pytest.skip("only TensorFlow has strings")
    model, x = CASES[name]()
    expected = evaluated(model, x)
    masked = mask_model(model)
    for copy in (masked, strip_masks(masked), mask_model(masked)):
        np.testing.assert_allclose(evaluated(copy, x), expected, atol=1e-5)


def test_dropout_and_which_weights_are_trained_are_copied():
    seed = 1 if BACKEND == "torch" else None  # where Keras' dropout without a seed reads no generator of the layer's
    model = sequential((8,), layers.Dropout(0.5, seed=seed), layers.Dense(8), layers.GaussianNoise(1.0))
    model.layers[1]._kernel.trainable = False
    model.layers[3].trainable = False
    x = floats(5, 8)
    masked = mask_model(model)
    for _ in range(2):
        drawn = [keras.ops.convert_to_numpy(each(x, training=True)) for each in (masked, model)]
        np.testing.assert_array_equal(*drawn)
    stripped = strip_masks(masked)
    for copy in (masked, stripped):
        assert [v.shape for v in copy.trainable_variables] == [v.shape for v in model.trainable_variables] == [(8,)]


class Own(layers.Layer):
    """A layer of the user's with state that is not in its configuration."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.state = Holder(1.0)

    def call(self, x):
        return x * (self.state if isinstance(self.state, float | np.ndarray) else self.state.value)


class Holder:
    def __init__(self, value):
        self.value = value


class Saving(Own):
    def save_assets(self, folder):
        with open(f"{folder}/value.txt", "w") as file:
            file.write(str(self.state.value))

    def load_assets(self, folder):
        with open(f"{folder}/value.txt") as file:
            self.state = Holder(float(file.read()))


class Strange:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        raise TypeError("not to be pickled")


def own(kind, state):
    layer = kind(name="mine")
    layer.state = state
    return sequential((4,), layer), floats(5, 4)


@pytest.mark.parametrize(
    ("kind", "state"),
    [(Own, 3.0), (Own, np.arange(4.0, dtype="float32")), (Saving, Holder(3.0))],
    ids=["number", "array", "object that is saved"],
)
def test_state_that_a_user_set_is_copied(kind, state):
    model, x = own(kind, state)
    np.testing.assert_allclose(outputs(mask_model(model), x)[0], outputs(model, x)[0], atol=1e-5)


def test_arrays_are_not_shared():
    model, x = own(Own, np.ones(4, "float32"))
    masked = mask_model(model)
    before = outputs(masked, x)
    model.layers[0].state[:] = 5
    np.testing.assert_array_equal(outputs(masked, x), before)


@pytest.mark.parametrize("state", [Holder(3.0), Strange(3.0)], ids=["differs", "cannot be told"])
def test_other_state_is_refused_and_the_layer_named(state):
    model, _ = own(Own, state)
    with pytest.raises(ValueError, match=r"'mine', a Own, whose state"):
        mask_model(model)


def test_a_layer_that_cannot_be_made_again_is_named():
    class Needy(layers.Layer):
        def __init__(self, size, **arguments):
            super().__init__(**arguments)

        def get_config(self):
            return super().get_config()

        def call(self, x):
            return x

    with pytest.raises(ValueError, match="'needy', a Needy"):
        mask_model(sequential((4,), Needy(3, name="needy")))
    float8 = sequential((4,), layers.Dense(4, name="low"))
    float8.layers[0].quantize("float8")
    with pytest.raises(NotImplementedError, match="'low'"):
        mask_model(float8)


def test_rewinding_and_drawing_anew_leave_what_was_adapted():
    def build():
        layer = layers.Normalization()
        layer.adapt(np.random.normal(3, 2, (20, 4)).astype("float32"))  # other data each time
        return sequential((4,), layer)

    network = Network(build, optimizer=keras.optimizers.Adam, loss="mse", batch_size=4)
    x = floats(5, 4)
    features = keras.Sequential(network.model.layers[:1])
    before = outputs(features, x)[0]
    mean = network.weights["normalization/mean"]
    network.rewind(network.draw_weights(3, "initial"), get_mask(network.model))
    np.testing.assert_array_equal(outputs(features, x)[0], before)
    np.testing.assert_array_equal(network.weights["normalization/mean"], mean)


def test_a_pruned_copy_keeps_state_in_a_file(tmp_path):
    model, x = normalized()
    masked = mask_model(model)
    set_mask(masked, {key: RANDOM.random(mask.shape) < 0.5 for key, mask in get_mask(masked).items()})
    expected = outputs(masked, x)[0]
    for i, copy in enumerate((masked, strip_masks(masked))):
        copy.save(tmp_path / f"{i}.keras")
        loaded = keras.models.load_model(tmp_path / f"{i}.keras")
        for one in (copy, loaded, mask_model(loaded)):
            np.testing.assert_allclose(outputs(one, x)[0], expected, atol=1e-5)
