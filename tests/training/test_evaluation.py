"""What the compiled program measures, when, and that it keeps the best weights: against plain Keras."""

import keras
import numpy as np
import pytest
import sklearn.metrics
from keras import layers

from lth_keras import training
from lth_keras.masking import mask_model
from lth_keras.training.metrics import make_counter
from tests.few import few
from tests.training.programs import (
    EVERY,
    LOSS,
    OPTIMIZERS,
    TEST,
    TRAIN,
    VALIDATION,
    assert_same,
    assign,
    load,
    make,
    measured,
    order,
    outputs_at_best,
    perceptron,
    run,
    weights,
)


def keras_evaluation(model, loss, x, y, metric="accuracy"):
    model.compile(loss=loss, metrics=[metric], run_eagerly=True)
    return model.evaluate(x, y, batch_size=7, verbose=0)


def test_evaluation_is_that_of_keras():
    model = perceptron()
    program = make(model)
    for examples in (3, 14, 44):  # less than a batch, whole batches, and a rest
        x, y = TRAIN[0][:examples], TRAIN[1][:examples]
        load(program, TRAIN, VALIDATION, (x, y))
        np.testing.assert_allclose(measured(program), keras_evaluation(model, LOSS, x, y), rtol=1e-5)


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


@few("name", LABELS, "binary, one axis")
def test_losses_and_metrics_are_those_of_keras(name):
    units, activation, loss, y = LABELS[name]
    metric = keras.metrics.F1Score("micro", threshold=0.5) if name == "multi-label" else "accuracy"
    keras.utils.set_random_seed(1)
    ours = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(units, activation=activation)]))
    theirs = mask_model(ours)
    data = (TRAIN[0], y)
    program = make(ours, loss=loss, data=(data, data, data))
    run(program, steps=6, test=data)
    theirs.compile(OPTIMIZERS["adam"](), loss, run_eagerly=True)
    for batch in order().take(6):
        theirs.train_on_batch(TRAIN[0][batch], y[batch])
    assert_same(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measured(program), keras_evaluation(theirs, loss, *data, metric), rtol=1e-4)


MULTI_LABEL = {
    "probabilities": ("sigmoid", "binary_crossentropy", 0.5),
    "logits": (None, keras.losses.BinaryCrossentropy(from_logits=True), 0.0),
    "focal": ("sigmoid", keras.losses.BinaryFocalCrossentropy(), 0.5),
}


def f1(y, predicted):
    return sklearn.metrics.f1_score(y.reshape(-1, 6), predicted.reshape(-1, 6), average="micro", zero_division=0)


@few("places", [0, 4], 4)
@few("name", MULTI_LABEL, "logits")
def test_multi_label_metrics_are_micro_f1_of_the_whole_split(name, places):
    """Not a mean over batches; in the loop and at tests, where outcomes are counted by class too."""
    activation, loss, threshold = MULTI_LABEL[name]
    places = (places,) if places else ()
    keras.utils.set_random_seed(1)
    model = mask_model(keras.Sequential([keras.Input((*places, 5)), layers.Dense(6, activation=activation)]))
    x = np.random.default_rng(0).normal(size=(44, *places, 5)).astype("float32")
    y = (np.random.default_rng(1).random((44, *places, 6)) < np.linspace(0, 0.6, 6)).astype("float32")
    y[7:14] = 0  # a batch without any class
    program = make(model, loss=loss, data=((x, y), (x[:23], y[:23]), (x, y)))
    curves = run(program, test=(x, y), test_every=5, counter=make_counter(loss, model.output_shape))
    predicted = keras.ops.convert_to_numpy(model(x)) > threshold
    assert predicted.any() and not predicted.all()
    assert curves.validation_metric[-1] == pytest.approx(f1(y[:23], predicted[:23]))
    assert curves.test_metric[-1] == pytest.approx(f1(y, predicted))
    assert curves.test_confusion is None and curves.test_counts.dtype == np.int32
    matrices = sklearn.metrics.multilabel_confusion_matrix(y.reshape(-1, 6), predicted.reshape(-1, 6))
    expected = np.stack([matrices[:, 1, 1], matrices[:, 0, 1], matrices[:, 1, 0]], axis=1)
    np.testing.assert_array_equal(curves.test_counts[-1], expected)
    load(program, (x, y), (x, y), (x[7:14], np.zeros_like(y[7:14])))
    assert measured(program)[1] == 0


def test_f1_is_0_where_no_class_is_true_or_predicted():
    model = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(6, "sigmoid", bias_initializer="zeros")]))
    assign(model, [np.zeros((5, 6)), np.full(6, -9.0)])
    y = np.zeros((44, 6), "float32")
    program = make(model, loss="binary_crossentropy", data=((TRAIN[0], y),) * 3)
    loss, f1_score = measured(program)
    assert f1_score == 0 and np.isfinite(loss)


@pytest.mark.slow
def test_f1_of_no_validation_split_is_nan():
    """Though that of a split without any class is 0."""
    model = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(6, "sigmoid")]))
    y = np.zeros((44, 6), "float32")
    program = make(model, loss="binary_crossentropy", data=((TRAIN[0], y), (TRAIN[0][:0], y[:0]), (TRAIN[0], y)))
    curves = run(program, steps=5, test=(TRAIN[0], y), test_every=5, validated=False)
    assert np.isnan(curves.validation_metric).all() and np.isnan(curves.validation_loss).all()
    assert np.isfinite(curves.test_metric).all()


@pytest.mark.parametrize(
    ("loss", "units", "multi_label"),
    [
        ("binary_crossentropy", 6, True),
        ("BinaryCrossentropy", 6, True),
        ("binary_crossentropy", 1, False),
        ("categorical_crossentropy", 6, False),
    ],
)
def test_several_outputs_with_binary_cross_entropies_are_multi_label(loss, units, multi_label):
    assert training.make_metric(loss, (None, units)).name == ("micro_f1" if multi_label else "accuracy")


def test_accuracy_of_outputs_per_position_is_their_mean():
    keras.utils.set_random_seed(1)
    model = mask_model(keras.Sequential([keras.Input((6, 5)), layers.Dense(3, activation="softmax")]))
    x, y = np.random.default_rng(0).normal(size=(10, 6, 5)).astype("float32"), labels(10, 6, classes=3)
    program = make(model, data=((x, y),) * 3)
    np.testing.assert_allclose(measured(program), keras_evaluation(model, LOSS, x, y), rtol=1e-5)


@pytest.mark.slow
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
    np.testing.assert_allclose(measured(program), keras_evaluation(theirs, LOSS, *TEST), rtol=1e-2)


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
        assert curves.step[np.isfinite(curves.test_metric)].tolist() == tested
        assert np.isfinite([curves.train_loss, curves.validation_loss, curves.validation_metric]).all()
        assert (curves.test_loss[-1], curves.test_metric[-1]) == pytest.approx(measured(program), rel=1e-6)
        np.testing.assert_allclose(
            [curves.validation_loss[-1], curves.validation_metric[-1]], measured(program, "validation"), rtol=1e-5
        )


@few("jit", [False, True], False)
def test_the_best_weights_are_those_of_least_validation_loss(jit):
    def fast():
        return keras.optimizers.Adam(0.1)

    ours, theirs = perceptron(), perceptron()
    program = make(ours, fast, jit=jit)
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
    # In the model's place, they give the least validation loss; the model itself is at the end, before and after.
    final = weights(ours)
    assign(theirs, at[best])
    np.testing.assert_allclose(outputs_at_best(program), keras.ops.convert_to_numpy(theirs(TEST[0])), atol=1e-2)
    assert measured(program, "validation", best=True)[0] == pytest.approx(curves.validation_loss.min(), rel=1e-5)
    assert_same(weights(ours), final)
    assert measured(program, "validation")[0] == pytest.approx(curves.validation_loss[-1], rel=1e-5)


def test_a_later_training_forgets_the_best_weights_of_an_earlier_one():
    model = perceptron()
    program, start = make(model), weights(model)
    run(program, steps=30)
    good = measured(program, "validation")[0]
    assign(model, [20 * value for value in start])
    curves = run(program, steps=3)
    assert curves.validation_loss[0] > good
    assert measured(program, best=True) == measured(program)
