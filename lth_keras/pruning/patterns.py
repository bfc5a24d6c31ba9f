"""Patterns of masks by name: N of every M weights, blocks, whole units, filters, heads or embedding columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import Mask
from lth_keras.pruning.densities import Density
from lth_keras.pruning.grouped import Grouped
from lth_keras.pruning.layouts import Layout, layouts
from lth_keras.pruning.n_of_m import NofM
from lth_keras.pruning.ranking import keep_highest
from lth_keras.system import interrupts

Pattern = NofM | Grouped
_WORDS = {"units": "units", "filters": "units", "columns": "units", "heads": "heads", "channels": "channels"}


def pattern_of(text: Any, multiple_of: int = 1) -> Pattern:
    """The pattern of a name: `"2:4"`, `"4x4"`, `"units"` (or `"filters"`, `"columns"`), `"heads"`, `"channels"`.

    Raises:
        ValueError: for any other text, or `multiple_of` with a pattern that has no groups per layer.
    """
    numbers = re.fullmatch(r"(\d+)([:x])(\d+)", text) if isinstance(text, str) else None
    word = _WORDS.get(text) if isinstance(text, str) else None
    if numbers is not None and multiple_of == 1:
        one, sign, other = int(numbers[1]), numbers[2], int(numbers[3])
        if sign == ":" and 0 < one < other:
            return NofM(one, other)
        if sign == "x" and one > 0 < other:
            return Grouped("blocks", (one, other))
    if word is not None:
        return Grouped(word, multiple_of=multiple_of)
    extra = f" and multiple_of={multiple_of}, which is of units, heads and channels" if multiple_of != 1 else ""
    raise ValueError(
        "Expected a pattern: 'N:M' with N < M, as '2:4'; blocks, as '4x4'; 'units', 'filters', 'columns', 'heads' or "
        f"'channels'. Received: {text!r}{extra}."
    )


def density_of(pattern: Pattern, density: Any, scope: str, shots: int) -> float:
    """The density to prune to by a pattern.

    Raises:
        ValueError: for a density that the pattern cannot have, another scope than `layer` and `global`, or several
            shots of N:M.
    """
    if isinstance(pattern, NofM):
        if density not in (None, pattern.density) or shots != 1:
            raise ValueError(
                f"Expected density={pattern.density}, or none, and one shot with the pattern {pattern}. "
                f"Received: density={density!r}, shots={shots}."
            )
        return pattern.density
    if scope not in ("layer", "global") or isinstance(density, Mapping) or density is None:
        raise ValueError(
            f"Expected scope 'layer' or 'global' and one density with the pattern {pattern.kind!r}. "
            f"Received: scope={scope!r}, density={density!r}."
        )
    return density  # type: ignore[no-any-return]


def layouts_for(pattern: Pattern, model: keras.Model) -> dict[str, Layout]:
    """What a pattern needs to know of the weights of a model with masked layers.

    Raises:
        ValueError: for a subclassed model, with `channels`.
    """
    return layouts(model, channels=isinstance(pattern, Grouped) and pattern.kind == "channels")


def one_density(pattern: Pattern | None) -> float | None:
    """The density of a pattern that has but one, otherwise None."""
    return pattern.density if isinstance(pattern, NofM) else None


def pruned_by_pattern(
    pattern: Pattern,
    mask: Mask,
    densities: Sequence[Density],
    score: Callable[[Mask], Mapping[str, Array]],
    layout: Mapping[str, Layout],
    *,
    scope: str,
    ties: np.random.Generator,
    min_per_layer: int = 1,
) -> Mask:
    """The mask after the last of several shots, each with new scores.

    Args:
        pattern: of the mask.
        mask: the mask to begin with.
        densities: after each shot: the share of groups, in layer scope also by weight key.
        score: scores the weights that a mask leaves.
        layout: of each weight.
        scope: `layer` or `global`.
        ties: breaks ties.
        min_per_layer: the least number of groups that each weight keeps, at least 1.

    Raises:
        ValueError: as the pattern's `mask`, or scores that are not finite.
    """
    for shot, density in enumerate(densities):
        if shot:
            interrupts.check()
        scores = {key: np.asarray(array, np.float64) for key, array in score(mask).items()}
        mask.check_same_weights(scores)
        wrong = [key for key in mask if not np.isfinite(scores[key][mask[key]]).all()]
        if wrong:
            raise ValueError(f"Expected finite scores. Received: NaN or infinite ones of {', '.join(wrong)}.")
        mask = pattern.mask(scores, mask, layout, ties, density, scope, min_per_layer)
    return mask


def keep_as_many(
    scores: Mapping[str, Array],
    mask: Mask,
    other: Mask,
    generator: np.random.Generator,
    pattern: Pattern | None = None,
    layout: Mapping[str, Layout] | None = None,
) -> Mask:
    """The weights with the highest scores, as many of each layer as another mask keeps; with a pattern, in its groups.

    Args:
        scores: of each weight.
        mask: the weights to choose from.
        other: keeps no more than `mask` of any layer.
        generator: breaks ties.
        pattern: that `other` has.
        layout: of each weight, with a pattern.
    """
    if pattern is None:
        return keep_highest(scores, mask, other.counts(), generator=generator, min_per_layer=0)
    assert layout is not None
    return pattern.like(scores, mask, other, layout, generator)
