"""Histograms of what run.h5 has quantiles of."""

from __future__ import annotations

import numpy as np
import xarray

_STEPS = 200


def shares_in_bins(
    quantiles: xarray.DataArray, shares: xarray.DataArray, amounts: xarray.DataArray, edges: np.ndarray
) -> np.ndarray:
    """Share of the values of several distributions together that lies in each bin; zeros lie in none.

    Between its quantiles a distribution is taken to be even.

    Args:
        quantiles: (..., sign, quantile), NaN where there are no values; with the coordinate `quantile`.
        shares: (..., sign), of a sign among the values of a distribution.
        amounts: (...), how many values each distribution is of, 0 or more.
        edges: (n + 1,), increasing.

    Returns:
        (n,) float64, the sum at most 1; NaN where there are no values at all.
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
    """How far from zero a share `inside` of the values lies at most, to half a percent of the farthest of them.

    Args:
        quantiles: As `shares_in_bins`.
        shares: As `shares_in_bins`.
        amounts: As `shares_in_bins`.
        inside: In (0, 1).

    Returns:
        A distance above 0; 0 where there are no values but zeros.
    """
    farthest = float(np.abs(quantiles).max())
    if not farthest > 0:
        return 0.0
    edges = np.linspace(-farthest, farthest, 2 * _STEPS + 1)
    in_bins = shares_in_bins(quantiles, shares, amounts, edges)
    within = np.cumsum(in_bins[_STEPS:] + in_bins[:_STEPS][::-1])
    return float(edges[_STEPS + 1 :][np.argmax(within >= inside * within[-1])])
