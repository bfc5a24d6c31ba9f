"""How far training has moved a weight away from zero."""

from __future__ import annotations

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import Array, State


def movement(state: State) -> LazyArrays:
    """w_final * (w_final - w_initial): positive where a weight moved away from zero, negative towards it.

    Source: movement pruning of Sanh, Wolf & Rush (2020), arXiv:2005.07683, whose score adds up, over the steps, how
    gradient descent moves a weight times the weight; here the whole training is one step. Not "movement" of Zhou et
    al. (2019, arXiv:1905.01067), which is |w_final - w_initial|.

    Returns:
        Weight key to scores of the weight's shape and dtype, made on access.

    Raises:
        ValueError: the state has no initial weights.
    """
    state.initial_weights()  # or an error, before anything is scored

    def scores(key: str) -> Array:
        final = state.value(key)
        return final * (final - state.initial_value(key))

    return LazyArrays(state.mask.shapes, scores)
