"""Overlaps of masks for run.h5, computed from level files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import xarray

from lth_keras.analysis import BRANCH_ORDER, DENSE, MEANING, OTHER, OVERLAP, PAIRS, mask_overlaps
from lth_keras.storage.levels import packed_mask


def overlap_variables(
    dataset: xarray.Dataset,
    path_of: Callable[[int, str, int], Path],
    finished: Collection[tuple[int, str, int]],
) -> xarray.Dataset:
    """Overlaps of masks at every level; NaN if one of the two masks is missing.

    Args:
        dataset: The run.
        path_of: (seed, branch, level) -> the path of its level file.
        finished: Those with a level file.

    Returns:
        `mask_overlap` (trial, branch, level) float64 in [0, 1], the overlap with the winning ticket's mask, and
        `mask_overlap_pairs` (trial, level, branch, other_branch), the overlap of each pair of branches.

    Raises:
        DamagedFile, OSError: A file that `lth_keras.storage.read_level` would not read.
        ValueError: Masks of different models.
    """
    there = {path_of(*key) for key in finished}
    branches = [str(branch) for branch in dataset.branch.values]
    own = json.loads(dataset.attrs["own_dense"])
    pairs = np.full((dataset.sizes["trial"], dataset.sizes["level"], len(branches), len(branches)), np.nan)
    for trial, level in np.ndindex(pairs.shape[:2]):
        seed, number = int(dataset.trial.values[trial]), int(dataset.level.values[level])
        stored = [branch if number or branch in own else DENSE for branch in branches]
        paths = [path_of(seed, branch, number) for branch in stored]
        files = sorted(there & set(paths))  # branches with a shared dense network have one file
        known = [(place, files.index(path)) for place, path in enumerate(paths) if path in there]
        if known:
            places, of_file = map(list, zip(*known, strict=True))
            shared = mask_overlaps({str(file): packed_mask(file) for file in files})
            pairs[trial, level][np.ix_(places, places)] = shared[np.ix_(of_file, of_file)]
    winning = np.full(pairs.shape[:3], np.nan)
    if BRANCH_ORDER[0] in branches:
        winning = pairs[..., branches.index(BRANCH_ORDER[0])]
    return xarray.Dataset(
        {
            OVERLAP: (("trial", "branch", "level"), winning.swapaxes(1, 2), MEANING[OVERLAP]),
            PAIRS: (("trial", "level", "branch", OTHER), pairs, MEANING[PAIRS]),
        },
        {OTHER: (OTHER, np.asarray(branches, object), MEANING[OTHER])},
    )
