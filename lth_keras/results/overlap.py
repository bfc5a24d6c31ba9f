"""How much of a winning ticket's mask the other branches' masks share, from level files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import xarray

from lth_keras.results.arrays import count
from lth_keras.results.levels import packed_mask
from lth_keras.results.schema import BRANCH_ORDER, OVERLAP_MEANING


def mask_overlaps(
    dataset: xarray.Dataset,
    path_of: Callable[[int, str, int], Path],
    finished: Collection[tuple[int, str, int]],
) -> xarray.DataArray:
    """Of every level the overlap with the winning ticket's; NaN where one of the two is missing.

    Args:
        dataset: The run.
        path_of: (seed, branch, level) -> where its level file is.
        finished: Those whose file is there.

    Returns:
        (trial, branch, level) float64 in [0, 1].
    """
    paths = {path_of(*key) for key in finished}
    overlaps = xarray.full_like(dataset.density, np.nan).assign_attrs(OVERLAP_MEANING._asdict())
    for place in np.ndindex(overlaps.shape):
        seed, branch, level = (dataset[name].values[i] for name, i in zip(overlaps.dims, place, strict=True))
        ours, winning = (path_of(int(seed), name, int(level)) for name in (str(branch), BRANCH_ORDER[0]))
        if {ours, winning} <= paths:
            overlaps.values[place] = 1.0 if ours == winning else mask_overlap(ours, winning)
    return overlaps


def mask_overlap(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> float:
    """Jaccard index of the masks that two levels trained, over all weights: |both| / |either|; 1.0 if both are empty.

    Masks stay packed, and a weight of each is in memory at a time.

    Args:
        path: A level file.
        other: That of another level of the same model.

    Raises:
        DamagedFile, OSError: A file that `lth_keras.results.read_level` would not read.
        ValueError: Masks of different models.
    """
    both = either = 0
    ours, theirs = packed_mask(path), packed_mask(other)
    for (key, mine), (their_key, their) in zip(ours, theirs, strict=True):
        if (key, mine.shape) != (their_key, their.shape):
            raise ValueError(
                f"Expected: masks of one model. Received: {key} {mine.shape} in {os.fspath(path)!r} and "
                f"{their_key} {their.shape} in {os.fspath(other)!r}"
            )
        both += count(np.bitwise_and(mine.bits, their.bits))
        either += count(np.bitwise_or(mine.bits, their.bits))
    return both / either if either else 1.0
