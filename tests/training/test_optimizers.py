"""Every optimiser of Keras and its options: the same weights as `fit` on the same batches, at every level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.backends.optimizers import as_fit_takes_it
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, set_mask
from lth_keras.training import NonFiniteLossError
from lth_keras.training.engines import Schedule, Ticket, engine_named
from lth_keras.training.engines.train import batch_order
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.training.programs import (
    BACKEND,
    BATCH,
    EVERY,
    LOSS,
    TEST,
    TRAIN,
    assert_same,
    assign,
    make,
    order,
    perceptron,
    run,
    weights,
)

Make = Callable[[], Any]
STEPS = 13
KINDS = "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam RMSprop SGD ScheduleFreeAdamW".split()
EMA = {"use_ema": True, "ema_momentum": 0.8}


def kind(name: str, **options: Any) -> Make:
    return lambda: getattr(keras.optimizers, name)(0.02, **options)


def excluding() -> Any:
    optimizer = keras.optimizers.AdamW(0.02, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def several() -> Any:
    multi = pytest.importorskip("keras.src.optimizers.multi_optimizer")
    by_name = multi.OptimizerMap(default_optimizer=keras.optimizers.SGD(0.05, momentum=0.9, **EMA))
    by_name[".*bias"] = keras.optimizers.Adam(0.02)
    return multi.MultiOptimizer(by_name)


SCHEDULES = keras.optimizers.schedules
OPTIMIZERS: dict[str, Make] = {name: kind(name) for name in KINDS if hasattr(keras.optimizers, name)} | {
    "amsgrad": kind("Adam", amsgrad=True),
    "centered": kind("RMSprop", momentum=0.5, centered=True),
    "nesterov": kind("SGD", momentum=0.9, nesterov=True),
    "averages": kind("Adam", **EMA),
    "averages now and then": kind("Adam", ema_overwrite_frequency=3, **EMA),
    "accumulation": kind("AdamW", weight_decay=0.1, gradient_accumulation_steps=3),
    "accumulation and averages": kind(
        "SGD", momentum=0.9, gradient_accumulation_steps=2, ema_overwrite_frequency=2, **EMA
    ),
    "clipnorm": kind("SGD", clipnorm=0.05),
    "clipvalue": kind("SGD", clipvalue=0.01),
    "global_clipnorm": kind("SGD", global_clipnorm=0.05),
    "scaled loss": kind("SGD", loss_scale_factor=64.0),
    "scaled loss that grows": lambda: keras.optimizers.LossScaleOptimizer(
        kind("Adam", **EMA)(), dynamic_growth_steps=4
    ),
    "weight decay": kind("SGD", weight_decay=0.1),
    "weight decay but of biases": excluding,
    "cosine": lambda: keras.optimizers.SGD(SCHEDULES.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3)),
    "steps": lambda: keras.optimizers.Adam(SCHEDULES.PiecewiseConstantDecay([4, 9], [0.05, 0.01, 0.001])),
    "function": lambda: keras.optimizers.SGD(lambda: 0.05),
    "several": several,
}


def fitted(optimizer: Make, start: list[np.ndarray], steps: int = STEPS, dtype: str | None = None) -> Any:
    """The model after Keras' `fit` on the first batches of `order()`."""
    model = perceptron(dtype=dtype)
    assign(model, start)
    made = as_fit_takes_it(optimizer(), model)
    # On TensorFlow `fit` builds optimisers within a graph, where ScheduleFreeAdamW begins with zeros for the weights.
    made.build(model.trainable_variables)
    model.compile(made, LOSS, jit_compile=BACKEND == "jax")
    batches = order().take(steps).ravel()
    model.fit(TRAIN[0][batches], TRAIN[1][batches], batch_size=BATCH, shuffle=False, verbose=0)
    return model


@few("name", OPTIMIZERS, "accumulation and averages")
def test_weights_are_those_of_fit_also_of_a_second_training_from_others(name: str) -> None:
    ours = perceptron()
    start = weights(ours)
    program = make(ours, OPTIMIZERS[name])
    for beginning in ([value + 0.1 for value in start], start):
        assign(ours, beginning)
        curves = run(program, steps=STEPS)
        theirs = fitted(OPTIMIZERS[name], beginning)
        assert_same(weights(ours), weights(theirs), rtol=1e-4, atol=2e-6)
        assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(weights(ours), beginning, strict=True))
        loss = theirs.evaluate(*TEST, verbose=0)
        np.testing.assert_allclose(curves.test_loss[-1], loss, rtol=1e-4)


@pytest.mark.slow
def test_averages_are_measured_at_the_end_and_weights_before() -> None:
    ours, raw = perceptron(), perceptron()
    curves = run(make(ours, OPTIMIZERS["averages"]), steps=10)
    expected = run(make(raw, kind("Adam")), steps=10)
    np.testing.assert_allclose(curves.train_loss, expected.train_loss, rtol=1e-5)
    np.testing.assert_allclose(curves.validation_loss[0], expected.validation_loss[0], rtol=1e-5)  # step 5 of 10
    assert abs(curves.validation_loss[1] / expected.validation_loss[1] - 1) > 1e-4
    assert len(curves.step) == 10 // EVERY


@pytest.mark.slow
def test_a_training_that_patience_ends_ends_on_averages_too() -> None:
    ours = perceptron()
    start = weights(ours)
    optimizer = kind("SGD", momentum=0.99, **EMA)
    curves = run(make(ours, optimizer), steps=1000, patience=2)
    last = int(curves.step[-1])
    assert last < 1000
    assert_same(weights(ours), weights(fitted(optimizer, start, last)), rtol=1e-3, atol=1e-5)


def test_averages_begin_with_the_weights_where_the_count_of_updates_goes_on() -> None:
    ours = perceptron()
    start = weights(ours)
    program = make(ours, kind("SGD", use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1))
    run(program, steps=5)
    assign(ours, start)
    run(program, steps=1, updates=7)
    expected = perceptron()
    assign(expected, start)
    run(make(expected, kind("SGD")), steps=1)
    half = [(one + other) / 2 for one, other in zip(start, weights(expected), strict=True)]
    assert_same(weights(ours), half, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_adafactor_that_divides_zero_by_zero_is_told_so() -> None:
    """Where no gradient reaches a row and a column, as in pruned networks; the same weights as `fit`: NaN."""

    def cut(**options: Any) -> tuple[Any, Make]:
        model = perceptron()
        mask = get_mask(model)
        kernel = mask["dense/kernel"].copy()
        kernel[0], kernel[:, 0] = False, False
        set_mask(model, {**mask, "dense/kernel": kernel})
        return model, kind("Adafactor", **options)

    with pytest.raises(NonFiniteLossError, match="Adafactor divides zero by zero.*epsilon_1=1e-16") as caught:
        run(make(*cut()), steps=STEPS)
    assert "learning rate" not in str(caught.value)
    model, optimizer = cut(epsilon_1=1e-16)
    run(make(model, optimizer), steps=STEPS)
    assert all(np.isfinite(value).all() for value in weights(model))


def network_of(optimizer: Make, **changes: Any) -> Network:
    return tiny.network_of(**{"optimizer": optimizer, "jit_compile": None if BACKEND == "jax" else False, **changes})


def test_mixed_precision_scales_the_loss_as_fit_does() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network, theirs = network_of(kind("SGD")), tiny.build()
        network.load(tiny.data())
        start = dict(network.draw_weights(0))
        network.rewind(start, network.mask)
        network.train(6, seed=0)
        theirs.set_weights(list(start.values()))
        theirs.compile(kind("SGD")(), LOSS, jit_compile=BACKEND == "jax")
        assert isinstance(theirs.optimizer, keras.optimizers.LossScaleOptimizer)
        x, y = tiny.data()["train"]
        batches = batch_order(len(x), 10, 0).take(6).ravel()
        theirs.fit(x[batches], y[batches], batch_size=10, shuffle=False, verbose=0)
    finally:
        keras.config.set_dtype_policy(before)
    assert_same(list(network.weights.values()), theirs.get_weights(), rtol=1e-2, atol=1e-4)
    scaled = keras.optimizers.LossScaleOptimizer(kind("SGD")())
    assert as_fit_takes_it(scaled, theirs) is scaled


jax_only = pytest.mark.skipif(BACKEND != "jax", reason="several tickets are trained at once on JAX only")


@jax_only
@few(("name", "patience"), [("averages", 1), *((name, None) for name in OPTIMIZERS)], ("averages", 1))
def test_tickets_of_a_batch_are_as_each_alone(name: str, patience: int | None) -> None:
    network = network_of(OPTIMIZERS[name])
    network.load(tiny.data())
    mask = Mask({key: np.arange(value.size).reshape(value.shape) % 3 > 0 for key, value in network.mask.items()})
    tickets = [Ticket(dict(network.draw_weights(seed)), mask, seed, ("level", 1), updates=2 * seed) for seed in (0, 1)]
    alone = network.engine.train(network, tickets, Schedule(STEPS, patience))
    batched = engine_named("batched:2").train(network, tickets, Schedule(STEPS, patience))
    for expected, received in zip(alone, batched, strict=True):
        np.testing.assert_array_equal(received.curves.step, expected.curves.step)
        np.testing.assert_allclose(received.curves.test_loss, expected.curves.test_loss, rtol=1e-4)
        for key, value in expected.weights.items():
            np.testing.assert_allclose(received.weights[key], value, rtol=1e-3, atol=1e-5)
