"""How many weights each layer, and each shot, keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_keras.mask import Mask
from lth_keras.pruning.densities import (
    counts_at,
    erk_counts,
    layer_shares,
    shot_densities,
    uniform_counts,
)
from lth_keras.pruning.plan import Plan

LENET = {"a": (784, 300), "b": (300, 100), "c": (100, 10)}
CONV = {"first": (3, 3, 3, 64), "second": (3, 3, 64, 64), "dense": (1024, 10)}

shapes = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6).map(
    lambda found: {f"layer_{i}": shape for i, shape in enumerate(found)}
)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Of any shapes, with any weights left, in all at least one."""
    made = draw(shapes)
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    share = draw(st.sampled_from([0.1, 0.6, 1.0]))
    mask = {key: generator.random(shape) < share for key, shape in made.items()}
    mask["layer_0"].flat[0] = True
    return Mask(mask)


@given(mask=masks(), share=st.floats(0, 1), floor=st.integers(0, 3))
def test_erk_counts_add_up_and_stay_within_what_each_layer_may_keep(mask: Mask, share: float, floor: int) -> None:
    left = mask.counts()
    least = {key: min(count, floor) for key, count in left.items()}
    kept = round(sum(least.values()) + share * (mask.kept - sum(least.values())))
    counts = erk_counts(mask, kept, floor)
    assert list(counts) == list(mask) and sum(counts.values()) == kept
    assert all(least[key] <= counts[key] <= left[key] for key in mask)


@given(made=shapes, share=st.floats(0, 1))
def test_erk_counts_of_layers_that_are_not_full_are_in_proportion_to_their_sizes(
    made: dict[str, tuple[int, ...]], share: float
) -> None:
    mask = Mask.ones(made)
    counts = erk_counts(mask, round(share * mask.size), min_per_layer=0)
    free = [key for key in mask if counts[key] < mask.sizes[key] - 1]
    each = [counts[key] / sum(made[key]) for key in free]
    # Whole numbers are within one of the exact ones, wherever those are.
    bounds = [(counts[key] - 1) / sum(made[key]) for key in free], [(counts[key] + 1) / sum(made[key]) for key in free]
    assert not each or max(bounds[0]) <= min(bounds[1])
    full = [key for key in mask if counts[key] == mask.sizes[key]]
    assert all((counts[key] - 1) / sum(made[key]) <= min(bounds[1], default=math.inf) for key in full)


@given(mask=masks(), rate=st.floats(0.05, 0.9))
def test_erk_counts_of_one_level_after_the_other_nest(mask: Mask, rate: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(4):
        floor = sum(min(count, 1) for count in mask.counts().values())
        counts = erk_counts(mask, max(floor, round(mask.kept * (1 - rate))))
        smaller = {}
        for key, array in mask.items():
            chosen = generator.permutation(np.flatnonzero(array))[: counts[key]]
            smaller[key] = np.isin(np.arange(array.size), chosen).reshape(array.shape)
        assert Mask(smaller).is_subset(mask) and Mask(smaller).kept == sum(counts.values())
        mask = Mask(smaller)


def test_erk_densities_are_those_of_the_paper() -> None:
    # 3 + 3 + 3 + 64, 3 + 3 + 64 + 64 and 1024 + 10: of 10,000 weights 73, 134 and 1,034 parts in 1,241.
    mask = Mask.ones(CONV)
    assert erk_counts(mask, 10_000) == {"first": 588, "second": 1080, "dense": 8332}
    assert erk_counts(mask, 30_000) == {"first": 1728, "second": 18_032, "dense": 10_240}  # two are full
    assert erk_counts(Mask.ones(LENET), 3_000) == {"a": 2040, "b": 753, "c": 207}


def test_uniform_counts_leave_the_first_layer_and_share_out_the_rest_at_one_density() -> None:
    mask = Mask.ones(CONV)
    counts = uniform_counts(mask, 10_000)
    assert counts["first"] == 1728 and sum(counts.values()) == 10_000
    assert counts["second"] / 36_864 == pytest.approx(counts["dense"] / 10_240, rel=1e-3)
    assert uniform_counts(Mask.ones({"only": (4,)}), 4) == {"only": 4}
    with pytest.raises(ValueError, match=r"Expected at least 235202 weights.*first layer, 'a'.*use scope='layer'"):
        uniform_counts(Mask.ones(LENET), 26_620)
    with pytest.raises(ValueError, match="Expected to keep"):
        uniform_counts(mask, mask.size + 1)


def test_global_scope_has_no_counts_of_its_own_and_other_names_are_refused() -> None:
    dense = Mask.ones(LENET)
    assert counts_at(7 / dense.size, dense, "global") == 7
    assert counts_at(3_000 / dense.size, dense, "erk") == erk_counts(dense, 3_000)
    with pytest.raises(ValueError, match="Expected scope to be one of 'layer', 'global', 'uniform', 'erk'. Rec"):
        Plan(0.2, None, "model", False, 1, "exponential", 1)
    for kept in (2, 266_201):
        with pytest.raises(ValueError, match=f"Expected to keep 3 to 266200 weights.*Received: {kept}"):
            erk_counts(Mask.ones(LENET), kept)


@given(density=st.floats(1e-4, 1), shots=st.integers(1, 100), schedule=st.sampled_from(["exponential", "linear"]))
def test_shots_fall_by_equal_shares_or_numbers_and_end_at_the_density(
    density: float, shots: int, schedule: str
) -> None:
    found = np.array([1.0, *shot_densities(density, shots, schedule)])
    assert len(found) == shots + 1 and found[-1] == density
    steps = -np.diff(found) if schedule == "linear" else found[1:] / found[:-1]
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6, atol=1e-12)


def test_what_shots_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 shot. Received: 0"):
        shot_densities(0.5, 0)
    with pytest.raises(ValueError, match="Expected schedule to be one of 'exponential', 'linear'. Received: 'cubic'"):
        shot_densities(0.5, 2, "cubic")


@given(made=shapes, density=st.floats(0.01, 1), floor=st.integers(0, 3))
def test_layer_shares_add_up_and_each_is_within_one_weight_of_its_share(
    made: dict[str, tuple[int, ...]], density: float, floor: int
) -> None:
    mask = Mask.ones(made)
    kept = round(mask.size * density)
    least = {key: min(size, floor) for key, size in mask.sizes.items()}
    if kept < sum(least.values()):
        with pytest.raises(ValueError, match="Expected to keep"):
            layer_shares(density, mask, floor)
        return
    counts = layer_shares(density, mask, floor)
    assert list(counts) == list(mask) and sum(counts.values()) == kept
    assert all(least[key] <= counts[key] <= size for key, size in mask.sizes.items())
    if all(size * density >= least[key] for key, size in mask.sizes.items()):
        assert all(abs(counts[key] - size * density) < 1 + 1e-9 for key, size in mask.sizes.items())


def test_small_layers_that_are_rounded_on_their_own_add_up_to_more() -> None:
    mask = Mask.ones({f"layer_{i}": (size,) for i, size in enumerate([35, 36] * 12)})
    assert sum(layer_shares(0.1, mask).values()) == 85
    assert sum(counts_at(0.1, mask, "layer").values()) == 96  # type: ignore[union-attr]  # as a search rounds them


def test_a_layer_with_less_left_than_its_share_is_named() -> None:
    mask = Mask({"a": np.arange(10) < 3, "b": np.ones(10, bool)})
    with pytest.raises(ValueError, match="at least their share.*3 of 10 in a"):
        layer_shares(0.5, mask)
    assert layer_shares(0.5, mask, last=False) == {"a": 3, "b": 5}
