"""Histograms from the quantiles in run.h5."""

from __future__ import annotations

import numpy as np
import xarray

_STEPS = 200


def shares_in_bins(
    quantiles: xarray.DataArray, shares: xarray.DataArray, amounts: xarray.DataArray, edges: np.ndarray
) -> np.ndarray:
    """Share of the values of several distributions in each bin. Zeros are in no bin.

    Distributions are assumed uniform between quantiles.

    Args:
        quantiles: (..., sign, quantile), NaN if there are no values; with the coordinate `quantile`.
        shares: (..., sign), share of each sign among the values of a distribution.
        amounts: (...), number of values of each distribution, 0 or more.
        edges: (n + 1,), increasing.

    Returns:
        (n,) float64, with a sum of at most 1; NaN if there are no values.
    """
    axes = [axis for axis in quantiles.dims if axis not in ("sign", "quantile")]
    at = quantiles["quantile"].values
    values = quantiles.transpose(*axes, "sign", "quantile").values.reshape(-1, len(at))
    mass = (shares * amounts).transpose(*axes, "sign").values.ravel()
    there = shares.notnull().any("sign") & amounts.notnull()
    total = float(amounts.where(there).sum())
    if not total:
        return np.full(len(edges) - 1, np.nan)
    found = np.zeros(len(edges) - 1)
    for of_one, weight in zip(values, mass, strict=True):
        if weight > 0 and np.isfinite(of_one).all():
            found += weight * np.diff(np.interp(edges, of_one, at, left=0, right=1))
    return found / total


def half_width(
    quantiles: xarray.DataArray, shares: xarray.DataArray, amounts: xarray.DataArray, inside: float
) -> float:
    """The distance from zero within which a share `inside` of the values lies, to half a percent of the largest value.

    The values are given as in `shares_in_bins`. The distance is 0 if all of them are zero.
    """
    farthest = float(np.abs(quantiles).max())
    if not farthest > 0:
        return 0.0
    edges = np.linspace(-farthest, farthest, 2 * _STEPS + 1)
    in_bins = shares_in_bins(quantiles, shares, amounts, edges)
    within = np.cumsum(in_bins[_STEPS:] + in_bins[:_STEPS][::-1])
    return float(edges[_STEPS + 1 :][np.argmax(within >= inside * within[-1])])
