"""Number of trials that a comparison needs to find a difference."""

from __future__ import annotations

import math

import numpy as np
import scipy  # its parts load when they are used

from lth_keras.analysis.paired import least_trials

POWER = 0.8  # the probability to find an existing difference
_LARGE = 1_000  # the normal distribution is accurate enough for more trials


def trials_needed(difference: float, deviation: float, *, alpha: float = 0.05, power: float = POWER) -> int:
    """The least number of pairs with which a two-sided t test finds `difference` with probability `power`.

    From the noncentral t distribution (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988).

    Args:
        difference: To be found, not 0, in the unit of `deviation`.
        deviation: Standard deviation of the differences, 0 or more.
        alpha: Level of the test, in (0, 1).
        power: In (0, 1).

    Returns:
        2 or more.

    Raises:
        ValueError: A number is outside its range.
    """
    if not (difference and deviation >= 0 and math.isfinite(difference) and math.isfinite(deviation)):
        raise ValueError(
            f"Expected: a difference other than 0 and a deviation of 0 or more. Received: {difference}, {deviation}"
        )
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"Expected: alpha and power between 0 and 1. Received: {alpha}, {power}")
    if deviation == 0:
        return 2
    effect = abs(difference) / deviation
    z = scipy.stats.norm.isf(alpha / 2)
    by_normal = (max(0.0, z + scipy.stats.norm.ppf(power)) / effect) ** 2
    if by_normal > _LARGE:
        return math.ceil(by_normal + z**2 / 2)
    trials = max(2, math.ceil(by_normal))  # the t test needs at least as many
    while _power(trials, effect, alpha) < power:
        trials += 1
    return trials


def trials_for(
    difference: float, values: np.ndarray, baseline: np.ndarray, test: str, alpha: float, comparisons: int
) -> int:
    """Trials with which `test` finds `difference` at `alpha` over all comparisons, if trials vary as these pairs do.

    Computed for the t test, whose power is close to that of the paired tests, but at least the number with which they
    can be significant. If significance needs all differences of one sign, its probability counts,
    `Phi(difference / deviation)^trials`. Welch's test uses `sqrt(s1^2 + s2^2)` and its least possible degrees of
    freedom, those of one side.

    Args:
        difference: Above 0, in the unit of `values`.
        values: (pairs,) of a branch.
        baseline: (pairs,) of the other on the same seeds.
        test: A name in `lth_keras.analysis.paired.TESTS`.
        alpha: Level over all comparisons; each is tested at `alpha / comparisons`, Holm's strictest level.
        comparisons: 1 or more.
    """
    each = alpha / comparisons
    if test == "welch":
        deviation = math.hypot(np.std(values, ddof=1), np.std(baseline, ddof=1))
        return trials_needed(difference, deviation, alpha=each)
    deviation = float(np.std(values - baseline, ddof=1))
    trials = max(trials_needed(difference, deviation, alpha=each), least_trials(test, comparisons, alpha))
    one_sign = scipy.stats.norm.cdf(difference / deviation) if deviation > 0 else 1.0
    while 2.0 ** (2 - trials) > each and one_sign**trials < POWER:  # the next least p is too large
        trials += 1
    return trials


def _power(trials: int, effect: float, alpha: float) -> float:
    df, shift = trials - 1, effect * math.sqrt(trials)
    critical = scipy.stats.t.isf(alpha / 2, df)
    found = scipy.stats.nct.sf(critical, df, shift)
    return float(found) if math.isfinite(found) else float(shift > critical)
