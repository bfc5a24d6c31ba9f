"""Which embedding tables can be trained by rows, and which row numbers a model's input may have."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.layers import MaskedEmbedding
from lth_keras.masking import input_rows, large_tables, mask_model, using_rows

ROWS, DIMENSION = 50, 4


def embedding(rows=ROWS, dimension=DIMENSION, **arguments):
    return layers.Embedding(rows, dimension, **arguments)


def functional(*makers, dtype="int32"):
    """A model of several branches, each `(input) -> sequence`."""
    x = keras.Input((7,), dtype=dtype)
    pooled = [layers.GlobalAveragePooling1D()(make(x)) for make in makers]
    joined = layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]
    return mask_model(keras.Model(x, layers.Dense(2)(joined)))


def sequential(*before, table=None):
    model = keras.Sequential([keras.Input((7,), dtype="int32"), *before])
    model.add(table or embedding())  # one after the other, as its user may write it
    model.add(layers.GlobalAveragePooling1D())
    return mask_model(model)


def names(model, at_least=ROWS * DIMENSION):
    tables = large_tables(model, at_least)
    for table in tables:
        assert table.variable is table.layer._embeddings and table.mask is table.layer.embeddings_mask
    return [table.layer.name for table in tables]


def test_tables_that_read_the_input_are_found_in_their_order():
    one, two = embedding(name="one"), embedding(name="two", dimension=5)
    assert names(functional(one)) == ["one"]
    assert names(functional(one, two)) == ["one", "two"]
    assert names(functional(two, one, embedding(name="three"))) == ["two", "one", "three"]
    assert names(sequential(table=one)) == ["one"]
    assert names(functional(one, dtype="float32")) == ["one"]


def twice():
    table = embedding()
    return functional(lambda x: layers.Add()([table(x), table(x)]))


def nested():
    x = keras.Input((7,), dtype="int32")
    return functional(keras.Model(x, embedding()(x)))


NOT_FOUND = {
    "regulariser": lambda: functional(embedding(embeddings_regularizer="l2")),
    "constraint": lambda: functional(embedding(embeddings_constraint="max_norm")),
    "activity regulariser": lambda: functional(embedding(activity_regularizer="l2")),
    "called twice": twice,
    "behind another layer": lambda: functional(lambda x: embedding()(layers.Maximum()([x, x]))),
    "in a nested model": nested,
    "frozen": lambda: functional(embedding(trainable=False)),
    "small": lambda: functional(embedding(ROWS - 1)),
    "float16": lambda: functional(embedding(dtype="float16")),
    "LoRA": lambda: functional(embedding(lora_rank=2)),
    "none": lambda: mask_model(keras.Sequential([keras.Input((7,)), layers.Dense(2)])),
}


@pytest.mark.parametrize("what", NOT_FOUND)
def test_other_tables_are_not_found(what):
    assert names(NOT_FOUND[what]()) == []


def test_tables_of_a_subclassed_model_are_not_found():
    """Its calls are not known before they run."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = MaskedEmbedding(ROWS, DIMENSION)

        def call(self, x):
            return self.table(x)

    model = Own()
    model(np.zeros((1, 7), np.int32))
    assert names(model) == []


def test_those_of_the_longest_are_found():
    model = functional(embedding(60, name="short"), embedding(70, name="long"), embedding(70, name="other"))
    assert names(model) == ["long", "other"]


def test_tables_count_as_large_from_their_weights_on():
    assert names(functional(embedding(ROWS, DIMENSION - 1, name="less"), embedding(name="enough"))) == ["enough"]
    assert large_tables(functional(embedding())) == []  # four million weights, where nothing else is said


def test_row_numbers_are_those_of_the_shortest_table_that_reads_the_input():
    assert input_rows(functional(embedding(70), embedding(60, embeddings_regularizer="l2"))) == [60]
    assert input_rows(twice()) == [ROWS]
    assert input_rows(NOT_FOUND["behind another layer"]()) == [None]
    assert input_rows(NOT_FOUND["none"]()) == [None]
    x, y = keras.Input((5,)), keras.Input((5,))
    both = keras.Model([x, y], keras.layers.Add()([keras.layers.Embedding(7, 2)(x), keras.layers.Embedding(9, 2)(y)]))
    assert input_rows(both) == [7, 9]


def test_a_model_looks_up_in_the_rows_of_its_tables():
    model = functional(embedding(), embedding())
    tables = large_tables(model, 1)
    x = np.random.default_rng(0).integers(0, 9, (3, 7))
    expected, rows = keras.ops.convert_to_numpy(model(x)), np.arange(9)
    parts = [[getattr(table, name).numpy()[rows] for table in tables] for name in ("variable", "mask")]
    for table in tables:
        table.variable.assign(np.full(table.variable.shape, np.nan))
    with using_rows(tables, *parts, x):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x)), expected)
    assert np.isnan(keras.ops.convert_to_numpy(model(x))).all()
    with pytest.raises(ValueError, match="shorter"), using_rows(tables, parts[0][:1], parts[1], x):
        pass
