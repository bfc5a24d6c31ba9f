"""Parameters of a search that do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lth_keras.data import SPLITS, check_split
from lth_keras.search.start import given_of, initialiser_of

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


def check_combinations(search: TicketSearch) -> None:
    """Raises ValueError for data without a split, and for parameters that do not go together."""
    if not callable(search.data):
        for split in SPLITS:
            check_split(search.data, split)
    given_of(search.start)  # raises for an unknown one
    _check_before_training(search)
    _check_rewinding(search)


def _check_before_training(search: TicketSearch) -> None:
    pruning = search.pruning
    before = pruning.when == "before_training"
    if before and pruning.score_at is not None:
        raise ValueError(f"Expected score_at=None with when='before_training'. Received: {pruning.score_at}.")
    if pruning.masks_of_drawn and not (before and initialiser_of(search.start)):
        raise ValueError(
            "Expected masks_of_drawn=False unless when='before_training' and start is a function. "
            f"Received: when={pruning.when!r}, start={search.start!r}."
        )
    if before and search.rewind != "init":
        raise ValueError(
            "Expected rewind='init' with when='before_training', whose levels do not depend on a training. "
            f"Received: rewind={search.rewind!r}."
        )


def _check_rewinding(search: TicketSearch) -> None:
    rewinding, training = search.rewinding, search.training
    own = (training.steps, training.epochs)[rewinding.unit == "epoch"]
    if own is not None:
        rewinding.step(1, own)
    if search.rewind != "init" and training.carry_step_count:
        raise ValueError(
            "Expected carry_step_count=False unless rewind='init', since rewinding decides the step count. "
            f"Received: rewind={search.rewind!r} and carry_step_count=True."
        )
