"""Pruning: exactly k survive, the highest ones, and chance alone decides among equals."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lth_keras.arrays import uniform
from lth_keras.layers import KINDS
from lth_keras.mask import Mask
from lth_keras.pruning.densities import layer_counts
from lth_keras.pruning.plan import Plan, resolve_rates
from lth_keras.pruning.ranking import keep_highest

Scores = dict[str, np.ndarray]


@st.composite
def scored_masks(draw: st.DrawFn) -> tuple[Scores, Mask]:
    """Up to four weights, some pruned already, with scores that tie heavily."""
    shapes = draw(st.lists(hnp.array_shapes(min_dims=0, max_dims=2, max_side=6), min_size=1))
    few = st.sampled_from([-1.0, 0.0, -0.0, 0.25, 3.0])
    scores, mask = {}, {}
    for number, shape in enumerate(shapes[:4]):
        dtype = draw(st.sampled_from(["float32", "float64", "float16"]))
        scores[f"w{number}"] = draw(hnp.arrays(dtype, shape, elements=few))
        mask[f"w{number}"] = draw(hnp.arrays(bool, shape))
    assume(any(array.any() for array in mask.values()))
    return scores, Mask(mask)


def prune(scores: Scores, mask: Mask, keep: Any, seed: int = 0, min_per_layer: int = 1) -> Mask:
    generator = np.random.default_rng(seed)
    return keep_highest(scores, mask, keep, generator=generator, min_per_layer=min_per_layer)


def values(scores: Scores, mask: Mapping[str, np.ndarray]) -> list[float]:
    """The scores of what is kept, highest first."""
    kept = [float(x) for key, table in scores.items() for x in table[mask[key]].ravel()]
    return sorted(kept, reverse=True)


@given(scored_masks(), st.data())
@pytest.mark.filterwarnings("ignore:Layer collapse")
@settings(max_examples=50)
def test_global_scope_keeps_exactly_the_k_highest_survivors(case: tuple[Scores, Mask], data: st.DataObject) -> None:
    scores, mask = case
    k = data.draw(st.integers(1, mask.kept))
    pruned = prune(scores, mask, k, min_per_layer=0)
    assert pruned.kept == k
    assert pruned.is_subset(mask)
    assert list(pruned) == list(mask)
    assert values(scores, pruned) == values(scores, mask)[:k]


@given(scored_masks(), st.data())
@pytest.mark.filterwarnings("ignore:Layer collapse")
@settings(max_examples=50)
def test_layer_scope_keeps_exactly_the_k_highest_survivors_of_each(
    case: tuple[Scores, Mask], data: st.DataObject
) -> None:
    scores, mask = case
    keep = {key: data.draw(st.integers(0, count)) for key, count in mask.counts().items()}
    assume(any(keep.values()))
    pruned = prune(scores, mask, keep, min_per_layer=0)
    assert pruned.counts() == keep
    assert pruned.is_subset(mask)
    for key in mask:
        table = {key: scores[key]}
        assert values(table, pruned) == values(table, mask)[: keep[key]]


@given(scored_masks(), st.integers(1, 5), st.data())
@settings(max_examples=50)
def test_min_per_layer_is_exact_and_gives_up_the_lowest(
    case: tuple[Scores, Mask], floor: int, data: st.DataObject
) -> None:
    scores, mask = case
    floors = {key: min(count, floor) for key, count in mask.counts().items()}
    k = data.draw(st.integers(sum(floors.values()), mask.kept))
    pruned = prune(scores, mask, k, min_per_layer=floor)
    assert pruned.kept == k
    assert pruned.is_subset(mask)
    assert list(pruned) == list(mask)
    assert all(pruned.counts()[key] >= floors[key] for key in mask)
    # The best that is allowed: each layer's top ones, then the highest of all the others.
    protected, others = [], []
    for key in mask:
        ranked = values({key: scores[key]}, mask)
        protected += ranked[: floors[key]]
        others += ranked[floors[key] :]
    best = protected + sorted(others, reverse=True)[: k - len(protected)]
    assert values(scores, pruned) == sorted(best, reverse=True)


def test_min_per_layer_holds_where_a_first_repair_makes_another_layer_fall_short() -> None:
    scores = {
        "high": np.array([9.0, 8.0, 7.0, 6.0]),
        "middle": np.array([5.0, 4.0, 3.0]),
        "low": np.array([0.2, 0.1]),
    }
    pruned = prune(scores, Mask.ones({"high": (4,), "middle": (3,), "low": (2,)}), 6)
    assert pruned.counts() == {"high": 4, "middle": 1, "low": 1}
    pruned = prune(scores, Mask.ones({"high": (4,), "middle": (3,), "low": (2,)}), 6, min_per_layer=2)
    assert pruned.counts() == {"high": 2, "middle": 2, "low": 2}
    assert pruned["high"].tolist() == [True, True, False, False]


def survival(scores: Scores, mask: Mask, keep: Any, runs: int) -> dict[str, np.ndarray]:
    """How often each position survives over many seeds."""
    times = {key: np.zeros(shape, int) for key, shape in mask.shapes.items()}
    for seed in range(runs):
        for key, kept in prune(scores, mask, keep, seed).items():
            times[key] += kept
    return times


@pytest.mark.parametrize("keep", [7, {"a": 4, "b": 3}])
def test_ties_are_broken_by_chance_and_not_by_position(keep: Any) -> None:
    # In each layer one survivor above the ties, one below, and one pruned high one.
    row = np.array([5.0, 1, 1, 1, 1, 1, 1, 0, 9])
    scores = {"a": row, "b": row[::-1].copy()}
    mask = Mask({key: table != 9 for key, table in scores.items()})
    runs = 1500
    times = survival(scores, mask, keep, runs)
    for key, table in scores.items():
        assert (times[key][table == 5] == runs).all()
        assert (times[key][table == 0] == 0).all()
        assert (times[key][table == 9] == 0).all()
        ties = (keep if isinstance(keep, int) else 2 * keep[key]) - 2
        share = ties / 12
        expected, spread = runs * share, np.sqrt(runs * share * (1 - share))
        assert np.abs(times[key][table == 1] - expected).max() < 4.5 * spread


def test_pairs_of_ties_survive_independently_of_their_distance() -> None:
    runs, size = 3000, 6
    pairs = np.zeros((size, size))
    for seed in range(runs):
        kept = prune({"a": np.zeros(size)}, Mask.ones({"a": (size,)}), 2, seed)["a"]
        pairs += np.outer(kept, kept)
    together = pairs[~np.eye(size, dtype=bool)]
    expected = runs * (2 / size) * (1 / (size - 1))
    assert np.abs(together - expected).max() < 4.5 * np.sqrt(expected)


class TiedDraws(np.random.Generator):
    """A generator whose first draws all tie, as some do among hundreds of millions."""

    calls = 0

    def random(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        draws = super().random(*args, **kwargs)
        return np.zeros_like(draws) if self.calls == 1 else draws


def test_draws_that_tie_are_broken_in_turn() -> None:
    generator = TiedDraws(np.random.PCG64(0))
    mask = Mask.ones({"a": (50,)})
    pruned = keep_highest({"a": np.zeros(50)}, mask, 20, generator=generator)
    assert pruned.kept == 20
    assert generator.calls == 2
    assert not pruned["a"][:20].all()
    assert not pruned["a"][-20:].all()


@pytest.mark.parametrize("keep", [30, {"a": 20, "b": 10}])
def test_the_same_generator_state_gives_the_same_mask_and_no_ties_draw_nothing(keep: Any) -> None:
    mask = Mask.ones({"a": (40,), "b": (4, 5)})
    tied = {key: np.zeros(shape) for key, shape in mask.shapes.items()}
    assert prune(tied, mask, keep, 1) == prune(tied, mask, keep, 1)
    assert prune(tied, mask, keep, 1) != prune(tied, mask, keep, 2)
    distinct = {"a": np.arange(40.0), "b": 0.5 + np.arange(20.0).reshape(4, 5)}
    generator = np.random.default_rng(3)
    keep_highest(distinct, mask, keep, generator=generator)
    assert generator.random() == np.random.default_rng(3).random()


def test_inputs_are_left_as_they_were_in_any_memory_order() -> None:
    table = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    scores, mask = {"a": table, "b": table.T[::-1]}, Mask.ones({"a": (3, 4), "b": (4, 3)})
    before = {key: value.copy() for key, value in scores.items()}
    for keep in (6, {"a": 3, "b": 3}):
        pruned = prune(scores, mask, keep)
        assert all(np.array_equal(pruned[key], before[key] >= 9) for key in scores)
        assert all(np.array_equal(scores[key], before[key]) for key in scores)
    assert mask.density == 1
    pruned = prune({"a": table}, Mask({"a": table % 3 == 0}), {"a": 2})
    assert np.array_equal(pruned["a"], np.isin(table, [6, 9]))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "bfloat16"])
def test_scores_of_any_real_type_are_ranked(dtype: str) -> None:
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    scores = {"a": np.array([0, 1, 1, 0, 1]).astype(dtype), "b": np.array([0.5], "float16")}
    pruned = prune(scores, Mask.ones({"a": (5,), "b": (1,)}), 4)
    assert pruned["a"].tolist() == [False, True, True, False, True]


def test_masks_of_successive_levels_nest_and_follow_the_counts() -> None:
    mask = Mask.ones({"a": (30, 10), "b": (10, 4)})
    generator = np.random.default_rng(0)
    for level in range(1, 25):
        scores = {key: generator.normal(size=shape) for key, shape in mask.shapes.items()}
        keep = plan({"dense": 0.2, "output": 0.1}).keep(level, Mask.ones(mask.shapes), {"a": "dense", "b": "output"})
        smaller = keep_highest(scores, mask, keep, generator=generator)
        assert smaller.is_subset(mask)
        assert smaller.counts() == keep
        mask = smaller
    assert mask.counts() == {"a": round(300 * 0.8**24), "b": round(40 * 0.9**24)}


def test_a_layer_may_collapse_only_when_asked_and_is_then_named() -> None:
    scores = {"big": np.array([3.0, 2.0]), "tiny": np.array([0.1, 0.2])}
    mask = Mask.ones({"big": (2,), "tiny": (2,)})
    assert prune(scores, mask, 2).counts() == {"big": 1, "tiny": 1}
    for keep in (2, {"big": 2, "tiny": 0}):
        with pytest.warns(UserWarning, match="Layer collapse.*tiny;") as record:
            collapsed = prune(scores, mask, keep, min_per_layer=0)
        assert collapsed.counts() == {"big": 2, "tiny": 0}
        assert record[0].filename == __file__
    with warnings.catch_warnings():  # what is gone already is not news
        warnings.simplefilter("error")
        assert prune(scores, collapsed, 1).counts() == {"big": 1, "tiny": 0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("keep", [3, 6, {"a": 2, "b": 2}, {"a": 3, "b": 3}])
def test_scores_of_survivors_must_be_finite_and_those_of_the_pruned_need_not(bad: float, keep: Any) -> None:
    shapes = {"a": (3,), "b": (3,)}
    scores = {"a": np.arange(3.0), "b": np.array([bad, 1, 2])}
    with pytest.raises(ValueError, match=r"Expected finite.*Received: 1 NaN or inf.*'b'"):
        prune(scores, Mask.ones(shapes), keep)
    mask = Mask({"a": np.ones(3, bool), "b": np.array([False, True, True])})
    assert prune(scores, mask, 4).kept == 4


@pytest.mark.parametrize(
    ("keep", "min_per_layer", "message"),
    [
        (0, 0, "Received: 0"),
        (-1, 0, "Received: -1"),
        (1, 1, "Expected to keep 2 to 5 of all weights"),
        (3, 2, "Expected to keep 4 to 5"),
        (6, 1, "Received: 6"),
        (5, -1, "min_per_layer of 0 or more"),
        ({"a": 3, "b": 3}, 1, "to 2 of the weights of 'b'.*Received: 3"),
        ({"a": 3, "b": -1}, 0, "'b'.*Received: -1"),
        ({"a": 3, "b": 0}, 1, "Expected to keep 1 to 2 of the weights of 'b'"),
        ({"a": 0, "b": 0}, 0, "keep=0 for every layer"),
        ({"a": 3}, 1, r"for each of \['a', 'b'\].*Received: \['a'\]"),
        ({"a": 3, "b": 1, "c": 1}, 1, "Received.*'c'"),
    ],
)
def test_impossible_counts_are_refused(keep: Any, min_per_layer: int, message: str) -> None:
    mask = Mask({"a": [1, 1, 1], "b": [1, 1, 0]})
    scores = {"a": np.arange(3.0), "b": np.arange(3.0)}
    with pytest.raises(ValueError, match=message):
        prune(scores, mask, keep, min_per_layer=min_per_layer)


def test_scores_of_another_model_are_refused() -> None:
    mask = Mask.ones({"a": (3,)})
    with pytest.raises(ValueError, match="missing: a; unexpected: b"):
        prune({"b": np.zeros(3)}, mask, 1)
    with pytest.raises(ValueError, match=r"a is \(2,\) instead of \(3,\)"):
        prune({"a": np.zeros(2)}, mask, 1)
    with pytest.raises(ValueError, match="Expected real scores"):
        prune({"a": np.zeros(3, complex)}, mask, 1)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_memory_stays_below_what_the_scores_themselves_take(scope: str) -> None:
    generator = np.random.default_rng(0)
    mask = Mask.ones(dict.fromkeys("abcd", (500, 500)))
    scores = {key: generator.random(shape, "float32") for key, shape in mask.shapes.items()}
    keep: Any = dict.fromkeys(mask, 125_000) if scope == "layer" else 500_000
    tracemalloc.start()
    prune(scores, mask, keep)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(table.nbytes for table in scores.values())
    assert peak < (0.75 if scope == "layer" else 1.4) * size


def test_rates_are_by_kind_or_one_for_all() -> None:
    kinds = {"conv_1/kernel": "conv", "head/kernel": "output", "fc/kernel": "dense"}
    paper = {"dense": 0.2, "conv": 0.15, "embedding": 0.2, "output": 0.1}
    assert set(paper) == set(KINDS)
    assert resolve_rates(paper, kinds) == {
        "conv_1/kernel": 0.15,
        "head/kernel": 0.1,
        "fc/kernel": 0.2,
    }


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, np.nan, np.inf, 20])
def test_rates_outside_0_to_1_are_refused(rate: float) -> None:
    for rates in (rate, {"dense": rate}, {"dense": 0.2, "conv": rate}):
        with pytest.raises(ValueError, match=r"Expected rates in \[0, 1\).*Received: "):
            plan(rates)


def test_rates_must_fit_the_model() -> None:
    with pytest.raises(ValueError, match=r"'head/kernel' is of kind 'output'"):
        resolve_rates({"dense": 0.2}, {"fc/kernel": "dense", "head/kernel": "output"})
    with pytest.raises(ValueError, match="Received: 'convolution', which matches none of a"):
        resolve_rates({"dense": 0.2, "convolution": 0.1}, {"a": "dense"})
    with pytest.raises(ValueError, match="'a' is of kind 'lstm'"):
        resolve_rates({"dense": 0.2}, {"a": "lstm"})


def plan(rates: Any, scope: str = "layer", minimum: int = 1) -> Plan:
    return Plan(rates, None, scope, False, 1, "exponential", minimum)


def test_counts_are_the_papers() -> None:
    # LeNet-300-100: 266,200 prunable weights, 20 % a level, the output layer 10 %.
    mask = Mask.ones({"hidden_1": (784, 300), "hidden_2": (300, 100), "output": (100, 10)})
    kinds = {"hidden_1": "dense", "hidden_2": "dense", "output": "output"}
    by_layer, global_ = plan({"dense": 0.2, "output": 0.1}), plan(0.2, "global")
    assert by_layer.keep(1, mask, kinds) == {"hidden_1": 188160, "hidden_2": 24000, "output": 900}
    assert by_layer.keep(7, mask, kinds) == {"hidden_1": 49325, "hidden_2": 6291, "output": 478}
    assert by_layer.keep(10, mask, kinds) == {"hidden_1": 25254, "hidden_2": 3221, "output": 349}
    assert global_.keep(7, mask, kinds) == 55_826


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10**9), min_size=1),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 60),
    st.integers(0, 5),
)
@settings(max_examples=40)
def test_counts_never_grow_and_leave_the_minimum(sizes: dict[str, int], rate: float, level: int, minimum: int) -> None:
    least = {key: min(size, minimum) for key, size in sizes.items()}
    now, later = (layer_counts(sizes, dict.fromkeys(sizes, (1 - rate) ** n), least) for n in (level, level + 1))
    for key, size in sizes.items():
        assert min(size, minimum) <= later[key] <= now[key] <= size


def test_of_lazy_scores_one_table_exists_at_a_time() -> None:
    shapes = {f"table_{i}": (1000, 1000) for i in range(6)}
    table = 4 * 1000 * 1000
    generator = np.random.default_rng(0)
    mask, keep = Mask.ones(shapes), dict.fromkeys(shapes, 800_000)
    at_once = keep_highest(dict(uniform(shapes, np.random.default_rng(1))), mask, keep, generator=generator)
    tracemalloc.start()
    try:
        smaller = keep_highest(uniform(shapes, np.random.default_rng(1)), mask, keep, generator=generator)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert smaller == at_once
    assert smaller.size <= kept < smaller.size + 0.1 * table
    assert peak - kept < 2.5 * table
