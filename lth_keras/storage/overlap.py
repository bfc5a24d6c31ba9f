"""How much of their masks branches share, from level files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import xarray

from lth_keras.analysis.schema import BRANCH_ORDER, COORDINATE_MEANING, DENSE, OVERLAP_MEANING, PAIRS_MEANING
from lth_keras.storage.arrays import count
from lth_keras.storage.levels import packed_mask

PAIRS, OTHER = "mask_overlap_pairs", "other_branch"


def overlap_variables(
    dataset: xarray.Dataset,
    path_of: Callable[[int, str, int], Path],
    finished: Collection[tuple[int, str, int]],
) -> xarray.Dataset:
    """Of every level the overlap of masks, NaN where one of the two is missing.

    Args:
        dataset: The run.
        path_of: (seed, branch, level) -> where its level file is.
        finished: Those whose file is there.

    Returns:
        `mask_overlap` (trial, branch, level) float64 in [0, 1], that with the winning ticket's mask, and
        `mask_overlap_pairs` (trial, level, branch, other_branch), that of each two branches.
    """
    there = {path_of(*key) for key in finished}
    branches = [str(branch) for branch in dataset.branch.values]
    own = json.loads(dataset.attrs["own_dense"])
    pairs = np.full((dataset.sizes["trial"], dataset.sizes["level"], len(branches), len(branches)), np.nan)
    for trial, level in np.ndindex(pairs.shape[:2]):
        seed, number = int(dataset.trial.values[trial]), int(dataset.level.values[level])
        stored = [branch if number or branch in own else DENSE for branch in branches]
        paths = [path_of(seed, branch, number) for branch in stored]
        files = sorted(there & set(paths))  # one where branches share their dense network
        known = [(place, files.index(path)) for place, path in enumerate(paths) if path in there]
        if known:
            places, of_file = map(list, zip(*known, strict=True))
            pairs[trial, level][np.ix_(places, places)] = mask_overlaps(files)[np.ix_(of_file, of_file)]
    winning = np.full(pairs.shape[:3], np.nan)
    if BRANCH_ORDER[0] in branches:
        winning = pairs[..., branches.index(BRANCH_ORDER[0])]
    return xarray.Dataset(
        {
            "mask_overlap": (("trial", "branch", "level"), winning.swapaxes(1, 2), OVERLAP_MEANING._asdict()),
            PAIRS: (("trial", "level", "branch", OTHER), pairs, PAIRS_MEANING._asdict()),
        },
        {OTHER: (OTHER, np.asarray(branches, object), COORDINATE_MEANING[OTHER]._asdict())},
    )


def mask_overlaps(paths: Sequence[Path]) -> np.ndarray:
    """Jaccard index of the masks that each two levels trained, |both| / |either| over all weights; 1.0 of empty ones.

    Every file is read once. Masks stay packed, and a weight of each is in memory at a time.

    Args:
        paths: Level files of one model, n of them.

    Returns:
        (n, n) float64, symmetric.

    Raises:
        DamagedFile, OSError: A file that `lth_keras.storage.read_level` would not read.
        ValueError: Masks of different models.
    """
    both, either = np.zeros((2, len(paths), len(paths)), np.int64)
    pairs = list(combinations(range(len(paths)), 2))
    for of_weight in zip(*map(packed_mask, paths), strict=True):
        key, first = of_weight[0]
        for path, (their_key, their) in zip(paths, of_weight, strict=True):
            if (key, first.shape) != (their_key, their.shape):
                raise ValueError(
                    f"Expected: masks of one model. Received: {key} {first.shape} in {str(paths[0])!r} and "
                    f"{their_key} {their.shape} in {str(path)!r}"
                )
        bits = [packed.bits for _, packed in of_weight]
        for i, j in pairs:
            both[i, j] += count(np.bitwise_and(bits[i], bits[j]))
            either[i, j] += count(np.bitwise_or(bits[i], bits[j]))
    shared = np.divide(both, either, out=np.ones(both.shape), where=either > 0)
    return np.triu(shared, 1) + np.triu(shared, 1).T + np.eye(len(paths))
