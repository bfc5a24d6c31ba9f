"""Gradient signal preservation: how much gradient flow goes with a weight."""

from __future__ import annotations

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import State

TEMPERATURE = 200.0
"""What the softmax' logits are divided by, as in the authors' code: the network's outputs are then nearly uniform."""


def grasp(state: State) -> LazyArrays:
    """What the gradient flow loses: w * Hg, with the loss' gradient g and Hessian H at a softmax temperature of 200.

    The gradient flow is |g|^2, and moving the weights by d changes it by 2 d^T H g in first order. Removing a weight
    is d = -w, so -w * Hg is what the flow gains by it: the score of the paper, which removes the highest. Higher is
    kept here, so the sign is turned round. Weights whose removal would increase the flow most go first; it is not
    the magnitude that counts (that is `grasp_magnitude`).

    Source: Wang, Zhang & Grosse (2020), arXiv:2002.07376, equation 8. The authors' code keeps what is at or below the
    threshold of -w * Hg, which is the same end.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: without data, labels or a loss, or where a product is not finite or all are zero.
    """
    products = state.hessian_gradients_at(TEMPERATURE)
    return LazyArrays(state.mask.shapes, lambda key: state.value(key) * products[key])
