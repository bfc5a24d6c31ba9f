"""Checks for impossible numbers in a level file, which show that it is damaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from lth_keras.mask import PackedBits, count_kept

SHARES = ("accuracy", "micro_f1")
"""Metrics that lie in [0, 1]."""
_ROUNDING = 1e-5


def check_scalars(scalars: Mapping[str, float], step: np.ndarray, kept: int, size: int) -> None:
    """Checks a level's density, early-stop step, times and memory.

    Args:
        scalars: by name, see `lth_keras.analysis.schema`.
        step: of the evaluations.
        kept: number of kept weights.
        size: number of prunable weights.

    Raises:
        ValueError: The density is not the mask's; the early-stop step was not evaluated; a time or memory is negative
            or infinite.
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
    """Checks that values of a metric in [0, 1] are in this range.

    Args:
        metric: its name.
        measured: curves and scalars by name; names with `accuracy` or the metric's name are checked.

    Raises:
        ValueError: A value is outside [0, 1]. NaN, for no evaluation, is allowed.
    """
    if metric not in SHARES:
        return
    for name, values in measured.items():
        if "accuracy" in name or metric in name:
            outside = np.atleast_1d(values)
            outside = outside[(outside < -_ROUNDING) | (outside > 1 + _ROUNDING)]
            if outside.size:
                raise ValueError(f"{name} of {outside[0]}, where a share is at most 1")


def check_nested(pairs: Iterable[tuple[tuple[str, PackedBits], tuple[str, PackedBits]]]) -> None:
    """Checks that the next mask is a subset of the mask.

    Args:
        pairs: for each weight, key and bits of the mask and of the next one; one pair is in memory at a time.

    Raises:
        ValueError: It is not; names the weight.
    """
    for (key, packed), (_, following) in pairs:
        pruned = ~packed.bits
        pruned &= following.bits
        if back := count_kept(pruned):
            raise ValueError(f"a next mask that keeps {back} weights of {key!r} that its mask has pruned")
