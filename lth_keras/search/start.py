"""The `start` parameter: drawn or given weights, or a function of the drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lth_keras.arrays import Weights
from lth_keras.criteria import Initialiser, State
from lth_keras.masking import STARTS, check_start


def given_of(start: Any) -> str | None:
    """The treatment of weights that `build` sets: `initial`, `given`, or None to detect them.

    Raises:
        ValueError: for an unknown `start`.
    """
    return None if makes_weights(start) else check_start(start)


def makes_weights(start: Any) -> bool:
    """Whether `start` makes the weights that trials begin with of those that are drawn."""
    return callable(start) or (isinstance(start, str) and start not in STARTS and "(" in start)


def initialiser_of(start: Any) -> Callable[[State], Weights] | None:
    """The function that makes initial weights from the drawn ones; None if trials start from the drawn ones.

    Raises:
        ValueError: for an unknown name.
    """
    if not makes_weights(start):
        return None
    return Initialiser(start) if isinstance(start, str) else start
