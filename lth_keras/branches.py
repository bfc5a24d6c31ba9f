"""What is trained at a level: the winning ticket, and the controls that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lth_keras import seeds
from lth_keras.lazy import uniform
from lth_keras.masks import Mask
from lth_keras.pruning import keep_highest

WINNING_TICKET = "winning_ticket"
DENSE = "dense"
"""Level 0, before any pruning: trained once and shared by all branches."""

Weights = Mapping[str, np.ndarray]
Draw = Callable[..., Weights]
"""Draws a fresh set of weights: (seed, *names) -> weights, decided by these alone."""


class Branch(NamedTuple):
    """What a branch trains at a level n > 0.

    Attributes:
        mask: (the branch's mask at level n - 1, the winning ticket's at level n, trial's seed, n) -> mask at level n.
        weights: (initial weights, draw, n) -> weights to start from; draw(n) makes a fresh set for level n.
    """

    mask: Callable[[Mask, Mask, int, int], Mask]
    weights: Callable[[Weights, Callable[[int], Weights], int], Weights]


def _same_mask(previous: Mask, winning: Mask, seed: int, level: int) -> Mask:
    return winning


def _random_mask(previous: Mask, winning: Mask, seed: int, level: int) -> Mask:
    generator = seeds.stream(seed, "random_mask", level)
    scores = uniform(previous.shapes, generator)
    return keep_highest(scores, previous, winning.counts(), generator=generator, min_per_layer=0)


def _initial(initial: Weights, draw: Callable[[int], Weights], level: int) -> Weights:
    return initial


def _drawn(initial: Weights, draw: Callable[[int], Weights], level: int) -> Weights:
    return draw(level)


BRANCHES: dict[str, Branch] = {
    WINNING_TICKET: Branch(_same_mask, _initial),
    "random_reinit": Branch(_same_mask, _drawn),
    "random_mask": Branch(_random_mask, _initial),
}
"""Branches by name. `random_reinit`: the winning ticket's mask on freshly drawn weights. `random_mask`: as many weights
in each layer at other, random positions, nested from level to level, on the same initial weights. Source: Frankle &
Carbin (2019), section 1 and appendix G (random reinitialisation), and its sparse random control."""


def check_branches(branches: Sequence[str]) -> tuple[str, ...]:
    """The branches, in their fixed order: the winning ticket first, since the others take its mask.

    Raises:
        ValueError: for an unknown name, or without the winning ticket.
    """
    unknown = [name for name in branches if name not in BRANCHES]
    if unknown or WINNING_TICKET not in branches:
        raise ValueError(
            f"Expected branches out of {list(BRANCHES)}, {WINNING_TICKET!r} among them (the others take its mask). "
            f"Received: {list(branches)}."
        )
    return tuple(name for name in BRANCHES if name in branches)
