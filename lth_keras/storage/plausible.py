"""Checks for impossible numbers in a level file, which show that it is damaged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lth_keras.mask import PackedBits, count_kept

SHARES = ("accuracy", "micro_f1")
"""Metrics that lie in [0, 1]."""
_ROUNDING = 1e-5


def check_scalars(scalars: Mapping[str, float], step: np.ndarray, kept: int, size: int) -> None:
    """Checks a level's density, early-stop step, times and memory.

    Raises:
        ValueError: The density is not that of a mask that keeps `kept` of `size` weights; the early-stop step was not
            evaluated; a time or memory is negative or infinite.
    """
    density, stop = scalars["density"], scalars["early_stop_step"]
    if not abs(density - kept / size) <= _ROUNDING:
        raise ValueError(f"density {density}, and a mask that keeps {kept} of {size} weights, {kept / size}")
    if stop not in step:
        raise ValueError(f"early_stop_step {stop}, which is none of its evaluations")
    for name in ("seconds", "peak_memory_bytes"):
        if not 0 <= scalars[name] < math.inf:
            raise ValueError(f"{name} {scalars[name]}")


def check_shares(metric: str, measured: Mapping[str, np.ndarray | float]) -> None:
    """Raises ValueError if a value of a metric in [0, 1], or of an accuracy beside it, is outside; NaN is allowed."""
    for name, values in measured.items():
        if metric in SHARES and ("accuracy" in name or metric in name):
            outside = np.atleast_1d(values)
            outside = outside[(outside < -_ROUNDING) | (outside > 1 + _ROUNDING)]
            if outside.size:
                raise ValueError(f"{name} of {outside[0]}, where a share is at most 1")


def check_nested(key: str, mask: PackedBits, next_mask: PackedBits) -> None:
    """Raises ValueError if a weight's next mask is no subset of its mask."""
    if back := count_kept(~mask.bits & next_mask.bits):
        raise ValueError(f"a next mask that keeps {back} weights of {key!r} that its mask has pruned")
