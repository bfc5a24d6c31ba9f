"""The magnitude of GraSP's score: keeps the weights that change the gradient flow most, up or down."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.grasp import grasp
from lth_keras.criteria.state import State


def grasp_magnitude(state: State) -> LazyArrays:
    """|w * Hg|: preserves the gradient flow, where `grasp` increases it.

    Source: Lutz & Manai (2022), "Hitting the Jackpot", who found it better than the signed score. Lubana & Dick (2020),
    arXiv:2009.11839, argue for preserving the gradient norm instead of increasing it. It is not what the derivation of
    Wang et al. (2020), arXiv:2002.07376, supports: see `grasp`.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: as `grasp`.
    """
    scores = grasp(state)
    return LazyArrays(state.mask.shapes, lambda key: np.abs(scores[key]))
