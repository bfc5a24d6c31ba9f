"""What is trained at a level: the winning ticket, the controls that it is compared with, and variants of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from lth_keras import seeds
from lth_keras.arrays import Weights, uniform
from lth_keras.mask import Mask
from lth_keras.pruning.rates import keep_highest

WINNING_TICKET = "winning_ticket"
DENSE = "dense"
"""Level 0, before any pruning: trained once and shared by all branches."""

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


def is_control(branch: str) -> bool:
    """Whether a branch takes its masks from the winning ticket's."""
    return branch in BRANCHES and branch != WINNING_TICKET


def is_variant(branch: str) -> bool:
    """Whether a branch is a search of its own under other parameters: with its own masks, and its own level 0."""
    return branch != DENSE and branch not in BRANCHES


def masks_of(branch: str) -> str:
    """The branch whose masks a branch's come from: a variant's own, else the winning ticket's."""
    return branch if is_variant(branch) else WINNING_TICKET


def check_branches(branches: Sequence[str], variants: Collection[str] = ()) -> tuple[str, ...]:
    """The branches, in their fixed order: the winning ticket first, since the controls take its mask; then variants.

    Args:
        branches: what is asked for.
        variants: names of variants that there are.

    Raises:
        ValueError: for an unknown name, or controls without the winning ticket.
    """
    unknown = [name for name in branches if name not in BRANCHES and name not in variants]
    controls = [name for name in branches if is_control(name)]
    if unknown or not branches or (controls and WINNING_TICKET not in branches):
        raise ValueError(
            f"Expected branches out of {[*BRANCHES, *variants]}, {WINNING_TICKET!r} among them if any other of "
            f"{list(BRANCHES)} is (they take its mask). Received: {list(branches)}."
        )
    return tuple(name for name in (*BRANCHES, *variants) if name in branches)
