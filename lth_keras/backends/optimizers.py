"""What Keras' optimisers keep beside the moments of gradients: counts of updates, averages and copies of weights."""

from __future__ import annotations

from typing import Any

import keras

Pairs = list[tuple[Any, Any]]
"""Keras variables: a weight, and what an optimiser keeps of it."""


def as_fit_takes_it(optimizer: keras.Optimizer, model: keras.Model) -> keras.Optimizer:
    """The optimiser as Keras' `compile` gives it to `fit`: one that scales the loss for models in mixed_float16."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if model.dtype_policy.name != "mixed_float16" or scales:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def updating(optimizer: Any) -> list[Any]:
    """The optimisers that make the updates: those within one that scales losses or has several, otherwise itself.

    Of several, those that no weight is left for are built for none, and are not among them.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return updating(inner)
    several = getattr(optimizer, "optimizers", None)
    return [optimizer] if several is None else [part for part in several if part.built]


def update_counts(optimizer: keras.Optimizer) -> list[Any]:
    """The optimiser's counts of steps, variables; of one that scales losses, that of the optimiser in it.

    They are `_iterations`, as `iterations` is none where gradients add up. Of several optimisers each has its own.
    """
    outer = getattr(optimizer, "inner_optimizer", optimizer)
    counts = [part._iterations for part in (outer, *updating(outer))]
    return list({id(count): count for count in counts}.values())


def averages(optimizer: keras.Optimizer) -> Pairs:
    """The weights whose moving averages a built optimiser keeps (`use_ema`), with those."""
    return [
        pair
        for part in updating(optimizer)
        if part.use_ema
        for pair in zip(part._trainable_variables, part._model_variables_moving_average, strict=True)
        if pair[1] is not None
    ]


def begin_as_weights(optimizer: keras.Optimizer) -> Pairs:
    """What of a built optimiser's state begins a training with the values of weights, with those.

    Averages of weights (which Keras gives the first weights, but only at the very first step), and the point that
    schedule-free Adam moves, which Keras copies when it builds the optimiser.
    """
    moved = [
        pair
        for part in updating(optimizer)
        if isinstance(part, _SCHEDULE_FREE)
        for pair in zip(part._trainable_variables, part._momentums, strict=True)
        if pair[1] is not None
    ]
    return averages(optimizer) + moved


def advice(optimizer: keras.Optimizer) -> str:
    """What to do where a training with this optimiser has led to NaN or infinity."""
    if any(type(part).__name__ == "Adafactor" and part.epsilon_1 < LEAST_EPSILON_1 for part in updating(optimizer)):
        return (
            "Keras' Adafactor divides zero by zero where no gradient reaches a row and a column of a weight, as of "
            "units that are dead or cut off: the product of their mean squares, which are epsilon_1, is below what "
            f"float32 can hold. Make it with epsilon_1={LEAST_EPSILON_1}, or take another optimiser."
        )
    return LOWER


LOWER = "Lower the learning rate, or check the data for NaN and the labels for the loss that is used."
LEAST_EPSILON_1 = 1e-16
"""Its square is within float32."""
_SCHEDULE_FREE = tuple(
    kind for kind in [getattr(keras.optimizers, "ScheduleFreeAdamW", None)] if kind is not None
)  # of Keras 3.13 and later
