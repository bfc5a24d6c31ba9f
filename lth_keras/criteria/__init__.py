"""Criteria: pure functions from a `State` to one score per prunable weight; higher is kept.

A criterion of your own is a function `(state: State) -> {weight key: scores}`; pass it wherever
a name is taken.
"""

from __future__ import annotations

from lth_keras.criteria.initial_magnitude import initial_magnitude
from lth_keras.criteria.magnitude import magnitude
from lth_keras.criteria.random import random
from lth_keras.criteria.state import Criterion, State

CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude,
    "initial_magnitude": initial_magnitude,
    "random": random,
}


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


__all__ = [
    "CRITERIA",
    "Criterion",
    "State",
    "criterion",
    "initial_magnitude",
    "magnitude",
    "random",
]
