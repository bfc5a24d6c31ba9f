"""Random scores: the control that any criterion has to beat."""

from __future__ import annotations

import numpy as np

from lth_keras.criteria.state import Array, State


def random(state: State) -> dict[str, Array]:
    """Independent uniform draws from [0, 1), from the state's generator.

    Source: the randomly sampled sparse networks of Frankle & Carbin (2019), arXiv:1803.03635,
    figure 1.

    Returns:
        Weight key to float32 scores of the weight's shape.
    """
    draw = state.generator.random
    return {key: draw(shape, dtype=np.float32) for key, shape in state.mask.shapes.items()}
