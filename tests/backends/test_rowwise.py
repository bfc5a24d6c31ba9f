"""The program that trains tables by rows: as the dense program, whatever it leaves untouched."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.metrics import f1_score

from lth_keras.backends import ProgramParts, backend, skipped
from lth_keras.masking import get_mask, large_tables, mask_model, seed_states, set_mask, using_rows, variables
from lth_keras.training import BatchOrder, NonFiniteLossError, make_counter, make_metric
from lth_keras.training.loop import train
from tests.few import few

BACKEND = keras.backend.backend()
if not backend().trains_by_rows:
    pytest.skip("there is no such program", allow_module_level=True)
HEIGHT, DIMENSION, LENGTH, BATCH, EVERY = 2000, 4, 12, 5, 4
CROSS_ENTROPY = "sparse_categorical_crossentropy"
ADAM, ADAMW, SGD = keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.SGD
OPTIMIZERS = {
    "adam": lambda: ADAM(0.01),
    "adamw, schedule": lambda: ADAMW(keras.optimizers.schedules.CosineDecay(0.01, 20), weight_decay=0.1),
    "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
}


def documents(seed, examples):
    """Rare rows and frequent ones; the last hundred rows in none."""
    generator = np.random.default_rng(seed)
    share = 1 / np.arange(1, HEIGHT - 99)
    x = generator.choice(HEIGHT - 100, (examples, LENGTH), p=share / share.sum()).astype(np.int32)
    return x, generator.integers(0, 3, examples)


TRAIN, VALIDATION, TEST = documents(1, 40), documents(2, 12), documents(3, 8)


def classifier(dropout=0.0):
    """Two tables, one before a convolution; a third of all weights pruned, and not zero."""
    keras.utils.set_random_seed(7)
    x = keras.Input((LENGTH,), dtype="int32")
    convolved = layers.Conv1D(2, 3)(layers.Embedding(HEIGHT, DIMENSION, "random_normal")(x))
    looked_up = layers.Dropout(dropout)(layers.Embedding(HEIGHT, DIMENSION, "random_normal")(x))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling1D()(part) for part in (convolved, looked_up)])
    model = mask_model(keras.Model(x, layers.Dense(3, "softmax", kernel_regularizer="l2")(pooled)))
    generator = np.random.default_rng(4)
    set_mask(model, {key: generator.random(value.shape) < 0.67 for key, value in get_mask(model).items()})
    return model


def training(model, optimizer, loss=CROSS_ENTROPY, **changes):
    return ProgramParts(
        model,
        optimizer(),
        loss,
        list(variables(model).values()),
        batch_size=BATCH,
        evaluation_batch_size=4,
        **{"evaluate_every": EVERY, "metric": make_metric(loss, model.output_shape), **changes},
    )


def load(program, train=TRAIN, validation=VALIDATION, test=TEST):
    program.load([{"train": train, "validation": validation, "test": test}])


def by_rows(model, optimizer=OPTIMIZERS["adam"], *, data=(TRAIN, VALIDATION, TEST), lazy=False, **changes):
    tables, made = large_tables(model, at_least=1), training(model, optimizer, **changes)
    rule = skipped(made.optimizer, [table.variable for table in tables], lazy=lazy)
    program = backend().rowwise_program(made, tables, using_rows, rule)
    load(program, *data)
    return program


@pytest.fixture(scope="module")
def made():
    """A model and its program, which tests begin anew with, and the weights to start from: one compilation."""
    model = classifier(dropout=0.5)
    (state,) = seed_states(model)
    program, start = by_rows(model), weights(model)

    def begin():
        assign(model, start)
        state.assign([5, 0])
        load(program)
        program.begin(None, [0], [0])
        return model, program

    return begin


def dense(model, optimizer, jit=False):
    """The dense program: every row at every step."""
    program = backend().program(training(model, optimizer, jit_compile=jit or BACKEND == "jax"))
    load(program)
    return program


def batches(seed=0):
    return BatchOrder(len(TRAIN[0]), BATCH, np.random.default_rng(seed))


def run(program, steps=15, seed=0, test=TEST, **arguments):
    program.begin(None, [0], [0])
    (curves,) = train(program, [batches(seed)], steps=steps, labels=[test[1]], test_every=EVERY, **arguments)
    if isinstance(curves, NonFiniteLossError):
        raise curves
    return curves


def measured(program, split="test"):
    found = program.evaluate(split)
    return float(found.loss[0]), float(found.metric[0])


def weights(model):
    return [v.numpy() for v in variables(model).values()]


def assign(model, values):
    for variable, value in zip(variables(model).values(), values, strict=True):
        variable.assign(value)


def curves_of(curves):
    return np.stack([curves.train_loss, curves.validation_loss, curves.validation_metric, curves.test_loss])


# As the dense program


@few("name", OPTIMIZERS, "adam")
def test_it_trains_as_the_dense_program(name):
    """And leaves rows in no document as they are, where weights do not decay."""
    ours, theirs = classifier(), classifier()
    start = weights(ours)
    for one, other in zip(start, weights(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
    curves, expected = run(by_rows(ours, OPTIMIZERS[name])), run(dense(theirs, OPTIMIZERS[name]))
    np.testing.assert_array_equal(curves.step, expected.step)
    np.testing.assert_allclose(curves_of(curves), curves_of(expected), rtol=1e-4)
    for before, one, other in zip(start, weights(ours), weights(theirs), strict=True):
        assert np.linalg.norm(one - other) <= 1e-3 * np.linalg.norm(other - before)
    unused = np.setdiff1d(np.arange(HEIGHT), TRAIN[0])
    assert len(unused) > 100 and unused[0] < HEIGHT - 100
    for before, one in zip(start[:2], (table.variable.numpy() for table in large_tables(ours, 1)), strict=True):
        assert np.array_equal(before[unused], one[unused]) == (name == "adam")


@pytest.mark.slow
def test_micro_f1_is_that_of_the_whole_split():
    """Of 8 documents in batches of 4, one of which has no class at all."""
    keras.utils.set_random_seed(7)
    x = keras.Input((LENGTH,), dtype="int32")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(HEIGHT, DIMENSION, "random_normal")(x))
    model = mask_model(keras.Model(x, layers.Dense(3, "sigmoid")(pooled)))

    def labelled(split):
        x, y = split
        return x, np.stack([y == 0, y > 0, y > 1], axis=1).astype("float32")

    data = [labelled(split) for split in (TRAIN, VALIDATION, TEST)]
    data[2][1][:4] = 0
    loss = "binary_crossentropy"
    curves = run(by_rows(model, loss=loss, data=data), test=data[2], counter=make_counter(loss, model.output_shape))
    for (documents, y), received in zip(data[1:], (curves.validation_metric, curves.test_metric), strict=True):
        predicted = np.array(model(documents)) > 0.5
        assert predicted.any()
        assert received[-1] == pytest.approx(f1_score(y, predicted, average="micro"))
    right, wrong, missed = curves.test_counts[-1].sum(axis=0)
    assert curves.test_metric[-1] == pytest.approx(2 * right / (2 * right + wrong + missed))


@pytest.mark.slow
def test_dropout_is_that_of_the_dense_program_under_xla(made):
    model, program = made()
    twin = classifier(dropout=0.5)
    (state,) = seed_states(twin)
    state.assign([5, 0])
    curves, expected = run(program, 4), run(dense(twin, OPTIMIZERS["adam"], jit=True), 4)
    np.testing.assert_allclose(curves_of(curves), curves_of(expected), rtol=1e-4)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(curves.train_loss, run(program, 4).train_loss, rtol=1e-4)


def linear():
    """Its loss is the sum of the outputs times the labels: gradients do not depend on the weights."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), layers.Embedding(300, 3), layers.Flatten()])
    return mask_model(model)


@pytest.mark.parametrize("name", ["adam", "momentum"])
@pytest.mark.slow
def test_it_agrees_with_keras_after_many_steps(name):
    make = {"adam": lambda: ADAM(1e-3), "momentum": lambda: SGD(0.5, momentum=0.9)}[name]
    generator, share = np.random.default_rng(0), 1 / np.arange(1, 301)
    x = generator.choice(300, (2500, LENGTH), p=share / share.sum()).astype(np.int32)
    factors = (1e-2 * generator.normal(size=(2500, LENGTH * 3))).astype(np.float32)

    def loss(y, outputs):
        return keras.ops.sum(y * outputs, axis=-1)

    model = linear()
    (table,) = weights(model)
    data = (x, factors), (x[:4], factors[:4]), (x[:4], factors[:4])
    program = by_rows(
        model, make, loss=loss, data=data, evaluate_every=500, metric=make_metric("mse", model.output_shape)
    )
    program.begin(None, [0], [0])
    program.advance(np.arange(2500).reshape(1, 500, BATCH), 0, 500)
    variable, optimizer = keras.Variable(table), make()
    optimizer.build([variable])
    for batch in np.arange(2500).reshape(500, BATCH):
        gradient = np.zeros_like(table)
        np.add.at(gradient, x[batch].ravel(), factors[batch].reshape(-1, 3) / BATCH)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    end = variable.numpy()
    assert np.linalg.norm(weights(model)[0] - end) <= 1e-4 * np.linalg.norm(end - table)


# What it touches


def test_pruned_weights_stay_where_they_are(made):
    model, program = made()
    before = [(table, table.variable.numpy()) for table in large_tables(model, 1)]
    run(program)
    for table, old in before:
        pruned = ~table.mask.numpy()
        np.testing.assert_array_equal(table.variable.numpy()[pruned], old[pruned])
        assert pruned.any()


@pytest.mark.slow
def test_evaluations_see_rows_up_to_date_and_write_nothing():
    model, twin = classifier(), classifier()
    program, other = by_rows(model), dense(twin, OPTIMIZERS["adam"])
    before = measured(program)  # before any training, too
    np.testing.assert_allclose(before, measured(other), rtol=1e-5)
    order = batches().take(7)
    for one in (program, other):
        load(one, validation=documents(4, 7))  # a full batch of the evaluation and one of what remains
        one.begin(None, [0], [0])
        one.advance(order[None], 0, 20)
    (table, *_), (other_table, *_) = weights(model), weights(twin)
    assert np.abs(table - other_table).max() > 1e-3, "no row is behind: it shows nothing"
    for split, (x, _) in (("train", TRAIN), ("validation", documents(4, 7))):
        found = program.evaluate(split, outputs=True)
        assert (found.loss[0], found.metric[0]) == measured(program, split)
        np.testing.assert_allclose(measured(program, split), measured(other, split), rtol=1e-4)
        np.testing.assert_allclose(found.outputs[0], twin(x), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(weights(model)[0], table)


def test_after_training_all_rows_are_up_to_date(made):
    model, program = made()
    curves = run(program)
    loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(TEST[1], model(TEST[0])))
    np.testing.assert_allclose(float(loss), curves.test_loss[-1], rtol=1e-5)
    values = weights(model)
    assign(model, [value + 1 for value in values])
    assign(model, values)  # what was assigned since is what is evaluated
    np.testing.assert_allclose(measured(program)[0], curves.test_loss[-1], rtol=1e-6)


# How it is called


def test_how_steps_are_cut_into_calls_changes_no_bit(made):
    results = []
    for sizes in ((15,), (1, 6, 8), (1,) * 15):
        model, program = made()
        order, done, losses = batches(), 0, []
        for size in sizes:
            (evaluations,), _ = program.advance(order.take(size)[None], done, 15)
            losses += list(zip(*evaluations, strict=True))
            done += size
        results.append((np.array(losses), *weights(model)))
        assert [step for step, *_ in losses] == [4, 8, 12, 15]
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


# Batches of all sizes


@pytest.mark.slow
def test_batches_of_few_and_of_many_rows_train_alike():
    """Rows are padded to a multiple of 512: one row, more than that, and the most that fit."""
    generator = np.random.default_rng(0)
    x = np.concatenate(
        [np.full((BATCH, 256), 1999), *(generator.integers(0, high, (BATCH, 256)) for high in (3, 900, 2000))]
    ).astype(np.int32)
    y = generator.integers(0, 3, len(x))
    ends = []
    for make in (by_rows, None):
        keras.utils.set_random_seed(0)
        layer_list = [layers.Embedding(HEIGHT, 2), layers.GlobalAveragePooling1D(), layers.Dense(3, "softmax")]
        model = mask_model(keras.Sequential([keras.Input((256,), dtype="int32"), *layer_list]))
        program = by_rows(model, OPTIMIZERS["nesterov"]) if make else dense(model, OPTIMIZERS["nesterov"])
        load(program, (x, y), (x[:3], y[:3]), (x[:3], y[:3]))
        program.begin(None, [0], [0])
        program.advance(np.arange(len(x)).reshape(1, -1, BATCH), 0, 4)
        ends.append(weights(model))
    assert [len(np.unique(part)) for part in np.split(x, 4)][:2] == [1, 3]
    assert len(np.unique(x[10:15])) > 512 and len(np.unique(x[15:])) > 512
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_row_numbers_that_are_not_integers_are_cut_off_as_in_keras(made):
    results = []
    for fractions in (0.0, np.linspace(0, 0.9, LENGTH)):
        model, program = made()
        load(program, (TRAIN[0] + fractions, TRAIN[1]))
        run(program, 6)
        results.append(weights(model))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_best_weights_are_kept(made):
    _, program = made()
    assert not program.keeps_best
    with pytest.raises(RuntimeError, match="Received: a program with large tables"):
        program.evaluate("test", best=True)


def test_nothing_to_evaluate_is_nan(made):
    _, program = made()
    load(program, TRAIN, (TRAIN[0][:0], TRAIN[1][:0]))
    curves = run(program, 6, validated=False)
    assert np.isnan(curves.validation_loss).all() and np.isnan(curves.validation_metric).all()
    assert np.isfinite(curves.test_loss).all()
    assert curves.early_stop_step == 6
    assert program.evaluate("validation", outputs=True).outputs.shape == (1, 0, 3)


@pytest.mark.slow
def test_a_metric_that_is_no_sum_over_examples_is_that_of_keras():
    model = classifier()
    asked = make_metric("categorical_crossentropy", model.output_shape, keras.metrics.F1Score(average="macro"))
    one_hot = [(x, np.eye(3, dtype="float32")[y]) for x, y in (TRAIN, VALIDATION, TEST)]
    asked.prepare(one_hot[0][1])
    program = by_rows(model, loss="categorical_crossentropy", data=one_hot, metric=asked)
    curves = run(program, test=one_hot[2])
    predicted = np.argmax(model(TEST[0]), -1)
    assert curves.test_metric[-1] == pytest.approx(f1_score(TEST[1], predicted, average="macro"))
