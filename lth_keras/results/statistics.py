"""Numbers over trials: mean with least and greatest, as the papers draw them, and what the mean may be."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used
import xarray

RESAMPLES = 9_999
BCA_TRIALS = 30  # from here on BCa covers the mean as often as it says


class Spread(NamedTuple):
    """Over trials: mean, least and greatest (NaN where none has a value), how many have one."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: np.ndarray


def spread(variable: xarray.DataArray) -> Spread:
    """Mean, minimum and maximum of `variable` over its `trial` axis, and how many trials count.

    Args:
        variable: (trial, ...) floats; NaN where a trial has no value.

    Returns:
        Four arrays of the remaining shape, float64 and int64.

    Raises:
        ValueError: `variable` has no axis `trial`.
    """
    if "trial" not in variable.dims:
        raise ValueError(f"Expected: a variable over 'trial'. Received: axes {variable.dims}")
    axis = variable.dims.index("trial")
    values = np.asarray(variable.values, np.float64)
    there = np.isfinite(values)
    trials = there.sum(axis)
    total = np.where(there, values, 0.0).sum(axis)
    mean = np.full(trials.shape, np.nan)
    np.divide(total, trials, out=mean, where=trials > 0)
    low = np.where(there, values, np.inf).min(axis)
    high = np.where(there, values, -np.inf).max(axis)
    none = trials == 0
    return Spread(mean, np.where(none, np.nan, low), np.where(none, np.nan, high), trials)


class Interval(NamedTuple):
    """A confidence interval of a mean, and the bootstrap that gave it: `BCa`, or `expanded percentile`."""

    low: float
    high: float
    method: str


def bootstrap_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Bootstrap confidence interval of the mean, with `RESAMPLES` resamples and a fixed seed.

    From `BCA_TRIALS` values on it is BCa (Efron, 1987). For fewer, plain percentile and BCa are too narrow: of 5 values
    they hold the mean in 84% of cases instead of 95%. Hesterberg's expanded percentile interval (The American
    Statistician 69, 2015, 371-386) takes quantiles further out, `Phi(-sqrt(n / (n - 1)) t)` with Student's t, and
    holds it in 92%.

    Args:
        values: (n,) finite floats.
        confidence: Probability that the interval is to hold the mean with, in (0, 1).

    Returns:
        The interval; both ends NaN for a single value.
    """
    if len(values) < 2:
        return Interval(math.nan, math.nan, "none")
    if len(values) >= BCA_TRIALS and np.ptp(values) > 0:
        return _bootstrap(values, confidence, "BCa")
    ratio = math.sqrt(len(values) / (len(values) - 1))
    quantile = ratio * scipy.stats.t.isf((1 - confidence) / 2, len(values) - 1)
    expanded = 1 - 2 * scipy.stats.norm.sf(quantile)
    return _bootstrap(values, expanded, "percentile")._replace(method="expanded percentile")


def _bootstrap(values: np.ndarray, confidence: float, method: str) -> Interval:
    made = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=float(confidence),
        method=method,
        rng=np.random.default_rng(0),
    )
    return Interval(float(made.confidence_interval.low), float(made.confidence_interval.high), method)
