"""The `start` parameter: drawn or given weights, or a function of the drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lth_keras.arrays import Weights
from lth_keras.criteria import Initialiser, State
from lth_keras.masking.rewinding import STARTS, check_start


def given_of(start: Any) -> str | None:
    """The treatment of weights that `build` sets: `initial`, `given`, or None to detect them.

    Raises:
        ValueError: for an unknown `start`.
    """
    return check_start(start) if initialiser_of(start) is None else None


def initialiser_of(start: Any) -> Callable[[State], Weights] | None:
    """The function that makes initial weights from the drawn ones; None if trials start from the drawn ones.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(start, str) and start not in STARTS and "(" in start:
        return Initialiser(start)
    return start if callable(start) else None
