"""Overlap of masks, from packed bits, is that of the masks."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from lth_keras.analysis.overlap import mask_overlaps
from lth_keras.mask import Mask
from lth_keras.storage import RunDirectory, open_run
from tests.synthetic import level_result, levels_of, masks


def random_mask(seed: int, share: float) -> Mask:
    """Of sizes that fill no whole number of bytes."""
    generator = np.random.default_rng(seed)
    return Mask({"a/kernel": generator.random((7, 9)) < share, "b/kernel": generator.random((3, 1, 5)) < share})


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.9), (0.0, 0.4), (0.0, 0.0), (1.0, 1.0)])
def test_it_is_the_jaccard_index_of_the_masks(shares: tuple[float, float]) -> None:
    pair = {str(seed): random_mask(seed, share) for seed, share in enumerate(shares)}
    expected = pair["0"].jaccard(pair["1"])
    found = mask_overlaps({name: mask.pack().items() for name, mask in pair.items()})
    np.testing.assert_array_equal(found, [[1, expected], [expected, 1]])


def test_masks_of_different_models_are_refused() -> None:
    pair = {"ours": random_mask(0, 0.5), "theirs": Mask({"a/kernel": np.ones((7, 8), bool)})}
    with pytest.raises(ValueError, match=r"masks of one model. Received: a/kernel \(7, 9\) in 'ours'.*\(7, 8\)"):
        mask_overlaps({name: mask.pack().items() for name, mask in pair.items()})


def test_a_run_has_that_of_every_level_with_the_winning_tickets(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path, "x", {})
    for result in levels_of(trials=2, levels=2, branches=("winning_ticket", "random_reinit")):
        run.write(result)
    other = masks(9, 2)
    for level in (0, 2):
        result = level_result(0, "early", level, mask=other[level], next_mask=other[level + 1])
        run.write(dataclasses.replace(result, branch="early"))
    overlap = open_run(run.write_run()).mask_overlap
    assert overlap.dims == ("trial", "branch", "level") and overlap.attrs["long_name"].startswith("Jaccard index")
    assert (overlap.sel(branch=["winning_ticket", "random_reinit"]) == 1).all()
    expected = other[2].jaccard(masks(0, 2)[2])
    assert float(overlap.sel(trial=0, branch="early", level=2)) == expected < 1
    assert np.isnan(overlap.sel(trial=1, branch="early")).all()
    assert np.isnan(overlap.sel(trial=0, branch="early", level=1))
    assert float(overlap.sel(trial=0, branch="early", level=0)) == 1


def test_a_run_has_those_of_each_two_branches(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path, "x", {})
    kept = {}
    for seed, name, level in [(0, "a", 1), (0, "b", 1), (0, "c", 1), (1, "a", 1), (1, "b", 1), (0, "a", 2)]:
        kept[seed, name, level] = mask = masks(sum(map(ord, name)) + seed, level)[level]
        run.write(dataclasses.replace(level_result(seed, name, level, mask=mask, next_mask=mask), branch=name))
    pairs = open_run(run.write_run()).mask_overlap_pairs
    assert pairs.dims == ("trial", "level", "branch", "other_branch")
    assert list(pairs.other_branch.values) == list(pairs.branch.values) == ["a", "b", "c"]
    for seed, name, other, level in itertools.product((0, 1), "abc", "abc", (0, 1, 2)):
        found = float(pairs.sel(trial=seed, level=level, branch=name, other_branch=other))
        known = {(seed, name, level), (seed, other, level)} <= kept.keys()
        if known:
            assert found == kept[seed, name, level].jaccard(kept[seed, other, level]), (seed, name, other, level)
        else:
            assert np.isnan(found)


def test_without_a_winning_ticket_there_is_none_with_it(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path, "x", {})
    run.write(level_result(0, "early", 1))
    assert np.isnan(open_run(run.write_run()).mask_overlap).all()
    np.testing.assert_array_equal(open_run(run.path).mask_overlap_pairs.values.ravel(), [np.nan, 1])


def test_branches_that_share_the_dense_network_share_all_of_its_mask(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path, "x", {})
    run.write(level_result(0, "dense", 0))
    for name in ("snip_uss", "winning_ticket"):
        run.write(level_result(0, name, 1))
    dataset = open_run(run.write_run())
    assert (dataset.mask_overlap.sel(level=0) == 1).all() and (dataset.mask_overlap_pairs.sel(level=0) == 1).all()
