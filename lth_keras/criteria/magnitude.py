"""The magnitude of the trained weights: the criterion of the lottery ticket papers."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State


def magnitude(state: State) -> LazyArrays:
    """|w| of the weights at the end of training.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 2, after Han et al. (2015),
    arXiv:1506.02626, section 3.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.
    """
    return LazyArrays(state.mask.shapes, lambda key: np.abs(state.value(key)))
