"""Criteria: pure functions from a `State` to one score per prunable weight; higher is kept.

A criterion of your own is a function `(state: State) -> {weight key: scores}`; pass it wherever
a name is taken. docs/criteria.md shows how.
"""

from __future__ import annotations

from lth_keras.criteria.grasp import grasp
from lth_keras.criteria.grasp_magnitude import grasp_magnitude
from lth_keras.criteria.initial_magnitude import initial_magnitude
from lth_keras.criteria.magnitude import magnitude
from lth_keras.criteria.magnitude_change import magnitude_change
from lth_keras.criteria.movement import movement
from lth_keras.criteria.random import random
from lth_keras.criteria.snip import snip
from lth_keras.criteria.state import Criterion, Derivatives, State
from lth_keras.criteria.synflow import synflow

CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude,
    "initial_magnitude": initial_magnitude,
    "magnitude_change": magnitude_change,
    "movement": movement,
    "random": random,
    "snip": snip,
    "grasp": grasp,
    "grasp_magnitude": grasp_magnitude,
    "synflow": synflow,
}
DATA_AWARE: frozenset[Criterion] = frozenset({snip, grasp, grasp_magnitude})
"""Those that take data, so that what is missing shows before anything is trained."""


def criterion(name_or_function: str | Criterion) -> Criterion:
    """The criterion of that name; a function is returned as it is.

    Raises:
        ValueError: a name that is not in `CRITERIA`; the message lists those that are.
        TypeError: neither a name nor a function.
    """
    if callable(name_or_function):
        return name_or_function
    names = ", ".join(map(repr, CRITERIA))
    message = f"Expected a criterion: one of {names}, or a function. Received: "
    if not isinstance(name_or_function, str):
        raise TypeError(f"{message}{name_or_function!r}.")
    if name_or_function not in CRITERIA:
        raise ValueError(f"{message}{name_or_function!r}.")
    return CRITERIA[name_or_function]


def name_of(name_or_function: str | Criterion) -> str:
    """What a criterion is called in messages."""
    if isinstance(name_or_function, str):
        return name_or_function
    return str(getattr(name_or_function, "__name__", type(name_or_function).__name__))


__all__ = [
    "CRITERIA",
    "DATA_AWARE",
    "Criterion",
    "Derivatives",
    "State",
    "criterion",
    "grasp",
    "grasp_magnitude",
    "initial_magnitude",
    "magnitude",
    "magnitude_change",
    "movement",
    "name_of",
    "random",
    "snip",
    "synflow",
]
