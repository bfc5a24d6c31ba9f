"""A small masked classifier, its compiled program on made-up data, and what tests of them have in common."""

import keras
import numpy as np
from keras import layers

from lth_keras.backends import ProgramParts, backend
from lth_keras.masking import get_mask, mask_model, set_mask, variables
from lth_keras.training import BatchOrder, NonFiniteLossError, make_metric
from lth_keras.training.loop import train

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


def make(model, optimizer=OPTIMIZERS["adam"], *, jit=False, loss=LOSS, data=(TRAIN, VALIDATION, TEST), **options):
    options.setdefault("metric", make_metric(loss, model.output_shape))
    training = ProgramParts(
        model,
        optimizer(),
        loss,
        list(variables(model).values()),
        batch_size=BATCH,
        evaluate_every=EVERY,
        evaluation_batch_size=7,
        jit_compile=(jit or BACKEND == "jax") and BACKEND != "torch",
        **options,
    )
    program = backend().program(training)
    load(program, *data)
    return program


def load(program, *data):
    """Gives a program its train, validation and test split."""
    program.load([dict(zip(("train", "validation", "test"), data, strict=True))])


def run(program, steps=12, *, seed=0, updates=0, test=TEST, test_every=2 * EVERY, batches=None, **arguments):
    """Trains the program's one ticket from the weights that its model has.

    Raises:
        NonFiniteLossError: for a loss that is not finite.
    """
    program.begin(None, [0], [updates])
    batches = order(seed) if batches is None else batches
    (result,) = train(program, [batches], steps=steps, labels=[test[1]], test_every=test_every, **arguments)
    if isinstance(result, NonFiniteLossError):
        raise result
    return result


def measured(program, split="test", best=False):
    """Loss and metric of the program's one ticket."""
    found = program.evaluate(split, best=best)
    return float(found.loss[0]), float(found.metric[0])


def outputs_at_best(program):
    """Of the test split, which show every bit of the weights of least validation loss."""
    return program.evaluate("test", best=True, outputs=True).outputs[0]


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
