"""How fast a series of memory sizes grows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np


def growth(used: Sequence[int], first: int) -> dict[str, Any]:
    """What a level costs, from level `first` to the last.

    Args:
        used: bytes after level 0, 1, ...; at least three from `first` on.
        first: the level to start at.

    Returns:
        `growth_bytes`, last minus first; `slope_bytes`, per level, by least squares; `interval_bytes`, its 95%
        confidence interval for independent normal errors.
    """
    y = np.asarray(used[first:], np.float64)
    x = np.arange(first, first + len(y))
    deviations = x - x.mean()
    squares = (deviations**2).sum()
    slope = (deviations * y).sum() / squares
    residuals = y - y.mean() - slope * deviations
    freedom = len(y) - 2
    error = np.sqrt((residuals**2).sum() / freedom / squares)
    half = t_quantile(0.975, freedom) * error
    return {
        "growth_bytes": int(y[-1] - y[0]),
        "slope_bytes": float(slope),
        "interval_bytes": [float(slope - half), float(slope + half)],
    }


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, within 1% from 3 degrees of freedom on and 0.01% from 10 on.

    Source: "Handbook of Mathematical Functions", Abramowitz & Stegun, 1964, equation 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * freedom**4)
    )
