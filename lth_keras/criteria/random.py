"""Random scores, as a control for other criteria."""

from __future__ import annotations

from lth_keras.arrays import LazyArrays, uniform
from lth_keras.criteria.state import State


def random(state: State) -> LazyArrays:
    """Independent uniform draws from [0, 1), from the state's generator.

    Source: the randomly sampled sparse networks of Frankle & Carbin (2019), arXiv:1803.03635,
    figure 1.

    Returns:
        Weight key to float32 scores of the weight's shape, drawn on access.
    """
    return uniform(state.mask.shapes, state.generator)
