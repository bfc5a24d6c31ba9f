"""How far a run is: what it says itself, or what the levels that it has imply."""

from __future__ import annotations

import dataclasses

import xarray

from lth_keras.storage import assemble
from lth_keras.storage.contents import finished_levels, progress
from tests.synthetic import CREATED, level_result, levels_of


def run_of(*left_out: tuple[int, str, int], trials: int = 2, levels: int = 3) -> xarray.Dataset:
    results = [r for r in levels_of(trials, levels) if (r.seed, r.branch, r.level) not in left_out]
    return assemble(results, experiment="x", config={}, versions={}, created=CREATED)


def test_a_shared_dense_network_is_one_training() -> None:
    found = finished_levels(run_of())
    assert found == {(r.seed, r.branch, r.level) for r in levels_of(2, 3)} and len(found) == 2 * (1 + 3 * 3)


def test_a_variant_has_a_dense_network_of_its_own() -> None:
    dense = level_result(level=0)
    own = dataclasses.replace(dense, branch="early")
    results = [dense, own, level_result(level=1), level_result(branch="early", level=1)]
    run = assemble(results, experiment="x", config={}, versions={}, created=CREATED)
    assert finished_levels(run) == {(0, "dense", 0), (0, "winning_ticket", 1), (0, "early", 0), (0, "early", 1)}
    assert progress(run) == (4, 4, False)


def test_what_the_run_says_was_asked_for_counts() -> None:
    assert progress(run_of().assign_attrs(trainings=20)) == (20, 20, True)
    assert progress(run_of().assign_attrs(trainings=96)) == (20, 96, True)


def test_else_every_trial_is_to_have_what_another_has() -> None:
    assert progress(run_of()) == (20, 20, False)
    assert progress(run_of((1, "winning_ticket", 2), (1, "random_mask", 3))) == (18, 20, False)


def test_controls_at_chosen_levels_alone_are_not_missing() -> None:
    left_out = [(seed, branch, 2) for seed in range(2) for branch in ("random_mask", "random_reinit")]
    assert progress(run_of(*left_out)) == (16, 16, False)
