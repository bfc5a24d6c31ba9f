"""Overlap of the masks of tickets, and of random masks for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import xarray

from lth_keras.analysis.statistics import spread
from lth_keras.mask import PackedBits, count_kept

OVERLAP, PAIRS, OTHER = "mask_overlap", "mask_overlap_pairs", "other_branch"
"""Names in run.h5."""


def mask_overlaps(masks: Mapping[str, Iterable[tuple[str, PackedBits]]]) -> np.ndarray:
    """Jaccard index of each pair of n masks, |both| / |either| over all weights; 1.0 for empty masks.

    Args:
        masks: Name (for errors) to the packed mask, weight by weight. One weight of each is in memory at a time.

    Returns:
        (n, n) float64, symmetric.

    Raises:
        ValueError: Masks of different models.
    """
    names = list(masks)
    both, either = np.zeros((2, len(names), len(names)), np.int64)
    pairs = list(combinations(range(len(names)), 2))
    for of_weight in zip(*masks.values(), strict=True):
        key, first = of_weight[0]
        for name, (their_key, their) in zip(names, of_weight, strict=True):
            if (key, first.shape) != (their_key, their.shape):
                raise ValueError(
                    f"Expected: masks of one model. Received: {key} {first.shape} in {names[0]!r} and "
                    f"{their_key} {their.shape} in {name!r}"
                )
        bits = [packed.bits for _, packed in of_weight]
        for i, j in pairs:
            both[i, j] += count_kept(np.bitwise_and(bits[i], bits[j]))
            either[i, j] += count_kept(np.bitwise_or(bits[i], bits[j]))
    shared = np.divide(both, either, out=np.ones(both.shape), where=either > 0)
    return np.triu(shared, 1) + np.triu(shared, 1).T + np.eye(len(names))


def chance_overlap(density: float) -> float:
    """Mean Jaccard index of two random masks of a density, for many weights: d^2 / (2 d - d^2)."""
    return density / (2 - density)


def chance_overlaps(dataset: xarray.Dataset, branches: list[str], level: int) -> np.ndarray:
    """Mean Jaccard index of random masks with the branches' layer densities, for many weights.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        branches: n of its branches.
        level: one of its levels.

    Returns:
        (n, n) float64, mean over trials; 1 for empty masks, NaN for missing levels.
    """
    density = dataset.weight_density.sel(branch=branches, level=level).transpose("trial", "branch", "weight").values
    size = dataset["size"].values
    both = (density[:, :, None] * density[:, None] * size).sum(-1)
    kept = (density * size).sum(-1)
    either = kept[:, :, None] + kept[:, None, :] - both
    shared = np.divide(both, either, out=np.ones(both.shape), where=~(either == 0))
    return spread(xarray.DataArray(shared, dims=("trial", "branch", OTHER))).mean
