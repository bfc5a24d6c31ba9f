"""What compact removes, what it keeps, and that the function stays the same."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.compacting import compact, structure
from tests.compacting.test_random_compacting import randomise


def model_of(x, y, seed=0):
    """A model whose weights are random numbers, biases and statistics included."""
    model = keras.Model(x, y)
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" not in variable.name:
            value = generator.normal(size=variable.shape) * 0.5
            variable.assign(np.abs(value) + 0.3 if "variance" in variable.name else value)
    return model


def silence(layer, every=2, gates=1, zero_bias=False):
    """Sets the kernel of every second unit or filter to zero."""
    cell = getattr(layer, "cell", layer)
    variables = [cell.kernel, *([cell.recurrent_kernel] if hasattr(cell, "recurrent_kernel") else [])]
    for variable in [*variables, *([cell.bias] if zero_bias else [])]:
        value = keras.ops.convert_to_numpy(variable).copy()
        units = value.shape[-1] // gates
        value[..., np.tile(np.arange(units) % every == 0, gates)] = 0
        variable.assign(value)


def read_none_of(layer, every=2):
    """Sets the rows of every second input of a kernel to zero."""
    value = keras.ops.convert_to_numpy(layer.kernel).copy()
    value[..., ::every, :] = 0
    layer.kernel.assign(value)


def read_none_of_these(layer, inputs):
    """Sets the rows of these inputs of a kernel to zero."""
    value = keras.ops.convert_to_numpy(layer.kernel).copy()
    value[..., inputs, :] = 0
    layer.kernel.assign(value)


def same(model, shape, dtype="float32", warns=False):
    """The compacted model, whose outputs are those of the model."""
    generator = np.random.default_rng(1)
    x = generator.integers(0, 9, (3, *shape)) if dtype == "int32" else generator.normal(size=(3, *shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if warns else "error", UserWarning)
        smaller = compact(model)
    for one, other in zip(*(keras.tree.flatten(each(x.astype(dtype))) for each in (model, smaller)), strict=True):
        one, other = map(keras.ops.convert_to_numpy, (one, other))
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * max(1, np.abs(one).max()))
    return smaller


def sizes(model):
    return {row.layer: (row.kept, row.size) for row in structure(model).rows}


def test_units_that_are_constant_or_not_read_go_and_so_does_what_only_they_read():
    x = keras.Input((5,))
    first, second, third = (
        layers.Dense(8, "relu", name="a"),
        layers.Dense(6, "sigmoid", name="b"),
        layers.Dense(4, name="c"),
    )
    model = model_of(x, layers.Dense(2, "softmax", name="d")(third(second(first(x)))))
    silence(second)  # constant: sigmoid of the bias
    read_none_of(model.get_layer("d"))  # units 0 and 2 of c are not read
    kernel = keras.ops.convert_to_numpy(second.kernel).copy()
    kernel[:3] = 0  # units 0 to 2 of a are not read
    second.kernel.assign(kernel)
    smaller = same(model, (5,))
    assert sizes(model) == {"a": (5, 8), "b": (3, 6), "c": (2, 4), "d": (2, 2)}
    assert [layer.units for layer in smaller.layers[1:]] == [5, 3, 2, 2]


def test_a_constant_gives_a_layer_without_bias_one():
    x = keras.Input((5,))
    first = layers.Dense(8, "sigmoid")
    model = model_of(x, layers.Dense(2, use_bias=False)(first(x)))
    silence(first)
    smaller = same(model, (5,))
    assert smaller.layers[-1].use_bias and smaller.layers[1].units == 4


@pytest.mark.parametrize(
    "second",
    [
        lambda: layers.Conv1D(4, 3),
        lambda: layers.Conv1D(4, 1, padding="same", strides=2),
        lambda: layers.SeparableConv1D(4, 3, depth_multiplier=2),
        lambda: layers.LSTM(4, use_bias=False),
        lambda: layers.GRU(4, return_sequences=True),
        lambda: layers.GRU(4, reset_after=False),
        lambda: layers.SimpleRNN(4),
        lambda: layers.Bidirectional(layers.LSTM(4)),
        lambda: layers.TimeDistributed(layers.Dense(4)),
        lambda: layers.Flatten(),
        lambda: layers.Reshape((1, 7, 8)),
    ],
)
def test_constants_are_added_to_the_bias_of_what_reads_them(second):
    x = keras.Input((7, 8))
    first = layers.Dense(8, "sigmoid")
    model = model_of(x, layers.Dense(2)(second()(first(x))))
    silence(first)
    assert same(model, (7, 8)).layers[1].units == 4


@pytest.mark.parametrize(
    "second",
    [
        lambda: layers.Conv1D(4, 3, padding="same"),
        lambda: layers.Conv1DTranspose(4, 3),
        lambda: layers.SeparableConv1D(4, 3, padding="same"),
        lambda: layers.Reshape((14, 4)),
        lambda: layers.LayerNormalization(),
        lambda: layers.Softmax(),
        lambda: layers.GroupQueryAttention(4, 4, 2),
    ],
)
@pytest.mark.parametrize("zero", [False, True])
def test_constants_that_no_bias_can_replace_stay_and_zeros_go_where_they_may(second, zero):
    x = keras.Input((7, 8))
    first = layers.Dense(8)
    layer = second()
    y = first(x)
    y = layer(y, y) if isinstance(layer, layers.GroupQueryAttention) else layer(y)
    model = model_of(x, layers.Dense(2)(y))
    silence(first, zero_bias=zero)
    goes = zero and isinstance(layer, layers.Conv1D | layers.Conv1DTranspose | layers.SeparableConv1D)
    assert same(model, (7, 8), warns=not goes).layers[1].units == (4 if goes else 8)
    assert [row.constant for row in structure(model).rows][0] == (0 if goes else 4)


def residual(shortcut):
    x = keras.Input((8, 8, 3))
    stem = layers.Conv2D(8, 3, name="stem")
    left = layers.Conv2D(8, 3, padding="same", use_bias=False, name="left")
    y = stem(x)
    z = layers.ReLU()(layers.BatchNormalization()(left(y)))
    y = layers.Add()([layers.Conv2D(8, 1, name="shortcut")(y) if shortcut else y, z])
    y = layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.MaxPooling2D()(y))
    gate = layers.Dense(16, "sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = layers.Multiply()([y, gate])
    y = layers.Concatenate()([layers.GlobalAveragePooling2D()(y), layers.GlobalMaxPooling2D()(y)])
    return model_of(x, layers.Dense(2, name="out")(y))


@pytest.mark.parametrize("shortcut", [False, True])
def test_what_an_addition_a_product_and_a_depthwise_layer_tie_together_goes_together(shortcut):
    model = residual(shortcut)
    value = keras.ops.convert_to_numpy(model.get_layer("out").kernel).copy()
    value.reshape(2, 8, 2, 2)[:, 2:5] = 0  # both copies of channels 2 to 4, each in two outputs of the depthwise layer
    model.get_layer("out").kernel.assign(value)
    kept = sizes(model)
    assert kept["left"] == (8, 8), "the gate looks at every channel"
    gate = model.get_layer("gate")
    kernel = keras.ops.convert_to_numpy(gate.kernel).copy()
    kernel.reshape(8, 2, 16)[2:5] = 0
    gate.kernel.assign(kernel)
    kept = sizes(model)
    if shortcut:  # without it, the kernel of the branch reads all channels of the sum
        assert kept["left"] == kept["shortcut"] == (5, 8) and kept["gate"] == (10, 16) and kept["stem"] == (8, 8)
        assert same(model, (8, 8, 3)).count_params() < model.count_params()
    else:
        assert kept["left"] == kept["stem"] == (8, 8)
        read_none_of_these(model.get_layer("left"), slice(2, 5))
        assert sizes(model)["left"] == sizes(model)["stem"] == (5, 8)
        assert same(model, (8, 8, 3)).count_params() < model.count_params()


def test_a_recurrent_unit_that_only_itself_reads_goes():
    x = keras.Input((7, 3))
    layer = layers.LSTM(6)
    model = model_of(x, layers.Dense(2)(layer(x)))
    read_none_of(model.layers[-1], every=3)  # units 0 and 3
    inner = keras.ops.convert_to_numpy(layer.cell.recurrent_kernel).copy()
    for unit in (0, 3):
        inner[unit] = np.where(np.arange(24) % 6 == unit, inner[unit], 0)
    layer.cell.recurrent_kernel.assign(inner)
    assert same(model, (7, 3)).layers[1].units == 4


def test_heads_go_and_the_stream_that_normalisation_reads_stays():
    x = keras.Input((9, 16))
    attention = layers.MultiHeadAttention(4, 5, name="attention")
    y = layers.LayerNormalization()(x + attention(x, x))
    hidden = layers.Dense(32, "gelu", name="hidden")
    y = layers.LayerNormalization()(y + layers.Dense(16, name="back")(hidden(y)))
    model = model_of(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))
    value = keras.ops.convert_to_numpy(attention._output_dense.kernel).copy()
    value[1:3] = 0
    attention._output_dense.kernel.assign(value)
    silence(hidden)
    assert (
        sizes(model)["attention"] == (2, 4) and sizes(model)["hidden"] == (16, 32) and sizes(model)["back"] == (16, 16)
    )
    assert same(model, (9, 16)).get_layer("attention").num_heads == 2


def test_columns_of_an_embedding_and_shared_and_nested_layers():
    inside = keras.Input((5, 8))
    nested = keras.Model(
        inside, layers.Dense(6, name="within")(layers.Dense(10, "relu", name="hidden")(inside)), name="nested"
    )
    x, z = keras.Input((5,), dtype="int32"), keras.Input((5,), dtype="int32")
    table, shared = layers.Embedding(9, 12, name="table"), layers.Dense(8, "relu", name="shared")
    y = layers.Add()([nested(shared(table(x))), nested(shared(table(z)))])
    model = model_of([x, z], layers.Dense(2)(layers.Flatten()(y)))
    table.embeddings.assign(keras.ops.convert_to_numpy(table.embeddings) * (np.arange(12) % 3 > 0))
    silence(nested.get_layer("hidden"))
    assert sizes(model)["table"] == (8, 12) and sizes(model)["nested/hidden"] == (5, 10)
    generator = np.random.default_rng(0)
    given = [generator.integers(0, 9, (3, 5)) for _ in range(2)]
    expected, smaller = keras.ops.convert_to_numpy(model(given)), compact(model)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(smaller(given)), expected, rtol=1e-5, atol=1e-5)
    assert smaller.count_params() < model.count_params()


def test_counts_are_rounded_up_to_a_multiple_and_a_layer_keeps_one():
    x = keras.Input((5,))
    first, second = layers.Dense(40, name="a"), layers.Dense(12, name="b")
    model = model_of(x, layers.Dense(3)(second(first(x))))
    silence(first)
    second.kernel.assign(np.zeros((40, 12)))
    assert [(row.kept, row.reason) for row in structure(model).rows] == [
        (1, ""),
        (1, "a layer has at least one"),
        (3, ""),
    ] or sizes(model)["b"] == (1, 12)
    silence(second)
    for row in structure(model, multiple_of=8).rows[:2]:
        assert row.kept % 8 == 0 or row.kept == row.size


def test_a_pruned_model_trains_on_when_compacted_and_its_file_needs_keras_alone(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(32, "relu"), layers.Dense(32, "relu"), layers.Dense(3)])
    pruned = lth.prune(model, 0.2)
    randomise(pruned, np.random.default_rng(0))
    smaller = same(pruned, (6,))
    assert isinstance(smaller, keras.Sequential) and not any(
        "Masked" in type(layer).__name__ for layer in smaller.layers
    )
    smaller.compile("adam", "sparse_categorical_crossentropy")
    smaller.fit(np.ones((8, 6)), np.zeros(8), verbose=0)
    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.models.load_model(tmp_path / "smaller.keras")
    np.testing.assert_array_equal(loaded.layers[0].get_weights()[0], smaller.layers[0].get_weights()[0])


def test_its_time_grows_with_the_number_of_layers_alone():
    import time

    def seconds(depth):
        x = y = keras.Input((4, 4, 3))
        y = layers.Conv2D(8, 3, padding="same")(y)
        for _ in range(depth):
            y = layers.Add()([y, layers.Conv2D(8, 3, padding="same", activation="relu")(y)])
        model = keras.Model(x, layers.GlobalAveragePooling2D()(y))
        began = time.process_time()
        structure(model)
        return time.process_time() - began

    seconds(5)
    assert seconds(80) < 12 * seconds(20)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ("model.keras", TypeError, "Expected a Keras model. Received: str"),
        (keras.Sequential([layers.Dense(2)]), ValueError, "built"),
    ],
)
def test_what_is_no_built_model_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        compact(wrong)


def test_a_subclassed_model_and_a_multiple_of_nothing_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    own = Own()
    own.build((None, 2))
    with pytest.raises(ValueError, match="its own code connects its layers"):
        compact(own)
    with pytest.raises(ValueError, match="multiple_of"):
        compact(keras.Sequential([keras.Input((2,)), layers.Dense(2)]), multiple_of=0)
