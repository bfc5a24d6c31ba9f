"""The loop that drives a program: progress, errors, confusion matrices, and what it lets go of."""

import keras
import numpy as np
import pytest
import sklearn.metrics

from lth_keras.training import NonFiniteLossError
from lth_keras.training.metrics import confusion_matrix, make_counter
from tests.few import few
from tests.training.programs import (
    BACKEND,
    LOSS,
    OPTIMIZERS,
    TEST,
    TRAIN,
    VALIDATION,
    assert_same,
    assign,
    load,
    make,
    order,
    perceptron,
    run,
    weights,
)


def test_no_split_is_on_the_device_twice():
    if BACKEND != "jax":
        pytest.skip("only JAX tells what is on its device")
    import jax

    own = [(x + np.float32(0.5), y) for x, y in (TRAIN, VALIDATION, TEST)]  # no other program has these
    program = make(perceptron(), data=own)
    for split in ("test", "train", "validation"):
        program.evaluate(split, outputs=True)
        for x, _ in own:
            assert sum(np.array_equal(array, x) for array in jax.live_arrays()) == 1


def test_progress_is_told_and_calls_fit_the_capacity():
    model = perceptron()
    program = make(model)
    taken = []
    advance = program.advance
    program.advance = lambda batches, start, total: taken.append(batches.shape[1]) or advance(batches, start, total)
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
    program, start = make(model, data=((x, TRAIN[1]), VALIDATION, TEST)), weights(model)
    with pytest.raises(NonFiniteLossError, match=r"training loss .* at step 9\.") as caught:
        run(program)
    assert caught.value.step == expected
    assign(model, start)
    program.begin(None, [0], [0])
    assert program.advance(batches[None], 0, 11)[1] == [expected]  # within a call too
    # The program is not harmed: with good data and weights it trains again.
    load(program, TRAIN, VALIDATION, TEST)
    assign(model, start)
    run(program)
    assert np.isfinite(np.concatenate([value.ravel() for value in weights(model)])).all()


@pytest.mark.slow
def test_a_validation_loss_that_is_not_finite_names_the_step():
    x = VALIDATION[0].copy()
    x[0] = np.nan
    with pytest.raises(NonFiniteLossError, match=r"validation loss .* at step 5\.") as caught:
        run(make(perceptron(activation="tanh"), data=(TRAIN, (x, VALIDATION[1]), TEST)))
    assert caught.value.step == 5


def test_confusion_matrices_are_those_of_scikit_learn():
    model = perceptron()
    program = make(model)
    x, y = TEST
    curves = run(program, test=(x, y.reshape(17, 1)), counter=make_counter(LOSS, (None, 3)))
    assert list(curves.step) == [5, 10, 12] and curves.test_confusion.dtype == np.int32
    assert (curves.test_confusion[0] == -1).all() and np.isnan(curves.test_metric[0])
    expected = sklearn.metrics.confusion_matrix(y, keras.ops.convert_to_numpy(model(x)).argmax(axis=1), labels=range(3))
    np.testing.assert_array_equal(curves.test_confusion[2], expected)
    for matrix, accuracy in zip(curves.test_confusion[1:], curves.test_metric[1:], strict=True):
        assert matrix.sum() == 17 and np.trace(matrix) / 17 == pytest.approx(accuracy)
    assert run(program).test_confusion is None


def test_classes_that_do_not_occur_have_empty_rows_and_columns():
    outputs = np.eye(5)[[1, 1, 3, 0]] + np.eye(5)[[2, 1, 3, 4]]  # the first of several
    matrix = confusion_matrix(np.array([1, 0, 3, 3]), outputs, 5)
    expected = sklearn.metrics.confusion_matrix([1, 0, 3, 3], [1, 1, 3, 0], labels=range(5))
    np.testing.assert_array_equal(matrix, expected)


@few("error", [KeyboardInterrupt, NonFiniteLossError], KeyboardInterrupt)
def test_a_training_that_does_not_end_is_forgotten(error):
    optimizer = OPTIMIZERS["adam"]()
    program = make(perceptron(), lambda: optimizer)

    def interrupt(done, steps):
        raise error("training", done) if error is NonFiniteLossError else error

    start = [v.numpy().copy() for v in optimizer.variables]
    with pytest.raises(error):
        run(program, progress=interrupt)
    assert_same([v.numpy() for v in optimizer.variables], start)
