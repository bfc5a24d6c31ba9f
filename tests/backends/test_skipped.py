"""The closed form of skipped updates: the weights of Keras' own optimiser, which touches every row at every step."""

import itertools

import keras
import numpy as np
import pytest

from lth_keras.backends import skipped
from lth_keras.backends.skipped import Lazy
from tests.few import few

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("numpy, and Keras' optimisers as they are on any backend", allow_module_level=True)

ROWS, STEPS = 300, 500
SCALES = np.repeat([1e-3, 1e-4, 1e-5, 1e-7], 3)
"""Of the gradients, by column: the last are below Adam's epsilon."""
ADAM, ADAMW, SGD = keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.SGD
COSINE, DECAY = keras.optimizers.schedules.CosineDecay, keras.optimizers.schedules.ExponentialDecay
ADAPTIVE = {
    "adam": lambda: ADAM(1e-3),
    "adam with weight decay": lambda: ADAM(1e-3, weight_decay=0.01),
    "adamw": lambda: ADAMW(1e-3, weight_decay=0.1),
    "adam, cosine": lambda: ADAM(COSINE(1e-3, STEPS)),
    "adamw, steps": lambda: ADAMW(DECAY(1e-3, 100, 0.5, staircase=True), weight_decay=0.1),
    "adam, other betas": lambda: ADAM(1e-3, beta_1=0.8, beta_2=0.99, epsilon=1e-5),
}
MOMENTUM = {
    f"{name}{', cosine' if scheduled else ''}{', weight decay' if decay else ''}": (
        lambda arguments=arguments, scheduled=scheduled, decay=decay: SGD(
            COSINE(0.5, STEPS) if scheduled else 0.5, weight_decay=decay, **arguments
        )
    )
    for (name, arguments), scheduled, decay in itertools.product(
        {"sgd": {}, "momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}.items(),
        (False, True),
        (None, 0.01),
    )
}


class Numpy:
    """Of `keras.ops`, what the rules use: in float32, without the cost of an eager operation."""

    sqrt = staticmethod(np.sqrt)


def batches():
    """The rows of every step: words by their rank, so that most are rare."""
    generator = np.random.default_rng(0)
    share = 1 / np.arange(1, ROWS + 1)
    return [np.unique(generator.choice(ROWS, 20, p=share / share.sum())) for _ in range(STEPS)]


BATCHES = batches()
START = (0.05 * np.random.default_rng(1).normal(size=(ROWS, len(SCALES)))).astype(np.float32)


GRADIENTS = [
    (SCALES * generator.normal(size=(len(rows), len(SCALES)))).astype(np.float32)
    for generator in [np.random.default_rng(2)]
    for rows in BATCHES
]
"""Independent of the weights, so that nothing is chaotic."""


def by_rows(optimizer, lazy=False):
    rule = skipped(optimizer, [keras.Variable(START)])(STEPS)
    rule = Lazy(rule) if lazy else rule
    table, slots = START.copy(), [np.zeros_like(START) for _ in range(rule.slots)]
    last = np.zeros(ROWS, np.int64)

    def catch_up(rows, now):
        numbers = [row[:, None] for row in rule.coefficients(last[rows], now)]
        return rule.catch_up(Numpy, table[rows], [slot[rows] for slot in slots], numbers)

    for step, (rows, gradient) in enumerate(zip(BATCHES, GRADIENTS, strict=True), 1):
        table[rows], new = rule.update(Numpy, *catch_up(rows, step - 1), gradient, rule.scalars(step))
        for slot, value in zip(slots, new, strict=True):
            slot[rows] = value
        last[rows] = step
    table, slots = catch_up(np.arange(ROWS), STEPS)
    assert all(part.dtype == np.float32 for part in (table, *slots))
    return table, slots


def dense(optimizer):
    variable = keras.Variable(START)
    optimizer.build([variable])
    apply = tf.function(lambda whole: optimizer.apply([whole], [variable]))
    for rows, gradient in zip(BATCHES, GRADIENTS, strict=True):
        whole = np.zeros_like(START)
        whole[rows] = gradient
        apply(whole)
    return variable.numpy()


def distances(ours, theirs):
    """Of two ends, as shares of the way to the second; one for each scale, the smallest first."""
    columns = [SCALES == scale for scale in np.unique(SCALES)]
    return np.array([np.linalg.norm((ours - theirs)[:, c]) / np.linalg.norm((theirs - START)[:, c]) for c in columns])


@few("name", ADAPTIVE, "adam, other betas", "adamw, steps")
def test_skipped_updates_are_those_of_keras_adam(name):
    """Gradients below epsilon move weights so little that Keras' rounding at every step shows."""
    off = distances(by_rows(ADAPTIVE[name]())[0], dense(ADAPTIVE[name]()))
    assert (off <= [1e-3, 1e-4, 1e-4, 1e-4]).all()


@few("name", MOMENTUM, "momentum", "nesterov, cosine, weight decay")
def test_skipped_updates_are_those_of_keras_sgd_to_rounding(name):
    """Keras' rounds at every step, by up to half a unit in the last place."""
    theirs, (ours, _) = dense(MOMENTUM[name]()), by_rows(MOMENTUM[name]())
    rounding = 0.5 * STEPS * np.spacing(np.maximum(abs(START), abs(theirs)))
    assert (abs(ours - theirs) <= rounding).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [lambda: ADAM(1e-3), lambda: SGD(0.5, momentum=0.9)])
def test_rows_that_stand_still_while_they_are_not_used_end_elsewhere(optimizer):
    assert (distances(by_rows(optimizer(), lazy=True)[0], dense(optimizer())) > 0.1).all()


def test_the_moments_are_those_of_keras():
    optimizer = ADAM(1e-3)
    dense(optimizer)
    _, slots = by_rows(ADAM(1e-3))
    for ours, theirs in zip(slots, (optimizer._momentums[0], optimizer._velocities[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("optimizer", [lambda: ADAMW(1e-3, weight_decay=0.1), lambda: SGD(0.5, momentum=0.9)])
def test_a_row_without_a_skipped_step_keeps_its_bits(optimizer, lazy):
    rule = skipped(optimizer(), [keras.Variable(START)])(STEPS)
    rule = Lazy(rule) if lazy else rule
    slots = [np.abs(START) for _ in range(rule.slots)]
    for now in (0, 7, STEPS):
        numbers = [row[:, None] for row in rule.coefficients(np.full(ROWS, now), now)]
        row, moved = rule.catch_up(Numpy, START, slots, numbers)
        for before, after in zip((START, *slots), (row, *moved), strict=True):
            np.testing.assert_array_equal(before, after)


def excluding(names, optimizer):
    optimizer.exclude_from_weight_decay(var_names=names)
    return optimizer


class OwnAdam(ADAM):
    """Whatever it does in its steps."""


NO_RULE = {
    "clipnorm": lambda: ADAM(clipnorm=1.0),
    "clipvalue": lambda: ADAM(clipvalue=1.0),
    "global_clipnorm": lambda: SGD(global_clipnorm=1.0),
    "ema": lambda: SGD(use_ema=True),
    "amsgrad": lambda: ADAM(amsgrad=True),
    "loss scale": lambda: ADAM(loss_scale_factor=8.0),
    "accumulation": lambda: ADAM(gradient_accumulation_steps=2),
    "rmsprop": lambda: keras.optimizers.RMSprop(),
    "a function as learning rate": lambda: ADAM(lambda: 1e-3),
    "of one's own": OwnAdam,
    "loss scale optimizer": lambda: keras.optimizers.LossScaleOptimizer(ADAM()),
    "decay of some tables": lambda: excluding(["left"], ADAMW(weight_decay=0.1)),
}


@pytest.mark.parametrize("what", NO_RULE)
def test_other_optimizers_have_no_rule(what):
    assert skipped(NO_RULE[what](), [keras.Variable(START, name=name) for name in ("left", "right")]) is None


def test_tables_may_all_be_left_out_of_weight_decay():
    variables = [keras.Variable(START, name=name) for name in ("left", "right")]
    decaying = skipped(ADAMW(weight_decay=0.1), variables)(STEPS)
    still = skipped(excluding(["left", "right"], ADAMW(weight_decay=0.1)), variables)(STEPS)
    assert decaying.moves_unused and not still.moves_unused
    assert decaying.scalars(1)[0] < 1 and still.scalars(1)[0] == 1


@pytest.mark.parametrize(
    "optimizer, message",
    [
        (lambda: ADAM(beta_1=0.9, beta_2=0.9), "beta_1 well below the square root of beta_2.*beta_1=0.9, beta_2=0.9"),
        (lambda: ADAM(beta_1=0.99, beta_2=0.999), "beta_1 well below.*Train the embeddings densely"),
        (lambda: SGD(10.0, weight_decay=0.1), r"weight_decay \* learning_rate below 1, .*Received: 0.1 \* 10"),
        (lambda: ADAMW(2.0, weight_decay=0.5), r"weight_decay \* learning_rate below 0.1.*Received: 0.5 \* 2"),
        (lambda: SGD(1.0, momentum=0.9, weight_decay=0.5), r"weight_decay \* learning_rate below 0.1"),
    ],
)
def test_arguments_whose_sums_do_not_converge_are_refused(optimizer, message):
    with pytest.raises(ValueError, match=message):
        skipped(optimizer(), [keras.Variable(START)])(STEPS)
