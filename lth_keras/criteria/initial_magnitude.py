"""The magnitude of the initial weights: a control without information from training."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State


def initial_magnitude(state: State) -> LazyArrays:
    """|w| of the weights before training.

    Source: the mask criterion "large init" of Zhou et al. (2019), arXiv:1905.01067.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: the state has no initial weights.
    """
    state.initial_weights()  # or an error, before anything is scored
    return LazyArrays(state.mask.shapes, lambda key: np.abs(state.initial_value(key)))
