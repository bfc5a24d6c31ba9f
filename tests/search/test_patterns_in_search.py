"""Searches whose masks have a pattern: whole groups at every level, nested, in every branch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lth_keras as lth
from lth_keras.backends import backend
from lth_keras.mask import Mask
from lth_keras.search.parameters import Pruning
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import SIZES, final_weights, make, masks_of

BOTH = ("winning_ticket", "random_mask")


def groups_of(pattern: str, key: str, kept: np.ndarray) -> np.ndarray:
    """A row for each group of a weight, written apart from the library's code."""
    if pattern == "4x1":
        return kept.reshape(kept.shape[0] // 4, 4, kept.shape[1]).swapaxes(1, 2).reshape(-1, 4)
    return kept.T


def kept_groups(pattern: str, mask: Mask) -> dict[str, int]:
    """How many groups a mask keeps, each as a whole; the units of the output layer are no groups."""
    found = {}
    for key, kept in mask.items():
        if pattern == "units" and key == "output/kernel":
            assert kept.all()
            continue
        rows = groups_of(pattern, key, np.asarray(kept))
        assert (rows.all(1) == rows.any(1)).all(), key
        found[key] = int(rows.any(1).sum())
    return found


@few("engine", ["compiled", "compact", "batched:2"], "compiled")
@few("pattern", ["units", "4x1"], "units")
def test_every_level_keeps_its_share_of_groups_in_every_branch(
    network: Network, tmp_path: Path, pattern: str, engine: str
) -> None:
    if engine == "batched:2" and backend().most_tickets == 1:
        pytest.skip("this backend trains one ticket at a time")
    shared = network if engine == "compiled" else None
    run = make(shared, pattern=pattern, levels=3, engine=engine).run(branches=BOTH, out=tmp_path, keep_weights="all")
    dense = kept_groups(pattern, Mask.ones({"hidden/kernel": (8, 16), "output/kernel": (16, 3)}))
    shares = {"hidden/kernel": 0.7, "output/kernel": 0.8}
    chosen: dict[str, Mask] = {}
    for branch in BOTH:
        masks = masks_of(run, 0, branch, 3)
        for level, (before, mask) in enumerate(zip(masks, masks[1:], strict=False), 1):
            assert mask.is_subset(before)
            expected = {key: round(count * shares[key] ** level) for key, count in dense.items()}
            assert kept_groups(pattern, mask) == expected
            for key, value in final_weights(run, 0, branch, level).items():
                assert key not in mask or (not value[~mask[key]].any() and value[mask[key]].all())
        chosen[branch] = masks[-1]
    assert chosen["winning_ticket"] != chosen["random_mask"]


def test_units_are_ranked_by_the_sum_of_their_weights_scores(network: Network, tmp_path: Path) -> None:
    run = make(network, pattern="units", levels=2).run(out=tmp_path, keep_weights="all")
    before, after = masks_of(run, 0, "winning_ticket", 2)[1:]
    weights = final_weights(run, 0, "winning_ticket", 1)["hidden/kernel"]
    sums = np.abs(weights).sum(0)
    kept, gone = after["hidden/kernel"].any(0), before["hidden/kernel"].any(0) & ~after["hidden/kernel"].any(0)
    assert gone.any() and sums[kept].min() > sums[gone].max()


def test_numbers_of_units_are_multiples_at_every_level(network: Network, tmp_path: Path) -> None:
    run = make(network, pattern="units", multiple_of=4, rates=0.2, levels=4).run(out=tmp_path)
    counts = [kept_groups("units", mask)["hidden/kernel"] for mask in masks_of(run, 0, "winning_ticket", 4)]
    assert counts == [16, 12, 8, 8, 8]  # the multiples that are nearest to 16, 13, 10, 8 and 7 units


def test_two_of_four_is_one_level_in_every_branch(network: Network, tmp_path: Path) -> None:
    search = make(network, pattern="2:4", rates=None, levels=None)
    assert search.levels == 1
    run = search.run(branches=BOTH, out=tmp_path, keep_weights="all")
    masks = [masks_of(run, 0, branch, 1)[1] for branch in BOTH]
    for mask in masks:
        for kept in mask.values():
            assert (np.asarray(kept).T.reshape(-1, 4).sum(1) == 2).all()
    dense = final_weights(run, 0, "dense", 0)
    for key, kept in masks[0].items():
        parts, values = np.asarray(kept).T.reshape(-1, 4), np.abs(dense[key]).T.reshape(-1, 4)
        assert (np.where(parts, values, np.inf).min(1) >= np.where(parts, -np.inf, values).max(1)).all()
    assert masks[0] != masks[1]


def test_in_global_scope_levels_stay_within_the_budget(network: Network, tmp_path: Path) -> None:
    run = make(network, pattern="4x1", scope="global", densities=[0.6, 0.3], rates=None).run(out=tmp_path)
    masks = masks_of(run, 0, "winning_ticket", 2)
    for density, mask in zip([0.6, 0.3], masks[1:], strict=True):
        kept_groups("4x1", mask)
        size = sum(SIZES.values())
        assert density * size - 4 < mask.kept <= round(density * size)


@pytest.mark.slow
def test_masks_before_training_in_several_shots(network: Network, tmp_path: Path) -> None:
    parameters: dict[str, Any] = {"when": "before_training", "criterion": "synflow", "shots": 3, "rates": 0.4}
    run = make(network, pattern="units", **parameters).run(branches=BOTH, out=tmp_path)
    for branch in BOTH:
        for level, mask in enumerate(masks_of(run, 0, branch, 2)):
            assert kept_groups("units", mask)["hidden/kernel"] == round(16 * 0.6**level)


def test_an_extended_run_has_the_bits_of_a_whole_one(network: Network, tmp_path: Path) -> None:
    whole = make(network, pattern="units", levels=3).run(branches=BOTH, out=tmp_path / "whole")
    make(network, pattern="units", levels=1).run(branches=BOTH[:1], out=tmp_path / "parts")
    extended = make(network, pattern="filters", levels=3).run(branches=BOTH, out=tmp_path / "parts")
    tiny.assert_same_bits(extended, whole)
    assert len(list((tmp_path / "parts").iterdir())) == 1  # filters and units are one pattern


def test_filters_are_pruned_after_little_training_and_the_rest_is_trained_on(tmp_path: Path) -> None:
    def build() -> keras.Model:
        layers = keras.layers
        conv = layers.Conv2D(10, 2, activation="relu", name="conv")
        return keras.Sequential(
            [keras.Input((8,)), layers.Reshape((2, 4, 1)), conv, layers.Flatten(), layers.Dense(3, "softmax")]
        )

    parameters: dict[str, Any] = {"rates": {"conv": 0.2, "output": 0}, "steps": 10, "rewind": "none"}
    run = make(build=build, pattern="filters", **parameters).run(out=tmp_path, keep_weights="all")
    for level, filters in ((1, 8), (2, 6)):
        ticket = run.ticket(level=level)
        kept = lth.get_mask(ticket)["conv/kernel"].reshape(-1, 10)
        assert (kept.all(0) == kept.any(0)).all() and kept.any(0).sum() == filters
        before = run.directory.read(0, "winning_ticket", level - 1, weights=True)
        assert before is not None and before.weights is not None
        kernel = keras.ops.convert_to_numpy(ticket.get_layer("conv").kernel)
        mask = lth.get_mask(ticket)["conv/kernel"]
        np.testing.assert_array_equal(kernel[mask], before.weights["conv/kernel"][mask])
    last = run.ticket(level=2, weights="final")
    last.compile("sgd", "sparse_categorical_crossentropy")
    last.fit(*tiny.data()["train"], epochs=2, verbose=0)
    assert lth.get_mask(last) == masks_of(run, 0, "winning_ticket", 2)[2]


def make_by_units() -> Any:
    return make(pattern="units")


@pytest.mark.slow
def test_workers_give_the_same_bits(tmp_path: Path) -> None:
    one = make_by_units().run(2, BOTH, tmp_path / "one")
    two = tiny.run(make_by_units, trials=2, branches=BOTH, out=tmp_path / "two", workers=2)
    tiny.assert_same_bits(two, one)


@pytest.mark.slow
def test_patterns_of_variants_are_along_branches(network: Network, tmp_path: Path) -> None:
    variants: dict[str, Any] = {"by_units": {"pattern": "units"}, "sparse": {"pattern": "2:4", "rates": None}}
    run = make(network, levels=1, variants=variants).run(branches=("winning_ticket", *variants), out=tmp_path)
    patterns = run.dataset.pattern.to_series().to_dict()
    assert patterns == {"winning_ticket": "", "by_units": "units", "sparse": "2:4"}
    assert float(run.dataset.density.sel(branch="sparse", level=1)[0]) == 0.5


def test_a_pattern_names_the_run_and_none_does_not() -> None:
    plain = make().identity
    assert "pattern" not in plain and "multiple_of" not in plain and make(pattern=None).identity == plain
    units = make(pattern="columns").identity
    assert units == make(pattern="units").identity == {**plain, "pattern": "units"}
    assert make(pattern="units", multiple_of=4).identity == {**units, "multiple_of": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "rows"}, "Expected a pattern: .*Received: 'rows'"),
        ({"pattern": 4}, "Received: 4"),
        ({"multiple_of": 4}, "Expected a pattern with multiple_of"),
        ({"pattern": "4x4", "multiple_of": 8}, "multiple_of=8, which is of units, heads and channels"),
        ({"pattern": "2:4"}, r"Expected densities=\[0.5\], or neither.*'2:4'.*Received: rates=\{'dense'"),
        ({"pattern": "2:4", "rates": None, "densities": [0.25]}, r"which has no other density.*\(0.25,\)"),
        ({"pattern": "2:4", "rates": None}, "Expected a density for each of 2 levels"),
        ({"pattern": "units", "rates": 0.2, "scope": "erk"}, "Expected scope 'layer' or 'global'.*scope='erk'"),
        ({"pattern": "units", "start_mask": Mask.ones({"hidden/kernel": (8, 16)})}, "Received: start_mask"),
    ],
)
def test_what_does_not_go_with_a_pattern_is_refused_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "3x1"}, "At level 2: Expected weights whose last two axes are multiples of 3 x 1"),
        ({"pattern": "1:3", "rates": None, "levels": 1}, "At level 1: .*multiple of 3.*hidden/kernel with 8"),
        ({"pattern": "heads"}, "Expected weights that have heads to prune"),
        ({"pattern": "units", "levels": 10}, "At level 10: Expected a density that leaves.*0 of 16 in hidden/kernel"),
        ({"pattern": "units", "min_per_layer": 9}, "at least 9 of its units.*8 of 16 in hidden/kernel"),
        (
            {"pattern": "4x1", "scope": "global", "rates": None, "densities": [0.9, 0.03], "levels": 2},
            "At level 2: .*at least 1 of its blocks. Received: density=0.03, which leaves",
        ),
    ],
)
def test_what_a_network_cannot_have_is_refused_before_training(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes).network  # noqa: B018


def test_layers_that_a_pattern_does_not_suit_are_left_out() -> None:
    layers = keras.layers
    build = lambda: keras.Sequential([keras.Input((8,)), layers.Dense(6), layers.Dense(4), layers.Dense(3)])  # noqa: E731
    with pytest.raises(ValueError, match="dense_1/kernel with 6"):
        make(build=build, pattern="2:4", rates=None, levels=1).network  # noqa: B018
    pruning = Pruning(pattern="2:4", exclude="dense_1")
    made = make(build=build, rates=None, levels=1, pattern="2:4", exclude="dense_1")
    assert made.pruning == pruning and "dense_1/kernel" not in made.network.mask
