"""The order of batches, and the compiled program of either backend: it trains as plain Keras does, to the same bits."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.backends import Pruned
from lth_keras.layers import pruned_weights_are_zero
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, prunable_weights, seed_states, set_mask, variables
from lth_keras.training import BatchOrder
from tests.backend import EAGER
from tests.few import few
from tests.training.programs import (
    BATCH,
    LOSS,
    OPTIMIZERS,
    TEST,
    TRAIN,
    assert_same,
    assign,
    classes,
    load,
    make,
    measured,
    order,
    outputs_at_best,
    perceptron,
    run,
    weights,
)


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


@few("name", ["adam", "sgd", "adamw"], "adam")
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
    np.testing.assert_allclose(measured(program), theirs.evaluate(*TEST, verbose=0), rtol=1e-4)


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
    assert measured(program) == measured(program)  # no dropout there


@pytest.mark.slow
def test_jit_agrees_with_no_jit():
    one, other = perceptron(), perceptron()
    curves = [run(make(model, jit=jit)) for model, jit in ((one, True), (other, False))]
    assert_same(weights(one), weights(other), rtol=1e-4, atol=1e-6)
    for field in ("step", "train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric"):
        np.testing.assert_allclose(getattr(curves[0], field), getattr(curves[1], field), rtol=1e-5)


@few(("name", "jit"), [("adam", True), ("sgd", False), ("adamw", False)], ("adamw", False))
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
        results.append((weights(model), curves.validation_loss))
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


class Drifting(keras.optimizers.SGD):
    """Moves every weight a little, whatever its gradient is."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)
        self.assign_add(variable, keras.ops.full(variable.shape, 0.001, variable.dtype))


@few("optimizer", ["adam", "drifting"], "drifting")
@few("penalty", [0.0, 0.01], 0.01)
@few("jit", [False, True], False)
def test_weights_that_are_kept_at_zero_are_not_multiplied_by_masks_and_train_to_the_same_bits(optimizer, penalty, jit):
    regularizer = keras.regularizers.L2(penalty) if penalty else None
    optimizer = {**OPTIMIZERS, "drifting": lambda: Drifting(0.05)}[optimizer]
    ours, theirs = perceptron(regularizer=regularizer), perceptron(regularizer=regularizer)
    pairs = [(w.variable, w.mask) for w in prunable_weights(ours)]
    program = make(ours, optimizer, jit=jit, pruned=Pruned(pairs, pruned_weights_are_zero))
    for w in (*prunable_weights(ours), *prunable_weights(theirs)):
        w.variable.assign(np.where(w.mask.numpy(), w.variable.numpy(), 0.5))
    other = make(theirs, optimizer, jit=jit)
    curves = [run(each) for each in (program, other)]
    np.testing.assert_array_equal(curves[0].validation_loss, curves[1].validation_loss)
    for mine, w in zip(prunable_weights(ours), prunable_weights(theirs), strict=True):
        mask = w.mask.numpy()
        assert np.any(w.variable.numpy()[~mask]) and not np.any(mine.variable.numpy()[~mask])
        np.testing.assert_array_equal(mine.variable.numpy()[mask], w.variable.numpy()[mask])
    assert_same(
        *[[v.numpy() for v in model.trainable_variables if v.path.endswith("bias")] for model in (ours, theirs)]
    )


@few("jit", [False, True], False)
def test_a_mask_that_changes_within_a_training_holds_from_the_next_step(jit):
    models = [perceptron(), perceptron()]
    start = [v.numpy() for v in models[0].non_trainable_variables]
    curves = []
    for model, keeps in zip(models, (True, False), strict=True):
        pairs = [(w.variable, w.mask) for w in prunable_weights(model)]
        options = {"pruned": Pruned(pairs, pruned_weights_are_zero)} if keeps else {}
        halved = {w.key: w.mask.numpy() & (np.arange(w.mask.shape[1]) % 2 == 0) for w in prunable_weights(model)}
        program = make(model, OPTIMIZERS["sgd"], jit=jit, **options)
        curves.append(run(program, after={4: lambda model=model, mask=halved: set_mask(model, mask)}))
    assert not np.array_equal(start[0], models[0].non_trainable_variables[0].numpy())
    np.testing.assert_array_equal(curves[0].train_loss, curves[1].train_loss)
    np.testing.assert_array_equal(curves[0].validation_loss, curves[1].validation_loss)


@few("jit", [False, True], False)
def test_how_steps_are_cut_into_calls_changes_no_bit(jit):
    model = perceptron(layers.Dropout(0.3), layers.BatchNormalization())
    program, start = make(model, OPTIMIZERS["schedule"], jit=jit), weights(model)
    (state,) = seed_states(model)
    results = []
    for cuts in ([13], [1, 3, 1, 5, 3], [1] * 13, [5, 5, 3], [9, 4]):
        assign(model, start)
        state.assign([3, 0])
        program.begin(None, [0], [0])
        batches, done, rows = order(), 0, []
        for count in cuts:
            (evaluations,), bad = program.advance(batches.take(count)[None], done, 13)
            done += count
            assert bad == [None]
            rows += zip(*evaluations, strict=True)
        results.append([np.array(rows), *weights(model), outputs_at_best(program)])
    assert results[0][0][:, 0].tolist() == [5, 10, 13]
    for result in results[1:]:
        assert_same(result, results[0])


@few("name", ["adam", "sgd", "schedule"], "schedule")
def test_every_training_begins_with_the_optimiser_as_after_build(name):
    model = perceptron()
    program, start = make(model, OPTIMIZERS[name]), weights(model)
    first = run(program)
    after = weights(model)
    run(program, steps=7, seed=1)  # something else between
    assign(model, start)
    again = run(program)
    assert_same(weights(model), after)
    for field in ("step", "train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric"):
        np.testing.assert_array_equal(getattr(again, field), getattr(first, field))


def test_a_count_of_updates_that_goes_on_leaves_adam_uncorrected():
    """Its first update is then (1 - 0.9) / sqrt(1 - 0.999) times as long: moments of 0 that nothing corrects."""

    model = perceptron()
    program, start = make(model), weights(model)

    def first_update(updates):
        assign(model, start)
        program.begin(None, [0], [updates])
        program.advance(order().take(1)[None], 0, 1)
        return np.concatenate([(now - then).ravel() for now, then in zip(weights(model), start, strict=True)])

    fresh, later = first_update(0), first_update(1_000_000)
    moved = np.abs(fresh) > 0.99 * np.abs(fresh).max()  # where the gradient is far above epsilon
    assert moved.sum() > 10
    np.testing.assert_allclose(later[moved] / fresh[moved], 0.1 / np.sqrt(0.001), rtol=1e-2)


@pytest.mark.skipif(EAGER, reason="it runs eagerly, and traces nothing")
@few("jit", [False, True], False)
def test_one_trace_serves_all_levels(jit):
    model = perceptron(layers.Dropout(0.3))
    program = make(model, jit=jit)
    before = {}
    for level in range(3):
        generator = np.random.default_rng(level)
        set_mask(model, Mask({key: generator.random(value.shape) < 0.8 for key, value in get_mask(model).items()}))
        assign(model, [generator.normal(size=value.shape) for value in weights(model)])
        run(program, steps=(12, 3, 11)[level], seed=level)
        load(program, classes(10 + level, 44), classes(20 + level, 23), TEST)  # the data of another trial
        before[level] = weights(model)
    assert program.traces == 1
    assert not np.array_equal(before[0][0], before[1][0])
