"""Numbers of a level that cannot be: a file that has them is damaged, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from lth_keras.mask import PackedBits, count_kept

SHARES = ("accuracy", "micro_f1")
"""Metrics that lie in [0, 1]."""
_ROUNDING = 1e-5


def check_scalars(scalars: Mapping[str, float], step: np.ndarray, kept: int, size: int) -> None:
    """Checks a level's density against its mask, and its times.

    Args:
        scalars: by name, as `lth_keras.analysis.schema` has them.
        step: of its evaluations.
        kept: weights that its mask keeps.
        size: all prunable weights.

    Raises:
        ValueError: Another density than the mask's, NaN included; an early-stop step that was not evaluated; negative
            or infinite times or memory.
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
    """Checks what is measured by a metric that is a share.

    Args:
        metric: its name.
        measured: curves and scalars by name; those of the metric have `accuracy` or the metric's name in theirs.

    Raises:
        ValueError: A value outside [0, 1]. NaN, where nothing was evaluated, is none.
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
    """Checks that the next mask keeps nothing that the mask has pruned.

    Args:
        pairs: weight by weight, the mask's and the next one's key and bits; one is in memory at a time.

    Raises:
        ValueError: It does; names the weight.
    """
    for (key, packed), (_, following) in pairs:
        pruned = ~packed.bits
        pruned &= following.bits
        if back := count_kept(pruned):
            raise ValueError(f"a next mask that keeps {back} weights of {key!r} that its mask has pruned")
