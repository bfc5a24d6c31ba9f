"""Branches: the winning ticket, its controls, and the rules for their masks and weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from lth_keras import seeds
from lth_keras.arrays import Weights, uniform
from lth_keras.mask import Mask
from lth_keras.pruning import keep_as_many

WINNING_TICKET = "winning_ticket"
DENSE = "dense"
"""The branch of level 0, the unpruned network, which all branches share."""

Keep = Callable[..., Mask]
"""`pruning.keep_as_many`, with a search's pattern."""
Draw = Callable[..., Weights]
"""Draws new weights: (seed, *names) -> weights. Equal arguments give equal weights."""


class Branch(NamedTuple):
    """The mask and initial weights of a branch at a level n > 0.

    Attributes:
        mask: (the branch's mask at level n - 1, the winning ticket's at level n, trial's seed, n, keep) -> mask at
            level n; keep chooses as many weights, or groups of the search's pattern, as another mask keeps.
        weights: (rewound weights, draw, n) -> weights to start from; draw(n) draws new weights for level n.
        rewinds: whether it starts from the rewound weights.
    """

    mask: Callable[..., Mask]
    weights: Callable[[Weights, Callable[[int], Weights], int], Weights]
    rewinds: bool = True


def _same_mask(previous: Mask, winning: Mask, seed: int, level: int, keep: Keep = keep_as_many) -> Mask:
    return winning


def _random_mask(previous: Mask, winning: Mask, seed: int, level: int, keep: Keep = keep_as_many) -> Mask:
    generator = seeds.stream(seed, "random_mask", level)
    scores = uniform(previous.shapes, generator)
    return keep(scores, previous, winning, generator)


def _initial(initial: Weights, draw: Callable[[int], Weights], level: int) -> Weights:
    return initial


def _drawn(initial: Weights, draw: Callable[[int], Weights], level: int) -> Weights:
    return draw(level)


BRANCHES: dict[str, Branch] = {
    WINNING_TICKET: Branch(_same_mask, _initial),
    "random_reinit": Branch(_same_mask, _drawn, rewinds=False),
    "random_mask": Branch(_random_mask, _initial),
}
"""Branches by name. `random_reinit`: the winning ticket's mask on newly drawn weights. `random_mask`: the same initial
weights under a random mask with the same number of weights in each layer, or of groups in a search with a pattern; the
masks of successive levels are nested.
A search that rewinds to a later step rewinds it too; newly drawn weights are trained from step 0.
Source: Frankle & Carbin (2019), section 1 and appendix G (random reinitialisation), and its sparse random control."""


def is_control(branch: str) -> bool:
    """Whether a branch's masks are made from the winning ticket's."""
    return branch in BRANCHES and branch != WINNING_TICKET


def is_variant(branch: str) -> bool:
    """Whether a branch is a separate search with other parameters, its own masks and its own level 0."""
    return branch != DENSE and branch not in BRANCHES


def masks_of(branch: str) -> str:
    """The branch that a branch takes its masks from: a variant itself, otherwise the winning ticket."""
    return branch if is_variant(branch) else WINNING_TICKET


def check_branches(branches: Sequence[str], variants: Collection[str] = ()) -> tuple[str, ...]:
    """Checks names of branches and sorts them: the winning ticket, the controls (which use its masks), the variants.

    Args:
        branches: names to check.
        variants: names of the search's variants.

    Raises:
        ValueError: for no name, an unknown name, or controls without the winning ticket.
    """
    unknown = [name for name in branches if name not in BRANCHES and name not in variants]
    controls = [name for name in branches if is_control(name)]
    if unknown or not branches or (controls and WINNING_TICKET not in branches):
        raise ValueError(
            f"Expected branches from {[*BRANCHES, *variants]}, with {WINNING_TICKET!r} if any other of "
            f"{list(BRANCHES)} is included, since they use its masks. Received: {list(branches)}."
        )
    return tuple(name for name in (*BRANCHES, *variants) if name in branches)
