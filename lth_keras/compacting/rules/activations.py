"""Activations: which look at one channel at a time, and what they make of constants."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lth_keras.compacting.rules.values import array

_BY_CHANNEL = (
    "linear relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid hard_sigmoid hard_silu hard_tanh log_sigmoid "
    "tanh tanh_shrink softplus softsign soft_shrink hard_shrink squareplus exponential threshold"
).split()
_KNOWN = tuple(getattr(keras.activations, name) for name in _BY_CHANNEL if hasattr(keras.activations, name))


def mixes(activation: Any) -> bool:
    """Whether an activation may look at several channels at once."""
    return activation is not None and activation not in _KNOWN


def activated(activation: Any, values: np.ndarray) -> np.ndarray:
    """The activation of each value; NaN where it is NaN, and for activations that mix channels."""
    if activation is None:
        return values
    if mixes(activation):
        return np.full(values.shape, np.nan)
    made = array(activation(keras.ops.convert_to_tensor(np.nan_to_num(values), keras.config.floatx())))
    return np.where(np.isnan(values), np.nan, made)
