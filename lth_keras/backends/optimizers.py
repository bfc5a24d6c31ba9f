"""State of Keras optimisers other than moments of gradients: step counts, averages and copies of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends.backend import assign
from lth_keras.backends.schedules import Place, move_schedules

Pairs = list[tuple[Any, Any]]
"""Pairs of Keras variables: a weight and the optimiser's variable for it."""


def as_fit_takes_it(optimizer: keras.Optimizer, model: keras.Model) -> keras.Optimizer:
    """The optimiser that Keras' `fit` would use: with loss scaling for models in mixed_float16."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if model.dtype_policy.name != "mixed_float16" or scales:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def updating(optimizer: Any) -> list[Any]:
    """The optimisers that make the updates: those inside an optimiser with loss scaling or several, otherwise itself.

    Optimisers without any weight are left out.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return updating(inner)
    several = getattr(optimizer, "optimizers", None)
    return [optimizer] if several is None else [part for part in several if part.built]


def update_counts(optimizer: keras.Optimizer) -> list[Any]:
    """The step counts of an optimiser's `updating` optimisers, as variables.

    They are `_iterations`, since with gradient accumulation `iterations` is not a variable.
    """
    outer = getattr(optimizer, "inner_optimizer", optimizer)
    counts = [part._iterations for part in (outer, *updating(outer))]
    return list({id(count): count for count in counts}.values())


def averages(optimizer: keras.Optimizer) -> Pairs:
    """The weights whose moving averages a built optimiser keeps (`use_ema`), with the averages."""
    return _pairs([part for part in updating(optimizer) if part.use_ema], "_model_variables_moving_average")


def begin_as_weights(optimizer: keras.Optimizer) -> Pairs:
    """The weights and variables of a built optimiser that must equal the weights when a training begins.

    These are averages of weights, which Keras initialises only at the very first step, and the iterates of
    schedule-free Adam, which Keras copies when it builds the optimiser.
    """
    schedule_free = getattr(keras.optimizers, "ScheduleFreeAdamW", ())  # of Keras 3.13 and later
    iterated = [part for part in updating(optimizer) if isinstance(part, schedule_free)]
    return averages(optimizer) + _pairs(iterated, "_momentums")


def _pairs(parts: list[Any], attribute: str) -> Pairs:
    every = [zip(part._trainable_variables, getattr(part, attribute), strict=True) for part in parts]
    return [pair for pairs in every for pair in pairs if pair[1] is not None]


def values_after_build(optimizer: keras.Optimizer) -> list[np.ndarray]:
    """The values of a built optimiser's variables; zeros need no memory, as slots are as large as the model."""
    values = map(keras.ops.convert_to_numpy, optimizer.variables)
    return [v.copy() if v.any() else np.broadcast_to(np.zeros((), v.dtype), v.shape) for v in values]


def restart(optimizer: keras.Optimizer, values: list[np.ndarray], updates: int = 0) -> None:
    """Resets an optimiser to its state after build, for the current weights.

    Args:
        optimizer: a built optimiser.
        values: the result of `values_after_build`.
        updates: its step count.
    """
    for variable, value in zip(optimizer.variables, values, strict=True):
        assign(variable, value)
    for count in update_counts(optimizer):
        assign(count, updates)
    for weight, state in begin_as_weights(optimizer):
        assign(state, weight.value)


class OptimizerStart(NamedTuple):
    """How an optimiser begins a training, where it differs from a new one.

    Attributes:
        values: the values of `optimizer.variables`, in order: moments, averages and step counts; None for those of a
            new optimiser.
        place: the place in the learning rate schedule; None leaves it to the step count.
    """

    values: Sequence[np.ndarray] | None = None
    place: Place | None = None


def restore(optimizer: keras.Optimizer, start: OptimizerStart) -> None:
    """Gives a built optimiser, on which `restart` was called, the state that a training begins with.

    Raises:
        ValueError: for values of another optimiser; see also `move_schedules`.
    """
    if start.values is not None:
        own, given = ([tuple(value.shape) for value in values] for values in (optimizer.variables, start.values))
        if own != given:
            raise ValueError(f"Expected the state of the same optimiser, shapes {own}. Received: shapes {given}.")
        for variable, value in zip(optimizer.variables, start.values, strict=True):
            assign(variable, value)
    if start.place is not None:
        move_schedules(optimizer, start.place)


def advice(optimizer: keras.Optimizer) -> str:
    """Advice for a training with this optimiser that has led to NaN or infinity."""
    if any(type(part).__name__ == "Adafactor" and part.epsilon_1 < LEAST_EPSILON_1 for part in updating(optimizer)):
        return (
            "Keras' Adafactor divides zero by zero if a row and a column of a weight have zero gradients, e.g. of dead "
            "units: the product of their mean squares, each epsilon_1, underflows in float32. "
            f"Use epsilon_1={LEAST_EPSILON_1} or another optimiser."
        )
    return LOWER


LOWER = "Lower the learning rate, or check the data for NaN and the labels for the loss's format."
LEAST_EPSILON_1 = 1e-16
"""Its square does not underflow in float32."""


def forget(optimizer: Any, weight: Any, entries: np.ndarray) -> None:
    """Gives an optimiser's state of some entries of a weight, all zero, the values that it has at the first update.

    That is zero for moments, sums of gradients and averages of weights, and `initial_accumulator_value` for the
    accumulators of Adagrad and Ftrl. Adafactor's sums over rows and columns stay, since other entries share them.

    Args:
        optimizer: one that is built, or not yet.
        weight: the Keras variable.
        entries: boolean, of the weight's shape.
    """
    for part in updating(optimizer):
        trained = getattr(part, "_trainable_variables", [])
        index = next((i for i, variable in enumerate(trained) if variable is weight), None)
        if index is None:
            continue
        for name, variables in vars(part).items():
            parallel = isinstance(variables, list) and len(variables) == len(trained)
            if not parallel or name in ("_variables", "_trainable_variables"):
                continue
            slot = variables[index]
            if isinstance(slot, keras.Variable) and tuple(slot.shape) == entries.shape:
                value = np.array(keras.ops.convert_to_numpy(slot))
                value[entries] = part.initial_accumulator_value if name == "_accumulators" else 0
                assign(slot, value)
