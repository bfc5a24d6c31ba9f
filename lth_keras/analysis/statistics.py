"""Statistics over trials: mean, least and greatest value, and intervals of the mean."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used
import xarray

RESAMPLES = 9_999


class Spread(NamedTuple):
    """Mean, least and greatest over trials (NaN if no trial has a value), and the number of trials with a value."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: np.ndarray


def spread(variable: xarray.DataArray) -> Spread:
    """Mean, minimum and maximum of `variable` over its `trial` axis, and the number of trials with a value.

    Args:
        variable: (trial, ...) floats; NaN if a trial has no value.

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
    """A confidence interval; NaN if there is none."""

    low: float
    high: float


def bootstrap_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Bootstrap confidence interval of the mean, with `RESAMPLES` resamples and a fixed seed.

    Hesterberg's expanded percentile interval (The American Statistician 69, 2015, 371-386): the quantiles of the
    resampled means at `Phi(-+ sqrt(n / (n - 1)) t)`, with the quantile t of Student's distribution. Plain percentile
    and BCa intervals are too narrow for as few values as trials; see docs/statistics.md.

    Args:
        values: (n,) finite floats.
        confidence: Probability that the interval holds the mean, in (0, 1).

    Returns:
        The interval; both ends NaN for a single value.
    """
    if len(values) < 2:
        return Interval(math.nan, math.nan)
    ratio = math.sqrt(len(values) / (len(values) - 1))
    quantile = ratio * scipy.stats.t.isf((1 - confidence) / 2, len(values) - 1)
    made = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=float(1 - 2 * scipy.stats.norm.sf(quantile)),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return Interval(float(made.confidence_interval.low), float(made.confidence_interval.high))
