"""The magnitude of the initial weights: a control that learns nothing from training."""

from __future__ import annotations

import numpy as np

from lth_keras.criteria.state import Array, State


def initial_magnitude(state: State) -> dict[str, Array]:
    """|w| of the weights before training.

    Source: the mask criterion "large init" of Zhou et al. (2019), arXiv:1905.01067.

    Returns:
        Weight key to scores of the weight's shape and dtype.

    Raises:
        ValueError: the state has no initial weights.
    """
    if state.initial is None:
        raise ValueError(
            "Expected the initial weights for the criterion 'initial_magnitude'. Received: "
            "State(initial=None); pass them, or use 'magnitude'."
        )
    return {key: np.abs(state.initial[key]) for key in state.mask}
