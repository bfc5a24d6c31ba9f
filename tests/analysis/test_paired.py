"""Paired tests agree with SciPy and with numbers worked out by hand, and err as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lth_keras.analysis import paired
from lth_keras.analysis.paired import (
    EXACT_PAIRS,
    TESTS,
    cohen_dz,
    differences,
    hedges_g,
    holm,
    least_p,
    least_trials,
    permutation_p,
    welch_p,
    wilcoxon_p,
)
from tests.few import few

BY_HAND = np.array([3.0, 5.0, -1.0, 2.0]), np.zeros(4)  # the sum is 9


def normal(pairs: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, pairs), generator.normal(0, 1, pairs)


def mean_of(sample: np.ndarray, axis: int) -> np.ndarray:
    return sample.mean(axis)


def measured(counts: np.ndarray, examples: int) -> np.ndarray:
    """Accuracies as they are in run.h5: right answers by examples, rounded to float32."""
    return (counts / examples).astype(np.float32).astype(np.float64)


def test_permutation_by_hand() -> None:
    # Of 16 flips the sums 11 (-1 turned) and 9 are as far out as 9, and so are their opposites.
    assert permutation_p(*BY_HAND) == 4 / 16
    assert permutation_p(np.arange(1.0, 6.0), np.zeros(5)) == 2 / 32
    assert permutation_p(np.zeros(5), np.zeros(5)) == 1


@pytest.mark.parametrize("pairs", [2, 5, 9, EXACT_PAIRS])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_permutation_is_that_of_scipy(pairs: int, shift: float) -> None:
    values, baseline = normal(pairs, shift, pairs)
    expected = stats.permutation_test(
        (values - baseline,), mean_of, permutation_type="samples", n_resamples=2**EXACT_PAIRS, vectorized=True
    )
    assert permutation_p(values, baseline) == pytest.approx(expected.pvalue, abs=1e-12)


def test_permutation_with_many_pairs_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values, baseline = normal(EXACT_PAIRS, 0.8, 1)
    exact = permutation_p(values, baseline)
    monkeypatch.setattr(paired, "EXACT_PAIRS", 0)
    assert permutation_p(values, baseline) == pytest.approx(exact, rel=0.1)
    assert permutation_p(values, baseline) == permutation_p(values, baseline)
    assert permutation_p(np.full(40, 1.0), np.zeros(40)) == least_p("permutation", 40) == 1e-5


@pytest.mark.parametrize("examples", [10_000, 3019])
def test_ties_that_float32_has_broken_are_ties_again(examples: int) -> None:
    beside = np.array([410, 503, 344, 773, 2495])
    right = beside + [3, -2, 1, 6, 3]
    values, baseline = measured(right, examples), measured(beside, examples)
    assert len(set(np.abs(values - baseline))) > len(set(np.abs(right - beside)))
    assert len(set(np.abs(differences(values, baseline)))) == 4
    whole = right.astype(float), beside.astype(float)
    assert permutation_p(values, baseline) == permutation_p(*whole)
    assert wilcoxon_p(values, baseline) == wilcoxon_p(*whole)
    np.testing.assert_allclose(differences(values, baseline) * examples, right - beside, atol=1e-3)


def test_wilcoxon_is_that_of_scipy() -> None:
    for pairs in (5, 12, 30):
        values, baseline = normal(pairs, 0.5, pairs)
        expected = stats.wilcoxon(values, baseline, method="exact").pvalue
        assert wilcoxon_p(values, baseline) == pytest.approx(expected, abs=1e-12)


def test_wilcoxon_by_hand() -> None:
    # Ranks 3, 4, 1, 2 of which that of 1 is negative: rank sums of at most 1 on either side are 4 of 16.
    assert wilcoxon_p(*BY_HAND) == 4 / 16
    assert wilcoxon_p(np.array([1.0, 2.0, 3.0, 0.0]), np.zeros(4)) == 2 / 8  # the pair without a difference is left out
    assert wilcoxon_p(np.zeros(5), np.zeros(5)) == 1


def test_welch_is_that_of_its_formula() -> None:
    values, baseline = np.array([3.0, 4.0, 5.0, 8.0]), np.array([1.0, 2.0, 2.0, 3.0])
    squares = np.array([values.var(ddof=1), baseline.var(ddof=1)]) / 4
    freedom = squares.sum() ** 2 / (squares**2 / 3).sum()
    expected = 2 * stats.t.sf((values.mean() - baseline.mean()) / math.sqrt(squares.sum()), freedom)
    assert welch_p(values, baseline) == pytest.approx(expected)


def test_without_variance_there_is_no_welch_and_no_effect() -> None:
    values, baseline = np.full(4, 0.9), np.full(4, 0.8)
    assert math.isnan(welch_p(values, baseline))
    assert math.isnan(cohen_dz(values, baseline)) and math.isnan(hedges_g(values, baseline))


def test_effects_by_hand() -> None:
    values, baseline = np.array([3.0, 5.0, 7.0]), np.array([2.0, 3.0, 4.0])
    assert cohen_dz(values, baseline) == pytest.approx(2 / 1)  # differences 1, 2, 3
    assert hedges_g(values, baseline) == pytest.approx((1 - 3 / 15) * 2 / math.sqrt((4 + 1) / 2))


@few("test", TESTS, "permutation")
def test_type_one_error_is_at_most_alpha(test: str) -> None:
    generator = np.random.default_rng(0)
    values, baseline = generator.normal(0, 1, (2, 1_000, 8))
    p = np.array([TESTS[test](x, y) for x, y in zip(values, baseline, strict=True)])
    for alpha in (0.05, 0.2):
        assert np.mean(p <= alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / len(p))
    assert np.mean(p <= 0.05) > 0.03  # and is not idle either


def test_the_permutation_test_holds_for_skewed_trials_too() -> None:
    generator = np.random.default_rng(1)
    values, baseline = generator.exponential(1, (2, 2_000, 8))
    p = np.array([permutation_p(x, y) for x, y in zip(values, baseline, strict=True)])
    assert np.mean(p <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(p))


def test_holm_keeps_the_error_of_a_whole_table() -> None:
    generator = np.random.default_rng(2)
    baseline = generator.normal(0, 1, (400, 10))
    wrong = 0
    for beside in baseline:
        p = [permutation_p(values, beside) for values in generator.normal(0, 1, (8, 10))]
        wrong += bool((holm(p) <= 0.05).any())
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.5]), [1, 1])
    np.testing.assert_array_equal(holm([0.01, math.nan]), [0.02, math.nan])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    corrected, raw = holm(p), np.array(p)
    assert (np.diff(corrected[np.argsort(raw, kind="stable")]) >= 0).all()
    assert (corrected >= raw).all() and (corrected <= np.minimum(1, len(p) * raw)).all()


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=9), st.integers(1, 1_000), st.randoms(use_true_random=False))
def test_permutation_does_not_see_sign_scale_or_order(whole: list[int], scale: int, random) -> None:
    values = np.array(whole, float)
    shuffled = values.copy()
    random.shuffle(shuffled)
    nothing = np.zeros(len(values))
    p = permutation_p(values, nothing)
    assert p == permutation_p(-values, nothing) == permutation_p(values * scale, nothing)
    assert p == permutation_p(nothing, values) == permutation_p(shuffled, nothing)
    assert least_p("permutation", len(values)) <= p <= 1


@pytest.mark.parametrize(("comparisons", "expected"), [(1, 6), (2, 7), (4, 8), (20, 10), (160, 13)])
def test_how_many_trials_anything_takes_to_be_significant(comparisons: int, expected: int) -> None:
    for test in ("permutation", "wilcoxon"):
        assert least_trials(test, comparisons, 0.05) == expected
    largest = np.arange(1.0, expected + 1)
    for pairs, significant in ((expected, True), (expected - 1, False)):
        p = permutation_p(largest[:pairs], np.zeros(pairs))
        assert p == least_p("permutation", pairs)
        assert (holm([p] * comparisons) <= 0.05).all() == significant
    assert least_trials("welch", comparisons, 0.05) == 2


def test_more_comparisons_than_random_flips_can_tell_are_refused() -> None:
    assert least_trials("permutation", 5_000, 0.05) == 18
    with pytest.raises(ValueError, match="at most 5,000 comparisons.*5,001"):
        least_trials("permutation", 5_001, 0.05)
