"""The order of batches, the compiled program of either backend and the loop that drives it, against plain Keras."""

import keras
import numpy as np
import pytest
import sklearn.metrics
from keras import layers

from lth_keras import training
from lth_keras.masking import get_mask, mask_model, prunable_weights, seed_states, set_mask, variables
from lth_keras.masks import Mask
from lth_keras.training import BatchOrder, NonFiniteLossError, train
from lth_keras.training.metrics import confusion_matrix, make_counter

BACKEND = keras.backend.backend()
BATCH, EVERY = 4, 5
LOSS = "sparse_categorical_crossentropy"
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)),
}


def order(seed=0, examples=44):
    return BatchOrder(examples, BATCH, np.random.default_rng(seed))


def classes(seed, examples, features=5):
    """Examples of one noisy rule, so that a network learns it first and the noise later."""
    generator, rule = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(features, 3))
    x = generator.normal(size=(examples, features)).astype("float32")
    return x, (x @ rule + 2 * generator.normal(size=(examples, 3))).argmax(1)


TRAIN, VALIDATION, TEST = classes(1, 44), classes(2, 23), classes(3, 17)


def perceptron(*between, activation="relu", regularizer=None, dtype=None):
    """A small masked classifier with a random mask; the same weights every time."""
    keras.utils.set_random_seed(7)
    dense = {"kernel_regularizer": regularizer, "activity_regularizer": regularizer, "dtype": dtype}
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((5,)),
                layers.Dense(8, activation=activation, **dense),
                *between,
                layers.Dense(3, activation="softmax", **dense),
            ]
        )
    )
    generator = np.random.default_rng(4)
    set_mask(model, {key: generator.random(value.shape) < 0.7 for key, value in get_mask(model).items()})
    return model


def make(model, optimizer=OPTIMIZERS["adam"], *, jit=False, loss=LOSS, data=(TRAIN, VALIDATION)):
    program = training.make_program(
        model,
        optimizer(),
        loss,
        list(variables(model).values()),
        batch_size=BATCH,
        evaluate_every=EVERY,
        evaluation_batch_size=7,
        jit_compile=jit or BACKEND == "jax",
    )
    program.load(*data)
    return program


def run(program, steps=12, seed=0, **arguments):
    return train(program, order(seed), steps=steps, test=TEST, test_every=2 * EVERY, **arguments)


def weights(model):
    return [v.numpy() for v in variables(model).values()]


def assign(model, values):
    for variable, value in zip(variables(model).values(), values, strict=True):
        variable.assign(value)


def assert_same(ours, theirs, **tolerance):
    for one, other in zip(ours, theirs, strict=True):
        if tolerance:
            np.testing.assert_allclose(one, other, **tolerance)
        else:
            np.testing.assert_array_equal(one, other)


# Order


def test_the_same_generator_gives_the_same_order_however_it_is_cut():
    whole = order().take(30)
    assert whole.dtype == np.int32 and whole.shape == (30, BATCH)
    pieces = order()
    assert_same([np.concatenate([pieces.take(n) for n in (1, 0, 9, 3, 15, 2) if n])], [whole])
    assert not np.array_equal(order(1).take(30), whole)


@pytest.mark.parametrize(("examples", "full"), [(44, 11), (47, 11), (4, 1)])
def test_an_epoch_is_the_full_batches_of_a_fresh_permutation(examples, full):
    made = order(0, examples)
    assert made.steps_per_epoch == full
    epochs = [made.take(full).ravel() for _ in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == full * BATCH and 0 <= epoch.min() and epoch.max() < examples
    assert not np.array_equal(epochs[0], epochs[1])
    assert set(np.concatenate(epochs)) == set(range(examples))  # what one epoch leaves out, another has


@pytest.mark.parametrize("size", [0, 5, -1])
def test_a_batch_must_fit_the_examples(size):
    with pytest.raises(ValueError, match=f"from 1 to 4.*Received: {size}"):
        BatchOrder(4, size, np.random.default_rng(0))


# The program trains as Keras does


@pytest.mark.parametrize("name", ["adam", "sgd", "adamw"])
def test_the_program_is_plain_keras_on_the_same_batches(name):
    regularizer = keras.regularizers.L2(0.01)
    ours, theirs = perceptron(regularizer=regularizer), perceptron(regularizer=regularizer)
    assert_same(weights(ours), weights(theirs))
    curves = run(make(ours, OPTIMIZERS[name]), steps=13)
    theirs.compile(OPTIMIZERS[name](), LOSS, run_eagerly=True)
    losses = []
    for batch in order().take(13):
        x, y = TRAIN[0][batch], TRAIN[1][batch]
        losses.append(float(keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, theirs(x)))))
        theirs.train_on_batch(x, y)
    assert_same(weights(ours), weights(theirs), rtol=1e-4, atol=1e-6)
    means = [np.mean(losses[:5]), np.mean(losses[5:10]), np.mean(losses[10:])]
    np.testing.assert_allclose(curves.train_loss, means, rtol=1e-5)


def test_the_program_is_a_plain_gradient_tape_loop():
    tf = pytest.importorskip("tensorflow")
    if BACKEND != "tensorflow":
        pytest.skip("a tape is TensorFlow's")
    ours, theirs = perceptron(), perceptron()
    run(make(ours), steps=12)
    optimizer = OPTIMIZERS["adam"]()
    for batch in order().take(12):
        with tf.GradientTape() as tape:
            outputs = theirs(TRAIN[0][batch], training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(TRAIN[1][batch], outputs))
        optimizer.apply(tape.gradient(loss, theirs.trainable_variables), theirs.trainable_variables)
    assert_same(weights(ours), weights(theirs), rtol=1e-5, atol=1e-7)


def test_batch_statistics_are_trained_and_used():
    ours, theirs = (
        perceptron(layers.BatchNormalization(momentum=0.8)),
        perceptron(layers.BatchNormalization(momentum=0.8)),
    )
    program = make(ours, OPTIMIZERS["sgd"])  # Adam would blow up the rounding errors of biases, whose gradient is zero
    run(program, steps=11)
    theirs.compile(OPTIMIZERS["sgd"](), LOSS, metrics=["accuracy"], run_eagerly=True)
    for batch in order().take(11):
        theirs.train_on_batch(TRAIN[0][batch], TRAIN[1][batch])
    assert_same(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)
    assert (variables(ours)["batch_normalization/moving_mean"].numpy() != 0).any()
    np.testing.assert_allclose(program.evaluate(*TEST), theirs.evaluate(*TEST, verbose=0), rtol=1e-4)


def test_dropout_is_decided_by_its_seed():
    model = perceptron(layers.Dropout(0.5))
    program, start = make(model), weights(model)
    (state,) = seed_states(model)
    results = []
    for seed in (1, 1, 2):
        assign(model, start)
        state.assign([seed, 0])
        run(program)
        results.append(weights(model))
    assert_same(results[0], results[1])
    assert not np.array_equal(results[0][0], results[2][0])
    assert program.evaluate(*TEST) == program.evaluate(*TEST)  # no dropout there


def test_jit_agrees_with_no_jit():
    one, other = perceptron(), perceptron()
    curves = [run(make(model, jit=jit)) for model, jit in ((one, True), (other, False))]
    assert_same(weights(one), weights(other), rtol=1e-4, atol=1e-6)
    for field in ("step", "train_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_allclose(getattr(curves[0], field), getattr(curves[1], field), rtol=1e-5)


# Pruned weights


@pytest.mark.parametrize(("name", "jit"), [("adam", True), ("sgd", False), ("adamw", False)])
def test_pruned_weights_are_out_of_training(name, jit):
    """Raw values of pruned weights change no bit of the rest; they do not move, and where zero they stay so."""
    model = perceptron(regularizer=keras.regularizers.L2(0.01))
    start = weights(model)
    program = make(model, OPTIMIZERS[name], jit=jit)
    results = []
    for raw in (0.0, 0.5):
        assign(model, start)
        for w in prunable_weights(model):
            w.variable.assign(np.where(w.mask.numpy(), w.variable.numpy(), raw))
        curves = run(program)
        results.append((weights(model), curves.validation_loss, program.best_weights()))
        for w in prunable_weights(model):
            pruned = w.variable.numpy()[~w.mask.numpy()]
            assert len(pruned) and (np.all(pruned == raw) if raw == 0 or name != "adamw" else np.all(pruned < raw))
    masks = get_mask(model)
    keys = list(variables(model))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        key = keys[next(i for i, value in enumerate(results[0][0]) if value is one)]
        kept = masks.get(key, np.ones(one.shape, bool))
        np.testing.assert_array_equal(one[kept], other[kept])
    np.testing.assert_array_equal(results[0][1], results[1][1])


# Evaluation


def keras_evaluation(model, loss, x, y, metric="accuracy"):
    model.compile(loss=loss, metrics=[metric], run_eagerly=True)
    return model.evaluate(x, y, batch_size=7, verbose=0)


def test_evaluation_is_that_of_keras():
    model = perceptron()
    program = make(model)
    for examples in (3, 7, 14, 44):  # less than a batch, whole batches, and a rest
        x, y = TRAIN[0][:examples], TRAIN[1][:examples]
        np.testing.assert_allclose(program.evaluate(x, y), keras_evaluation(model, LOSS, x, y), rtol=1e-5)


def labels(*shape, classes=2, seed=0):
    return np.random.default_rng(seed).integers(0, classes, shape)


LABELS = {
    "a column of classes": (3, "softmax", LOSS, labels(44, 1, classes=3)),
    "one-hot": (3, "softmax", "categorical_crossentropy", np.eye(3, dtype="float32")[labels(44, classes=3)]),
    "smoothed logits": (
        3,
        None,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        np.eye(3, dtype="float32")[labels(44, classes=3)],
    ),
    "binary": (1, "sigmoid", "binary_crossentropy", labels(44, 1)),
    "binary, one axis": (1, "sigmoid", "binary_crossentropy", labels(44)),
    "multi-label": (6, "sigmoid", "binary_crossentropy", labels(44, 6).astype("float32")),
}


@pytest.mark.parametrize("name", list(LABELS))
def test_losses_and_metrics_are_those_of_keras(name):
    units, activation, loss, y = LABELS[name]
    metric = keras.metrics.F1Score("micro", threshold=0.5) if name == "multi-label" else "accuracy"
    keras.utils.set_random_seed(1)
    ours = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(units, activation=activation)]))
    theirs = mask_model(ours)
    data = (TRAIN[0], y)
    program = make(ours, loss=loss, data=(data, data))
    train(program, order(), steps=6, test=data, test_every=5)
    theirs.compile(OPTIMIZERS["adam"](), loss, run_eagerly=True)
    for batch in order().take(6):
        theirs.train_on_batch(TRAIN[0][batch], y[batch])
    assert_same(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(program.evaluate(*data), keras_evaluation(theirs, loss, *data, metric), rtol=1e-4)


MULTI_LABEL = {
    "probabilities": ("sigmoid", "binary_crossentropy", 0.5),
    "logits": (None, keras.losses.BinaryCrossentropy(from_logits=True), 0.0),
    "focal": ("sigmoid", keras.losses.BinaryFocalCrossentropy(), 0.5),
}


def f1(y, predicted):
    return sklearn.metrics.f1_score(y.reshape(-1, 6), predicted.reshape(-1, 6), average="micro", zero_division=0)


@pytest.mark.parametrize("places", [(), (4,)])
@pytest.mark.parametrize("name", MULTI_LABEL)
def test_multi_label_metrics_are_micro_f1_of_the_whole_split(name, places):
    """Not a mean over batches; in the loop and at tests, where outcomes are counted by class too."""
    activation, loss, threshold = MULTI_LABEL[name]
    keras.utils.set_random_seed(1)
    model = mask_model(keras.Sequential([keras.Input((*places, 5)), layers.Dense(6, activation=activation)]))
    x = np.random.default_rng(0).normal(size=(44, *places, 5)).astype("float32")
    y = (np.random.default_rng(1).random((44, *places, 6)) < np.linspace(0, 0.6, 6)).astype("float32")
    y[7:14] = 0  # a batch without any class
    program = make(model, loss=loss, data=((x, y), (x[:23], y[:23])))
    counter = make_counter(loss, model.output_shape)
    curves = train(program, order(), steps=12, test=(x, y), test_every=5, counter=counter)
    predicted = np.array(model(x)) > threshold
    assert predicted.any() and not predicted.all()
    assert curves.validation_accuracy[-1] == pytest.approx(f1(y[:23], predicted[:23]))
    assert curves.test_accuracy[-1] == pytest.approx(f1(y, predicted))
    assert curves.test_confusion is None and curves.test_counts.dtype == np.int32
    matrices = sklearn.metrics.multilabel_confusion_matrix(y.reshape(-1, 6), predicted.reshape(-1, 6))
    expected = np.stack([matrices[:, 1, 1], matrices[:, 0, 1], matrices[:, 1, 0]], axis=1)
    np.testing.assert_array_equal(curves.test_counts[-1], expected)
    assert program.evaluate(x[7:14], np.zeros_like(y[7:14]))[1] == 0


def test_f1_is_0_where_no_class_is_true_or_predicted():
    model = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(6, "sigmoid", bias_initializer="zeros")]))
    assign(model, [np.zeros((5, 6)), np.full(6, -9.0)])
    y = np.zeros((44, 6), "float32")
    program = make(model, loss="binary_crossentropy", data=((TRAIN[0], y), (TRAIN[0], y)))
    assert program.evaluate(TRAIN[0], y)[1] == 0 and np.isfinite(program.evaluate(TRAIN[0], y)[0])


def test_f1_of_no_validation_split_is_nan():
    """Though that of a split without any class is 0."""
    model = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(6, "sigmoid")]))
    y = np.zeros((44, 6), "float32")
    program = make(model, loss="binary_crossentropy", data=((TRAIN[0], y), (TRAIN[0][:0], y[:0])))
    curves = train(program, order(), steps=5, test=(TRAIN[0], y), test_every=5, validated=False)
    assert np.isnan(curves.validation_accuracy).all() and np.isnan(curves.validation_loss).all()
    assert np.isfinite(curves.test_accuracy).all()


@pytest.mark.parametrize(
    ("loss", "units", "multi_label"),
    [
        ("binary_crossentropy", 6, True),
        ("BinaryCrossentropy", 6, True),
        ("binary_crossentropy", 1, False),
        ("categorical_crossentropy", 6, False),
        (lambda y, outputs: keras.losses.binary_crossentropy(y, outputs), 6, False),
    ],
)
def test_several_outputs_with_binary_cross_entropies_are_multi_label(loss, units, multi_label):
    assert training.is_multi_label(loss, (None, units)) == multi_label
    assert training.make_metric(loss, (None, units)).name == ("micro-F1" if multi_label else "accuracy")


def test_accuracy_of_outputs_per_position_is_their_mean():
    keras.utils.set_random_seed(1)
    model = mask_model(keras.Sequential([keras.Input((6, 5)), layers.Dense(3, activation="softmax")]))
    x, y = np.random.default_rng(0).normal(size=(10, 6, 5)).astype("float32"), labels(10, 6, classes=3)
    program = make(model, data=((x, y), (x, y)))
    np.testing.assert_allclose(program.evaluate(x, y), keras_evaluation(model, LOSS, x, y), rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_that_of_keras(policy):
    run(make(perceptron(regularizer=keras.regularizers.L2(0.01), dtype=policy)), steps=2)  # which Keras' fit refuses
    ours, theirs = perceptron(dtype=policy), perceptron(dtype=policy)
    program = make(ours)
    run(program, steps=6)
    theirs.compile(OPTIMIZERS["adam"](), LOSS, auto_scale_loss=False, run_eagerly=True)
    for batch in order().take(6):
        theirs.train_on_batch(TRAIN[0][batch], TRAIN[1][batch])
    assert_same(weights(ours), weights(theirs), rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(program.evaluate(*TEST), keras_evaluation(theirs, LOSS, *TEST), rtol=1e-2)


def test_evaluations_fall_due_at_the_cadence_and_at_the_end():
    model = perceptron()
    program = make(model)
    for steps, due, tested in [
        (12, [5, 10, 12], [10, 12]),
        (10, [5, 10], [10]),
        (3, [3], [3]),
        (16, [5, 10, 15, 16], [10, 16]),
    ]:
        curves = run(program, steps=steps)
        assert curves.step.tolist() == due and curves.step.dtype == np.int64
        assert curves.step[np.isfinite(curves.test_loss)].tolist() == tested
        assert curves.step[np.isfinite(curves.test_accuracy)].tolist() == tested
        assert np.isfinite([curves.train_loss, curves.validation_loss, curves.validation_accuracy]).all()
        assert (curves.test_loss[-1], curves.test_accuracy[-1]) == pytest.approx(program.evaluate(*TEST), rel=1e-6)
        np.testing.assert_allclose(
            [curves.validation_loss[-1], curves.validation_accuracy[-1]], program.evaluate(*VALIDATION), rtol=1e-5
        )


def test_the_best_weights_are_those_of_least_validation_loss():
    def fast():
        return keras.optimizers.Adam(0.1)

    ours, theirs = perceptron(), perceptron()
    program = make(ours, fast, jit=True)
    curves = run(program, steps=60)
    theirs.compile(fast(), LOSS, run_eagerly=True)
    losses, at = [], []
    for step, batch in enumerate(order().take(60), start=1):
        theirs.train_on_batch(TRAIN[0][batch], TRAIN[1][batch])
        if step % EVERY == 0:
            losses.append(theirs.test_on_batch(*VALIDATION))
            at.append(weights(theirs))
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1, "a case in which first, last and best differ"
    assert curves.early_stop_step == EVERY * (best + 1)
    np.testing.assert_allclose(curves.validation_loss, losses, rtol=1e-2)
    assert_same(program.best_weights(), at[best], rtol=1e-2, atol=1e-3)
    # Put into the model, they give the least validation loss; the model itself is at the end.
    assert not np.array_equal(weights(ours)[0], program.best_weights()[0])
    assign(ours, program.best_weights())
    assert program.evaluate(*VALIDATION)[0] == pytest.approx(curves.validation_loss.min(), rel=1e-5)


def test_a_later_training_forgets_the_best_weights_of_an_earlier_one():
    model = perceptron()
    program, start = make(model), weights(model)
    run(program, steps=30)
    good = program.evaluate(*VALIDATION)[0]
    assign(model, [20 * value for value in start])
    curves = run(program, steps=3)
    assert curves.validation_loss[0] > good
    assert_same(program.best_weights(), weights(model))


# The same bits


@pytest.mark.parametrize("jit", [False, True])
def test_how_steps_are_cut_into_calls_changes_no_bit(jit):
    model = perceptron(layers.Dropout(0.3), layers.BatchNormalization())
    program, start = make(model, OPTIMIZERS["schedule"], jit=jit), weights(model)
    (state,) = seed_states(model)
    results = []
    for cuts in ([13], [1, 3, 1, 5, 3], [1] * 13, [5, 5, 3], [9, 4]):
        assign(model, start)
        state.assign([3, 0])
        program.reset()
        batches, done, rows = order(), 0, []
        for count in cuts:
            evaluations, bad = program.advance(batches.take(count), done, 13)
            done += count
            assert bad is None
            rows += zip(*evaluations, strict=True)
        results.append([np.array(rows), *weights(model), *program.best_weights()])
    assert results[0][0][:, 0].tolist() == [5, 10, 13]
    for result in results[1:]:
        assert_same(result, results[0])


@pytest.mark.parametrize("name", ["adam", "sgd", "schedule"])
def test_reset_puts_the_optimiser_back(name):
    model = perceptron()
    program, start = make(model, OPTIMIZERS[name]), weights(model)
    first = run(program)
    after = weights(model)
    run(program, steps=7, seed=1)  # something else between
    assign(model, start)
    again = run(program)
    assert_same(weights(model), after)
    for field in ("step", "train_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(getattr(again, field), getattr(first, field))


def test_a_count_of_updates_that_goes_on_leaves_adam_uncorrected():
    """Its first update is then (1 - 0.9) / sqrt(1 - 0.999) times as long: moments of 0 that nothing corrects."""

    model = perceptron()
    program, start = make(model), weights(model)

    def first_update(updates):
        assign(model, start)
        program.reset(updates)
        program.advance(order().take(1), 0, 1)
        return np.concatenate([(now - then).ravel() for now, then in zip(weights(model), start, strict=True)])

    fresh, later = first_update(0), first_update(1_000_000)
    moved = np.abs(fresh) > 0.99 * np.abs(fresh).max()  # where the gradient is far above epsilon
    assert moved.sum() > 10
    np.testing.assert_allclose(later[moved] / fresh[moved], 0.1 / np.sqrt(0.001), rtol=1e-2)


def test_one_trace_serves_all_levels():
    model = perceptron(layers.Dropout(0.3))
    program = make(model, jit=True)
    before = {}
    for level in range(3):
        generator = np.random.default_rng(level)
        set_mask(model, Mask({key: generator.random(value.shape) < 0.8 for key, value in get_mask(model).items()}))
        assign(model, [generator.normal(size=value.shape) for value in weights(model)])
        run(program, steps=(12, 3, 11)[level], seed=level)
        program.load(classes(10 + level, 44), classes(20 + level, 23))  # the data of another trial
        before[level] = weights(model)
    assert program.traces == 1
    assert not np.array_equal(before[0][0], before[1][0])


# The loop


def test_no_split_is_on_the_device_twice():
    if BACKEND != "jax":
        pytest.skip("TensorFlow copies a split for as long as it is evaluated")
    import jax

    program = make(perceptron())
    for split in (TEST, TRAIN, VALIDATION):
        program.test(*split)
        for x, _ in (TRAIN, VALIDATION, TEST):
            assert sum(np.array_equal(array, x) for array in jax.live_arrays()) == 1


def test_progress_is_told_and_calls_fit_the_capacity():
    model = perceptron()
    program = make(model)
    taken = []
    advance = program.advance
    program.advance = lambda batches, start, total: taken.append(len(batches)) or advance(batches, start, total)
    seen = []
    run(program, steps=32, progress=lambda done, total: seen.append((done, total)))
    done = np.cumsum(taken)
    assert seen == [(int(n), 32) for n in done] and done[-1] == 32
    assert max(taken) <= program.capacity and taken[0] == 1
    assert {10, 20, 30} <= set(done.tolist())  # calls end where a test falls due


def test_a_loss_that_is_not_finite_names_the_step():
    x = TRAIN[0].copy()
    batches = order().take(11)
    expected = 9
    x[batches[expected - 1, 2]] = np.nan
    model = perceptron(activation="tanh")
    program, start = make(model, data=((x, TRAIN[1]), VALIDATION)), weights(model)
    with pytest.raises(NonFiniteLossError, match=r"training loss .* at step 9\.") as caught:
        run(program)
    assert caught.value.step == expected
    program.reset()
    assign(model, start)
    assert program.advance(batches, 0, 11)[1] == expected  # within a call too
    # The program is not harmed: with good data and weights it trains again.
    program.load(TRAIN, VALIDATION)
    assign(model, start)
    run(program)
    assert np.isfinite(np.concatenate([value.ravel() for value in weights(model)])).all()


def test_a_validation_loss_that_is_not_finite_names_the_step():
    x = VALIDATION[0].copy()
    x[0] = np.nan
    with pytest.raises(NonFiniteLossError, match=r"validation loss .* at step 5\.") as caught:
        run(make(perceptron(activation="tanh"), data=(TRAIN, (x, VALIDATION[1]))))
    assert caught.value.step == 5


# The room's doors


def test_a_program_is_made_for_the_backend_of_keras(monkeypatch):
    model = perceptron()
    made = training.make_program(
        model,
        OPTIMIZERS["adam"](),
        LOSS,
        [],
        batch_size=4,
        evaluate_every=5,
        evaluation_batch_size=7,
        jit_compile=True,
    )
    assert type(made).__name__ == {"tensorflow": "TensorFlowProgram", "jax": "JaxProgram"}[BACKEND]
    monkeypatch.setattr(keras.backend, "backend", lambda: "unknown")
    with pytest.raises(RuntimeError, match="Received: 'unknown'"):
        training.make_program(model)


def test_threads_cannot_change_once_the_backend_runs():
    keras.ops.zeros(1)
    threads = 0
    if BACKEND == "tensorflow":
        import tensorflow as tf

        threads = tf.config.threading.get_intra_op_parallelism_threads()
        training.set_threads(threads)
    with pytest.raises(RuntimeError):
        training.set_threads(threads + 1)


# What the loop adds


@pytest.mark.parametrize("shape", [(17,), (17, 1)])
def test_confusion_matrices_are_those_of_scikit_learn(shape):
    model = perceptron()
    program = make(model)
    x, y = TEST
    curves = train(
        program,
        order(),
        steps=12,
        test=(x, y.reshape(shape)),
        test_every=2 * EVERY,
        counter=make_counter(LOSS, (None, 3)),
    )
    assert list(curves.step) == [5, 10, 12] and curves.test_confusion.dtype == np.int32
    assert (curves.test_confusion[0] == -1).all() and np.isnan(curves.test_accuracy[0])
    expected = sklearn.metrics.confusion_matrix(y, np.array(model(x)).argmax(axis=1), labels=range(3))
    np.testing.assert_array_equal(curves.test_confusion[2], expected)
    for matrix, accuracy in zip(curves.test_confusion[1:], curves.test_accuracy[1:], strict=True):
        assert matrix.sum() == 17 and np.trace(matrix) / 17 == pytest.approx(accuracy)
    assert run(program).test_confusion is None


def test_classes_that_do_not_occur_have_empty_rows_and_columns():
    outputs = np.eye(5)[[1, 1, 3, 0]] + np.eye(5)[[2, 1, 3, 4]]  # the first of several
    matrix = confusion_matrix(np.array([1, 0, 3, 3]), outputs, 5)
    expected = sklearn.metrics.confusion_matrix([1, 0, 3, 3], [1, 1, 3, 0], labels=range(5))
    np.testing.assert_array_equal(matrix, expected)


def test_without_validation_split_the_last_step_is_the_early_stop():
    program = make(perceptron(), data=(TRAIN, (VALIDATION[0][:0], VALIDATION[1][:0])))
    curves = run(program, validated=False)
    assert np.isnan(curves.validation_loss).all() and np.isnan(curves.validation_accuracy).all()
    assert curves.early_stop_step == 12 and np.isfinite(curves.test_accuracy[curves.early_stop])
    with pytest.raises(NonFiniteLossError, match="validation loss is not finite .* at step 5"):
        run(program)


@pytest.mark.parametrize("error", [KeyboardInterrupt, NonFiniteLossError])
def test_a_training_that_does_not_end_is_forgotten(error):
    optimizer = OPTIMIZERS["adam"]()
    program = make(perceptron(), lambda: optimizer)

    def interrupt(done, steps):
        raise error("training", done) if error is NonFiniteLossError else error

    start = [v.numpy().copy() for v in optimizer.variables]
    with pytest.raises(error):
        run(program, progress=interrupt)
    assert_same([v.numpy() for v in optimizer.variables], start)
