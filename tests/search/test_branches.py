"""What branches train: pure functions of masks, weights and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.search.branches import BRANCHES, check_branches

SHAPES = {"a/kernel": (20, 30), "b/kernel": (30, 5)}
DENSE = Mask.ones(SHAPES)
WINNING = Mask({"a/kernel": np.arange(600).reshape(20, 30) < 200, "b/kernel": np.arange(150).reshape(30, 5) >= 50})
INITIAL = {key: np.full(shape, 0.5, np.float32) for key, shape in SHAPES.items()}


def drawn(level: int) -> dict[str, np.ndarray]:
    return {key: np.full(shape, level, np.float32) for key, shape in SHAPES.items()}


@pytest.mark.parametrize("name", ["winning_ticket", "random_reinit"])
def test_both_train_the_winning_mask(name: str) -> None:
    assert BRANCHES[name].mask(DENSE, WINNING, 0, 1) == WINNING


@pytest.mark.parametrize("name", ["winning_ticket", "random_mask"])
def test_both_start_from_the_initial_weights(name: str) -> None:
    assert BRANCHES[name].weights(INITIAL, drawn, 3) is INITIAL


def test_random_reinit_draws_for_its_own_level() -> None:
    weights = BRANCHES["random_reinit"].weights(INITIAL, drawn, 3)
    assert all((value == 3).all() for value in weights.values())


def test_random_mask_keeps_as_many_of_each_layer_elsewhere_and_nests() -> None:
    random_mask = BRANCHES["random_mask"].mask
    first = random_mask(DENSE, WINNING, 0, 1)
    assert first.counts() == WINNING.counts()
    assert 0.15 < first.jaccard(WINNING) < 0.45  # 0.31 of two independent draws at these densities
    later = Mask({key: kept & (np.arange(kept.size).reshape(kept.shape) % 3 == 0) for key, kept in WINNING.items()})
    second = random_mask(first, later, 0, 2)
    assert second.counts() == later.counts()
    assert second.is_subset(first)


def test_random_mask_is_decided_by_seed_and_level_alone() -> None:
    random_mask = BRANCHES["random_mask"].mask
    assert random_mask(DENSE, WINNING, 0, 1) == random_mask(DENSE, WINNING, 0, 1)
    assert random_mask(DENSE, WINNING, 0, 1) != random_mask(DENSE, WINNING, 1, 1)
    assert random_mask(DENSE, WINNING, 0, 1) != random_mask(DENSE, WINNING, 0, 2)


def test_random_mask_follows_a_layer_that_collapsed() -> None:
    gone = Mask({"a/kernel": WINNING["a/kernel"], "b/kernel": np.zeros((30, 5), bool)})
    with pytest.warns(UserWarning, match="Layer collapse.*b/kernel"):
        assert BRANCHES["random_mask"].mask(DENSE, gone, 0, 1).counts() == gone.counts()


def test_branches_come_in_one_order() -> None:
    assert check_branches(["random_mask", "winning_ticket"]) == ("winning_ticket", "random_mask")


@pytest.mark.parametrize("branches", [["winning_ticket", "winning"], ["random_reinit"], [], "winning_ticket"])
def test_unknown_branches_and_ones_without_the_winning_ticket_are_refused(branches: list[str]) -> None:
    with pytest.raises(ValueError, match="Expected branches from .*random_reinit.*Received"):
        check_branches(branches)
