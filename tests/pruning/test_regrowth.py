"""The exchange of weights: how many of each layer, and which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_keras.mask import Mask
from lth_keras.pruning import drop_and_grow


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0.05, 1))
def test_each_layer_drops_its_lowest_and_grows_the_highest_of_the_rest(seed: int, share: float, density: float) -> None:
    generator = np.random.default_rng(seed)
    shapes = {"a": (7, 5), "b": (4,)}
    mask = Mask({key: generator.random(shape) < density for key, shape in shapes.items()})
    # Few values, so that some tie.
    drop, grow = ({key: generator.integers(0, 9, shape) * 1.0 for key, shape in shapes.items()} for _ in range(2))
    swaps = {key: int(share * kept) for key, kept in mask.counts().items()}
    new = drop_and_grow(mask, drop, grow, swaps, generator=generator)
    assert new.counts() == mask.counts()
    for key in mask:
        dropped, grown = mask[key] & ~new[key], new[key] & ~mask[key]
        assert dropped.sum() == grown.sum() <= swaps[key]
        if dropped.any():
            # A weight that dropped and grew again is kept in the new mask: no kept one need be above a dropped one.
            stays = np.sort(drop[key][mask[key]])[swaps[key] - 1]
            assert drop[key][dropped].max() <= stays
            assert grow[key][grown].min() >= grow[key][~new[key]].max(initial=-1)


def test_scores_that_are_not_finite_are_refused() -> None:
    mask = Mask({"a": np.array([True, False])})
    with pytest.raises(ValueError, match="diverged"):
        drop_and_grow(
            mask, {"a": np.array([np.nan, 0])}, {"a": np.zeros(2)}, {"a": 1}, generator=np.random.default_rng()
        )
