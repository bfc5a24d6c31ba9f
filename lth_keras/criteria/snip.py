"""Connection sensitivity: how much the loss changes when a weight is removed."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State


def snip(state: State) -> LazyArrays:
    """|w * dL/dw|: the magnitude of the loss' derivative by the weight's mask c, in w * c, at c = 1.

    Source: Lee, Ajanthan & Torr (2018), arXiv:1810.02340, section 4. Its division by the sum of all scores is
    left out, as it does not change the ranking.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: without data, labels or a loss, or where a gradient is not finite or all are zero.
    """
    gradients = state.gradients
    return LazyArrays(state.mask.shapes, lambda key: np.abs(state.value(key) * gradients[key]))
