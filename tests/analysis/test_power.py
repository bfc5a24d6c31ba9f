"""Numbers of trials keep what they promise: checked by simulation, and against published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lth_keras.analysis.paired import TESTS
from lth_keras.analysis.power import trials_for, trials_needed
from tests.few import few


@pytest.mark.parametrize(("effect", "expected"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_numbers_of_cohens_small_medium_and_large_effects(effect: float, expected: int) -> None:
    assert trials_needed(effect, 1.0) == expected  # as G*Power: means of two dependent groups
    assert trials_needed(-10 * effect, 10.0) == expected


def test_large_numbers_continue_small_ones() -> None:
    def by_t(effect: float, trials: int) -> float:
        return stats.nct.sf(stats.t.isf(0.025, trials - 1), trials - 1, effect * math.sqrt(trials))

    for effect in (0.0887, 0.0885):  # on both sides of where the normal distribution takes over
        trials = trials_needed(effect, 1.0)
        assert by_t(effect, trials) >= 0.8 > by_t(effect, trials - 2)
    assert trials_needed(0.05, 1.0, power=0.01) == 2  # less than chance alone gives
    assert trials_needed(1e-4, 1.0) == pytest.approx(((1.959964 + 0.841621) / 1e-4) ** 2, rel=1e-3)


def found(test: str, effect: float, trials: int, alpha: float, tables: int = 500) -> float:
    """The share of simulated tables in which the test finds a difference of so many deviations."""
    generator = np.random.default_rng(3)
    values, baseline = generator.normal(0, math.sqrt(0.5), (2, tables, trials))
    return float(np.mean([TESTS[test](x + effect, y) <= alpha for x, y in zip(values, baseline, strict=True)]))


@pytest.mark.parametrize("test", ["permutation", "welch"])
@few("effect", [1.0, 1.5, 4.0], 1.5)
@few("comparisons", [1, 4], 4)
def test_so_many_trials_find_it(test: str, effect: float, comparisons: int) -> None:
    values = math.sqrt(0.5) * np.array([1.0, 1.0, -1.0, -1.0]) * math.sqrt(3 / 4)
    baseline = values[[0, 2, 1, 3]]  # uncorrelated, and the differences have deviation 1
    trials = trials_for(effect, values, baseline, test, 0.05, comparisons)
    assert found(test, effect, trials, 0.05 / comparisons) >= 0.8 - 3 * math.sqrt(0.16 / 500)
    if test == "permutation":
        assert found(test, effect, trials - 2, 0.05 / comparisons) < 0.8


def test_no_fewer_than_can_be_significant() -> None:
    values, baseline = np.array([0.1, 0.1001, 0.1, 0.0999]), np.zeros(4)
    assert [trials_for(1.0, values, baseline, "permutation", 0.05, m) for m in (1, 4, 160)] == [6, 8, 13]
    assert trials_for(1.0, values, baseline, "welch", 0.05, 1) == 2
    assert trials_for(1.0, np.ones(4), baseline, "wilcoxon", 0.05, 1) == 6


def test_what_pairs_share_counts_in_welchs_test_alone() -> None:
    values = np.array([0.80, 0.85, 0.90, 0.95])
    baseline = values + [0.001, -0.001, 0.001, -0.001]
    assert trials_for(0.02, values, baseline, "permutation", 0.05, 1) == 6
    deviation = math.hypot(values.std(ddof=1), baseline.std(ddof=1))
    assert trials_for(0.02, values, baseline, "welch", 0.05, 1) == trials_needed(0.02, deviation) > 100


@pytest.mark.parametrize(
    ("difference", "deviation", "changes"),
    [(0, 1, {}), (1, -1, {}), (math.nan, 1, {}), (1, math.inf, {}), (1, 1, {"alpha": 0}), (1, 1, {"power": 1})],
)
def test_what_makes_no_sense_is_refused(difference: float, deviation: float, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected: .* Received: "):
        trials_needed(difference, deviation, **changes)
