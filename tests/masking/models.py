"""Models of every shape, and what tests do with them."""

import keras
import numpy as np
from keras import layers

from lth_keras.layers import MaskedDense
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, set_mask
from tests.backend import aligned


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
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(aligned(x), training=False))]


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
