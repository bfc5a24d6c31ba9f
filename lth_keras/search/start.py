"""What trials begin with: drawn or given weights, or what is made of those that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lth_keras.arrays import Weights
from lth_keras.criteria import Initialiser, State
from lth_keras.masking.rewinding import STARTS, check_start


def given_of(start: Any) -> str | None:
    """What becomes of weights that `build` brings: `initial`, `given`, or None to tell.

    Raises:
        ValueError: for a `start` that is nothing.
    """
    return check_start(start) if initialiser_of(start) is None else None


def initialiser_of(start: Any) -> Callable[[State], Weights] | None:
    """What makes the weights that trials begin with of those that are drawn; None where they begin with those.

    Raises:
        ValueError: for a name of none.
    """
    if isinstance(start, str) and start not in STARTS and "(" in start:
        return Initialiser(start)
    return start if callable(start) else None
