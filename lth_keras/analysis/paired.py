"""Two branches on the same seeds: tests of their difference, Holm's correction, effect sizes.

Every function takes the values of both branches as float arrays of shape (pairs,). Measured values are float32, so
equal differences can differ in the eighth digit. They count as equal here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import scipy  # its parts load when they are used

EXACT_PAIRS = 14  # up to this number all 2^n sign flips are used
RESAMPLES = 99_999  # number of random sign flips for more pairs
WILCOXON_EXACT = 50  # SciPy uses the normal distribution for more pairs


def permutation_p(values: np.ndarray, baseline: np.ndarray) -> float:
    """Two-sided p of the paired permutation test of the mean difference.

    The share of sign flips of the differences whose sum is at least as far from 0 as the observed sum: of all sign
    flips up to `EXACT_PAIRS` pairs, else of `RESAMPLES` random ones (fixed seed) and the observed one. Valid for any
    distribution of differences that is symmetric about 0 under the null hypothesis (Fisher, The Design of Experiments,
    1935).
    """
    difference = differences(values, baseline)
    pairs = len(difference)
    sums = np.abs(_signs(pairs, EXACT_PAIRS) @ difference)
    return float(np.mean(sums >= abs(difference.sum()) - 2 * pairs * _resolution(values, baseline)))


def wilcoxon_p(values: np.ndarray, baseline: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945); pairs without a difference do not count.

    Exact up to `WILCOXON_EXACT` pairs, or up to 13 if sizes of differences tie; else by the normal distribution.
    """
    difference = differences(values, baseline)
    difference = difference[difference != 0]
    return float(scipy.stats.wilcoxon(difference).pvalue) if difference.size else 1.0


def welch_p(values: np.ndarray, baseline: np.ndarray) -> float:
    """Two-sided p of Welch's t test (1947), which ignores the pairs; NaN if neither side varies."""
    if max(_deviation(values), _deviation(baseline)) == 0:
        return math.nan
    with warnings.catch_warnings():
        # Trials with equal values, as of networks that pruning has disconnected, are no loss of precision.
        warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
        return float(scipy.stats.ttest_ind(values, baseline, equal_var=False).pvalue)


TESTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "permutation": permutation_p,
    "wilcoxon": wilcoxon_p,
    "welch": welch_p,
}


def least_p(test: str, pairs: int) -> float:
    """The least possible p of `test` with this number of pairs."""
    if test == "welch" or (test == "wilcoxon" and pairs > WILCOXON_EXACT):
        return 0.0
    of_random = 1 / (RESAMPLES + 1) if test == "permutation" and pairs > EXACT_PAIRS else 0.0
    return max(min(1.0, 2.0 ** (1 - pairs)), of_random)


def least_trials(test: str, comparisons: int, alpha: float) -> int:
    """Least number of trials with which one of `comparisons` can be significant at `alpha` after Holm's correction.

    Raises:
        ValueError: No number of trials is enough, since `RESAMPLES` bounds p from below.
    """
    for trials in range(2, WILCOXON_EXACT + 2):
        if comparisons * least_p(test, trials) <= alpha:
            return trials
    most = math.floor(alpha * (RESAMPLES + 1))
    raise ValueError(
        f"Expected: at most {most:,} comparisons, as p is {1 / (RESAMPLES + 1):g} at least. "
        f"Received: {comparisons:,}; compare at fewer densities"
    )


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's corrected p (1979): rejecting at alpha gives a family-wise error rate of at most alpha.

    The k-th least of m is multiplied by m - k + 1, raised to the previous one if it is less, and limited to 1. NaN
    stays NaN and counts in m.
    """
    raw = np.asarray(p, np.float64)
    order = np.argsort(np.where(np.isnan(raw), np.inf, raw), kind="stable")
    factors = np.arange(len(raw), 0, -1)
    corrected = np.empty(len(raw))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * factors))
    return corrected


def cohen_dz(values: np.ndarray, baseline: np.ndarray) -> float:
    """Mean difference in standard deviations of the differences (Cohen, 1988); NaN if they do not vary."""
    difference = differences(values, baseline)
    return _ratio(float(difference.mean()), _deviation(difference))


def hedges_g(values: np.ndarray, baseline: np.ndarray) -> float:
    """Mean difference in standard deviations of the trials, with the small-sample correction of Hedges (1981)."""
    pooled = math.hypot(_deviation(values), _deviation(baseline)) / math.sqrt(2)
    correction = 1 - 3 / (4 * (2 * len(values) - 2) - 1)
    return correction * _ratio(float(differences(values, baseline).mean()), pooled)


def differences(values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """`values - baseline`; sizes that float32 cannot distinguish are made equal, and those near 0 are set to 0."""
    raw = values - baseline
    sizes = np.abs(raw)
    order = np.argsort(sizes)
    group = np.empty(len(raw), int)
    group[order] = np.cumsum(np.diff(sizes[order], prepend=0.0) > 2 * _resolution(values, baseline))
    means = np.bincount(group, sizes) / np.maximum(np.bincount(group), 1)
    means[0] = 0.0  # group 0 holds the values near 0
    return np.sign(raw) * means[group]


@lru_cache(maxsize=1)  # most rows of a table have the same number of pairs
def _signs(pairs: int, exact: int) -> np.ndarray:
    """Sign flips as float64 (flips, pairs) of 1 and -1: all for up to `exact` pairs, else no flip and random ones."""
    if pairs <= exact:
        flips = np.arange(2**pairs)[:, None] >> np.arange(pairs) & 1
    else:
        random = np.random.default_rng(0).integers(0, 2, (RESAMPLES, pairs), np.int8)
        flips = np.concatenate([np.zeros((1, pairs), np.int8), random])
    return 1.0 - 2.0 * flips


def _resolution(values: np.ndarray, baseline: np.ndarray) -> float:
    """The rounding error of a difference of two float32 of this size."""
    return float(np.finfo(np.float32).eps * max(np.abs(values).max(), np.abs(baseline).max()))


def _deviation(values: np.ndarray) -> float:
    """Standard deviation with n - 1; 0 if float32 cannot distinguish the values."""
    apart = np.ptp(values) > 2 * np.finfo(np.float32).eps * np.abs(values).max()
    return float(np.std(values, ddof=1)) if apart else 0.0


def _ratio(difference: float, deviation: float) -> float:
    return difference / deviation if deviation > 0 else math.nan
