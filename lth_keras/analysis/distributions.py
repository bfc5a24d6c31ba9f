"""Summaries of distributions: quantiles of negative and of positive values, and rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used

SIGNS = ("negative", "positive")
QUANTILES = (0.0, 0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99, 1.0)
"""The shares of the values of a sign that lie at or below each quantile."""
MOST = 2**20
"""Larger arrays are sampled with this many evenly spaced values. The error of shares is below one thousandth."""


class Distribution(NamedTuple):
    """The distribution of the values of an array.

    Magnitude pruning leaves a gap around zero, so each sign has separate quantiles, which do not lie in the gap. Unlike
    histograms, quantiles need no bin edges that suit both weights and scores.

    Attributes:
        shares: (2,) float64, shares of negative and of positive values; the others are zero. NaN if there are no
            values.
        quantiles: (2, len(QUANTILES)) float32 of negative and of positive values; NaN if there are none.
    """

    shares: np.ndarray
    quantiles: np.ndarray


class Distributions(NamedTuple):
    """Distributions of weights and scores at a level; empty if not requested.

    Attributes:
        weights: `initial` and `final` to each weight's distribution of kept entries, before and after training.
        scores: Criterion to each weight's distribution of scores, of the dense network before training.
        correlations: (criteria, criteria) float64, rank correlations of these scores over all weights.
    """

    weights: Mapping[str, Mapping[str, Distribution]] = {}
    scores: Mapping[str, Mapping[str, Distribution]] = {}
    correlations: np.ndarray | None = None


def distribution(values: np.ndarray) -> Distribution:
    """The distribution of an array of finite values, sampled if it has more than `MOST`."""
    values = evenly(values.ravel(), MOST)
    shares, quantiles = np.full(len(SIGNS), np.nan), np.full((len(SIGNS), len(QUANTILES)), np.nan, np.float32)
    for i, of_sign in enumerate((values[values < 0], values[values > 0])):
        if values.size:
            shares[i] = of_sign.size / values.size
        if of_sign.size:
            quantiles[i] = np.quantile(of_sign.astype(np.float32), QUANTILES)
    return Distribution(shares, quantiles)


def rank_correlations(arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Spearman's rank correlation of each pair of n mappings, over the values of all keys.

    Equal values share their mean rank. Of more than `MOST` values in all, `MOST` evenly spaced ones are used, from each
    key in proportion to its size.

    Args:
        arrays: All with the same keys and shapes.

    Returns:
        (n, n) float64, symmetric; NaN for mappings of constant values.
    """
    ranks = [scipy.stats.rankdata(_sample(of_one)) for of_one in arrays]
    centred = np.array([of_one - of_one.mean() for of_one in ranks])
    length = np.linalg.norm(centred, axis=1)
    with np.errstate(invalid="ignore"):
        return centred @ centred.T / np.outer(length, length)


def _sample(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    flat = {key: np.ravel(arrays[key]) for key in arrays}
    share = min(1.0, MOST / sum(values.size for values in flat.values()))
    return np.concatenate([evenly(values, max(1, round(share * values.size))) for values in flat.values()])


def evenly(values: np.ndarray, most: int) -> np.ndarray:
    """`values` (n,), or `most` of them, evenly spaced from the first to the last."""
    if values.size <= most:
        return values
    return values[np.linspace(0, values.size - 1, most).astype(np.int64)]
