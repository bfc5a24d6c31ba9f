"""Numbers over trials: mean with least and greatest, as the papers draw them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray


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
