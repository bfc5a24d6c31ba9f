"""Gradient signal preservation: how much gradient flow goes with a weight."""

from __future__ import annotations

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State

TEMPERATURE = 200.0
"""Divides the softmax' logits, as in the authors' code; the network's outputs are then nearly uniform."""


def grasp(state: State) -> LazyArrays:
    """W * Hg, with the loss' gradient g and Hessian H at a softmax temperature of 200: the lost gradient flow.

    The gradient flow is |g|^2, and moving the weights by d changes it by 2 d^T H g in first order. Removing a weight
    is d = -w and increases the flow by -w * Hg: the score of the paper, which removes the highest. Here the highest are
    kept, so the sign is reversed. Weights whose removal increases the flow most are removed first; `grasp_magnitude`
    ignores the sign.

    Source: Wang, Zhang & Grosse (2020), arXiv:2002.07376, equation 8. The authors' code keeps what is at or below the
    threshold of -w * Hg, which is equivalent.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: without data, labels or a loss, or where a product is not finite or all are zero.
    """
    products = state.hessian_gradients_at(TEMPERATURE)
    return LazyArrays(state.mask.shapes, lambda key: state.value(key) * products[key])
