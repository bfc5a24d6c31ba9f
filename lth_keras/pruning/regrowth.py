"""Dynamic sparse training's step from one mask to the next: the only function here that brings pruned weights back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import BoolArray, Mask
from lth_keras.pruning.ranking import checked_scores, highest


def drop_and_grow(
    mask: Mask,
    drop_scores: Mapping[str, Array],
    grow_scores: Mapping[str, Array],
    swaps: Mapping[str, int],
    *,
    generator: np.random.Generator,
) -> Mask:
    """A mask that keeps as many weights of each layer, some of them exchanged for others.

    Each layer drops its `swaps[key]` kept weights of the lowest `drop_scores`, and then keeps as many of the highest
    `grow_scores` among all weights that are not kept, those just dropped included. Masks that this makes do not nest.

    Source: Mocanu et al. (2018), arXiv:1707.04780, algorithm 1; Evci et al. (2020), arXiv:1911.11134, algorithm 1.

    Args:
        mask: the mask so far.
        drop_scores: weight key to real scores of the weight's shape, finite where it is kept.
        grow_scores: the same, finite everywhere.
        swaps: weight key to a number, at most what the layer keeps.
        generator: breaks ties.

    Raises:
        ValueError: for scores that are not finite.
    """
    return Mask({key: _swapped(key, mask, drop_scores, grow_scores, swaps[key], generator) for key in mask}, copy=False)


def _swapped(
    key: str,
    mask: Mask,
    drop_scores: Mapping[str, Array],
    grow_scores: Mapping[str, Array],
    swaps: int,
    generator: np.random.Generator,
) -> BoolArray:
    kept: BoolArray = mask[key]
    if swaps == 0:
        return kept
    scores = checked_scores(key, drop_scores[key], kept)
    stays = highest({key: scores}, mask, int(np.count_nonzero(kept)) - swaps, generator)[key]
    scores = checked_scores(key, grow_scores[key], ~stays)
    return stays | highest({key: scores}, {key: ~stays}, swaps, generator)[key]
