"""Pruning to a density in one shot or several, with new scores of the remaining weights before each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lth_keras.mask import Mask
from lth_keras.pruning.densities import Density, counts_at
from lth_keras.pruning.ranking import Array, keep_highest
from lth_keras.system import interrupts


def prune_in_shots(
    mask: Mask,
    densities: Sequence[Density],
    score: Callable[[Mask], Mapping[str, Array]],
    *,
    scope: str,
    ties: np.random.Generator,
    min_per_layer: int = 1,
    criterion: str | None = None,
    check: Callable[[Mask], None] | None = None,
    exact: bool = False,
) -> Mask:
    """The mask after the last of several shots. Earlier shots that would prune nothing are skipped.

    Source: Tanaka et al. (2020), arXiv:2006.05467, algorithm 1; iterative SNIP of de Jorge et al. (2020),
    arXiv:2006.09081.

    Args:
        mask: the mask to begin with.
        densities: after each shot, as shares of the dense network; see `densities.shot_densities`.
        score: scores the weights that a mask leaves.
        scope: one of `densities.SCOPES`.
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
    for shot, density in enumerate(densities, start=1):
        if shot > 1:
            interrupts.check()
        last = shot == len(densities)
        keep = counts_at(density, mask, scope, min_per_layer, last=last, exact=exact)
        if not last and keep in (mask.kept, mask.counts()):
            continue
        mask = keep_highest(score(mask), mask, keep, generator=ties, min_per_layer=min_per_layer, criterion=criterion)
        if check is not None:
            check(mask)
    return mask
