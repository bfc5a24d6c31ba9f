"""Pruning to a density in one shot or several, with new scores of the remaining weights before each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.mask import Mask
from lth_keras.pruning.densities import Density, counts_at
from lth_keras.pruning.ranking import Array, keep_highest
from lth_keras.system import interrupts


def prune_in_shots(
    mask: Mask,
    groups: Mapping[tuple[str, ...], Sequence[Density]],
    score: Callable[[Mask], Mapping[str, Array]],
    *,
    scope: str,
    ties: np.random.Generator,
    min_per_layer: int = 1,
    criterion: str | None = None,
    check: Callable[[Mask], None] | None = None,
    exact: bool = False,
) -> Mask:
    """The mask after the last of several shots, of groups of weights that are ranked each on its own.

    All groups are scored together. Earlier shots that would prune nothing are skipped.

    Source: Tanaka et al. (2020), arXiv:2006.05467, algorithm 1; iterative SNIP of de Jorge et al. (2020),
    arXiv:2006.09081.

    Args:
        mask: the mask to begin with.
        groups: the keys of each group to its densities after each shot, as shares of the dense weights, see
            `densities.shot_densities`. There are as many shots for each group, and every key is in one group.
        score: scores the weights that a mask leaves.
        scope: one of `densities.SCOPES`, within a group.
        ties: breaks ties.
        min_per_layer: as `pruning.keep_highest`.
        criterion: name of the criterion, for messages.
        check: raises for a shot's mask that pruning must not continue from.
        exact: in layer scope, whether round(N * density) weights are left in all; see `densities.counts_at`.

    Returns:
        A subset of `mask`.

    Raises:
        ValueError: as `pruning.keep_highest` and `densities.counts_at`, or what `score` and `check` raise.
    """
    shots = len(next(iter(groups.values())))
    for shot in range(shots):
        if shot:
            interrupts.check()
        last = shot == shots - 1
        now = {keys: densities[shot] for keys, densities in groups.items()}
        pruned = prune_once(
            mask,
            now,
            score,
            scope=scope,
            ties=ties,
            min_per_layer=min_per_layer,
            criterion=criterion,
            last=last,
            exact=exact,
        )
        if pruned is None:
            continue
        mask = pruned
        if check is not None:
            check(mask)
    return mask


def prune_once(
    mask: Mask,
    groups: Mapping[tuple[str, ...], Density],
    score: Callable[[Mask], Mapping[str, Array]],
    *,
    scope: str,
    ties: np.random.Generator,
    min_per_layer: int,
    criterion: str | None,
    last: bool,
    exact: bool,
) -> Mask | None:
    """One shot of `prune_in_shots`; None if it is not the last and would prune nothing.

    Args:
        mask: the mask before the shot.
        groups: the keys of each group to its density after the shot.
        score: see `prune_in_shots`, as what follows.
        scope: see there.
        ties: see there.
        min_per_layer: see there.
        criterion: see there.
        last: whether the densities must be reached; in an earlier shot a layer keeps at most what it has left.
        exact: see there.
    """
    parts = {keys: part_of(mask, keys) for keys in groups}
    keep = {
        keys: counts_at(groups[keys], part, scope, min_per_layer, last=last, exact=exact)
        for keys, part in parts.items()
    }
    if not last and all(keep[keys] in (part.kept, part.counts()) for keys, part in parts.items()):
        return None
    scores = score(mask)
    mask.check_same_weights(scores)
    kept = {
        keys: keep_highest(
            scores if part is mask else LazyArrays(part.shapes, scores.__getitem__),
            part,
            keep[keys],
            generator=ties,
            min_per_layer=min_per_layer,
            criterion=criterion,
        )
        for keys, part in parts.items()
    }
    of_group = {key: keys for keys in groups for key in keys}
    return Mask({key: kept[of_group[key]][key] for key in mask}, copy=False)


def part_of(mask: Mask, keys: tuple[str, ...]) -> Mask:
    """The mask of some of its weights; itself if of all, in their order."""
    return mask if keys == tuple(mask) else Mask({key: mask[key] for key in keys}, copy=False)
