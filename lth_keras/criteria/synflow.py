"""Synaptic flow: how much of the linearised network's output passes through a weight."""

from __future__ import annotations

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State


def synflow(state: State) -> LazyArrays:
    """|w| * dR/d|w| with R = 1^T (|W_L| ... |W_1|) 1: the sum, over all paths through the weight, of their products.

    Takes no data. In a chain the scores of each layer add up to R, and those of a hidden unit's incoming weights to the
    same as those of its outgoing ones. All scores are scaled by one positive factor, so that none overflows.

    Source: Tanaka et al. (2020), arXiv:2006.05467: the loss R_SF, and theorems 1 and 2; it prunes in 100 shots.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: where the flow is not finite, or all zero as the network is cut through; or with LoRA.
    """
    if state.updates:
        raise ValueError(
            f"Expected weights without LoRA for {state.criterion!r}: synaptic flow passes through the magnitudes of "
            f"weights, not of their updates. Received: LoRA in {', '.join(state.updates)}."
        )
    flow = state.synaptic_flow
    return LazyArrays(state.mask.shapes, lambda key: np.abs(state.final[key]) * flow[key])
