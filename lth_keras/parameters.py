"""What the parameters of a search, and of a run of it, can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lth_keras.plan import Plan
from lth_keras.rewinding import check_rewind
from lth_keras.width import check_width

KEEP_WEIGHTS = ("none", "last", "all")
CUT_THROUGH = ("refuse", "train")
LEAST = {
    "levels": 0,
    "steps": 1,
    "epochs": 1,
    "batch_size": 1,
    "threads": 1,
    "seed": 0,
    "min_per_layer": 0,
    "score_at": 0,
    "patience": 1,
    "samples_per_class": 1,
}
"""The least values of the parameters that are counts."""


def levels_of(levels: int | None, plan: Plan) -> int:
    """The number of prunings: what is asked for, or as many as there are densities.

    Raises:
        ValueError: where it is not to be known, or a level has no density.
    """
    if levels is None:
        if plan.densities is None:
            raise ValueError("Expected levels, the number of prunings, beside rates. Received: none.")
        levels = len(plan.densities)
    if not plan.goes_on_to(levels):
        raise ValueError(f"Expected a density for each of {levels} levels. Received: {plan.densities}.")
    return levels


def check_parameters(search: Any, plan: Plan) -> None:
    """Checks what the parts of a search do not check by themselves.

    Args:
        search: a `TicketSearch`.
        plan: its densities.

    Raises:
        ValueError: for values out of range, and for what only one of the schedules has.
    """
    if search.cut_through not in CUT_THROUGH:
        raise ValueError(f"Expected cut_through to be one of {CUT_THROUGH}. Received: {search.cut_through!r}.")
    if plan.before_training and search.score_at is not None:
        raise ValueError(f"Expected no score_at where masks are made before training. Received: {search.score_at}.")
    if search.masks_of_drawn and not (plan.before_training and search.initialise):
        raise ValueError(
            "Expected masks_of_drawn where masks are made before training, and initialise makes other weights. "
            f"Received: schedule={search.schedule!r}, initialise={search.initialise!r}."
        )
    check_width(search.vectorize)
    check_rewind(search.rewind)
    if (search.steps is None) == (search.epochs is None):
        raise ValueError(f"Expected steps or epochs. Received: steps={search.steps}, epochs={search.epochs}.")
    for name, least in LEAST.items():
        value = getattr(search, name)
        if value is not None and value < least:
            raise ValueError(f"Expected {name} to be at least {least}. Received: {value}.")


def check_asked(trials: int, keep_weights: str, control_levels: Sequence[int] | None, levels: int) -> None:
    """Checks what is asked of a run; arguments as `TicketSearch.run`, and the search's levels.

    Raises:
        ValueError: for zero trials, an unknown `keep_weights`, or levels that the search has not.
    """
    if trials < 1:
        raise ValueError(f"Expected at least 1 trial. Received: {trials}.")
    if keep_weights not in KEEP_WEIGHTS:
        raise ValueError(f"Expected keep_weights to be one of {KEEP_WEIGHTS}. Received: {keep_weights!r}.")
    if any(not 1 <= level <= levels for level in control_levels or ()):
        raise ValueError(f"Expected control_levels in 1 ... {levels}. Received: {list(control_levels or ())}.")
