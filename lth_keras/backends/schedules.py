"""Learning rate schedules that begin at another step than the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends.backend import assign


class Place(NamedTuple):
    """The place in a learning rate schedule from which a new optimiser begins.

    Attributes:
        first: the step of the schedule that the first update uses, counted from 0.
        moves: whether later updates use the following steps; otherwise the learning rate stays constant.
    """

    first: int = 0
    moves: bool = True


class MovedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins at a `Place`, whatever the optimiser's step count, which Adam's bias correction uses.

    The place is a variable of the optimiser, so that no program is compiled again for another one.

    Args:
        schedule: the schedule.
        place: Keras variable, int32 `(2,)`: the first step, and 1 if the schedule moves, 0 if not.
    """

    def __init__(self, schedule: Callable[[Any], Any], place: Any) -> None:
        self._schedule, self.place = schedule, place

    def __call__(self, step: Any) -> Any:
        """The learning rate after `step` updates."""
        step = keras.ops.convert_to_tensor(step)
        place = keras.ops.cast(self.place, keras.backend.standardize_dtype(step.dtype))
        return self._schedule(place[0] + place[1] * step)

    def move(self, place: Place) -> None:
        """Moves the schedule to a place."""
        assign(self.place, np.array([place.first, int(place.moves)], np.int32))


@dataclass(frozen=True)
class Movable:
    """Makes optimisers whose learning rate schedules `move_schedules` can move; constant rates stay as they are.

    Attributes:
        make: makes the optimiser.
    """

    make: Callable[[], keras.Optimizer]

    def __call__(self) -> keras.Optimizer:
        """A new optimiser."""
        optimizer = self.make()
        for part in _parts(optimizer):
            schedule = getattr(part, "_learning_rate", None)
            if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
                place = keras.Variable(np.array([0, 1]), dtype="int32", trainable=False, name="place")
                part._track_variable(place)
                part._learning_rate = MovedSchedule(schedule, place)
        return optimizer


def move_schedules(optimizer: keras.Optimizer, place: Place) -> None:
    """Moves the learning rate schedules of a built optimiser made by a `Movable`.

    Raises:
        ValueError: for an optimiser whose schedules cannot be moved.
    """
    for part in _parts(optimizer):
        schedule = getattr(part, "_learning_rate", None)
        if isinstance(schedule, MovedSchedule):
            schedule.move(place)
        elif isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                f"Expected optimisers that exist before the model, as in an OptimizerMap, so that their learning rate "
                f"schedules can be moved. Received: {type(part).__name__}, made by a function of a MultiOptimizer."
            )


def _parts(optimizer: Any) -> list[Any]:
    """An optimiser and those inside it: in loss scaling, or several for different weights."""
    inner = [getattr(optimizer, "inner_optimizer", None), *(getattr(optimizer, "optimizers", None) or ())]
    return [optimizer, *(part for one in inner if one is not None for part in _parts(one))]
