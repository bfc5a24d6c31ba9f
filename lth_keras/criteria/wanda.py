"""Magnitude times activation: how much a weight contributes to its layer's output on data."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State


def wanda(state: State) -> LazyArrays:
    """|w| * ||x||: the magnitude of a weight times the L2 norm of its input over the examples and positions.

    Source: Sun, Liu, Bair & Kolter (2023), arXiv:2306.11695, equation 1. The paper ranks the weights of each output on
    its own; a pattern N:M does so within every M inputs, scopes rank across outputs.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: without data, or naming weights whose inputs are not known.
    """
    norms = state.input_norms
    return LazyArrays(state.mask.shapes, lambda key: np.abs(state.value(key)) * norms[key])
