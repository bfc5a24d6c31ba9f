"""How many weights survive a level, and which.

`keep_highest` is the one function that turns scores into a mask, whatever the criterion.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from lth_keras.layers import KINDS
from lth_keras.mask import BoolArray, Mask
from lth_keras.pruning.ranking import Array, highest, highest_with_floors


def resolve_rates(rates: float | Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """The share of its surviving weights that each weight loses per level.

    Args:
        rates: one rate for all, or kind to rate, as Frankle & Carbin (2019, arXiv:1803.03635)
            give them in figure 2. Kinds that the model does not have are ignored.
        kinds: weight key to its kind, one of `KINDS`.

    Returns:
        Weight key to rate, in the order of `kinds`.

    Raises:
        ValueError: a rate outside [0, 1), a kind that is not in `KINDS`, or a kind of the model
            without a rate.

    Example:
    >>> resolve_rates({"dense": 0.2, "output": 0.1}, {"a/kernel": "dense", "b/kernel": "output"})
    {'a/kernel': 0.2, 'b/kernel': 0.1}
    """
    _check_kinds(kinds.values())
    if not isinstance(rates, Mapping):
        rate = _checked_rate(rates, "every kind of layer")
        return dict.fromkeys(kinds, rate)
    _check_kinds(rates)
    by_kind = {kind: _checked_rate(rate, f"kind {kind!r}") for kind, rate in rates.items()}
    for key, kind in kinds.items():
        if kind not in by_kind:
            raise ValueError(
                f"Expected a rate for every kind of layer in the model. Received: {dict(rates)}, "
                f"but {key!r} is of kind {kind!r}; add a rate for it (0 to leave it dense)."
            )
    return {key: by_kind[kind] for key, kind in kinds.items()}


def layer_counts(
    sizes: Mapping[str, int], rates: Mapping[str, float], level: int, min_per_layer: int = 1
) -> dict[str, int]:
    """How many weights of each layer survive at a level, in layer scope.

    `k = round(N * (1 - rate) ** level)` from the dense count N, so that rounding does not add up
    over levels; at least `min(N, min_per_layer)`. Source: iterative pruning, Frankle & Carbin
    (2019), arXiv:1803.03635, section 1.

    Args:
        sizes: weight key to dense count N.
        rates: weight key to rate in [0, 1), as `resolve_rates` gives it.
        level: number of prunings so far; 0 is dense.
        min_per_layer: least number of weights to leave in a layer.

    Raises:
        ValueError: a negative level or minimum, a rate outside [0, 1), or keys that differ.
    """
    _check_not_negative(level=level, min_per_layer=min_per_layer)
    if sizes.keys() != rates.keys():
        raise ValueError(
            f"Expected a rate for each of {sorted(sizes)} and no other. Received: rates for {sorted(rates)}."
        )
    return {key: max(global_count(size, rates[key], level), min(size, min_per_layer)) for key, size in sizes.items()}


def global_count(size: int, rate: float, level: int) -> int:
    """How many weights survive at a level, in global scope: `round(size * (1 - rate) ** level)`.

    Source: global pruning, Frankle & Carbin (2019), arXiv:1803.03635, section 4.

    Args:
        size: dense count of all prunable weights.
        rate: share lost per level, in [0, 1).
        level: number of prunings so far; 0 is dense.

    Raises:
        ValueError: a negative size or level, or a rate outside [0, 1).
    """
    _check_not_negative(size=size, level=level)
    return round(size * (1 - _checked_rate(rate, "pruning")) ** level)


def keep_highest(
    scores: Mapping[str, Array],
    mask: Mask,
    keep: int | Mapping[str, int],
    *,
    generator: np.random.Generator,
    min_per_layer: int = 1,
    criterion: str | None = None,
) -> Mask:
    """The mask of the `keep` highest-scored weights among those that `mask` keeps.

    Exactly `keep` survive, pruned weights never come back, and among equal scores at the
    threshold every choice is equally likely, whatever the position. Takes time linear in the
    number of weights, and memory for one copy of the survivors' scores. In layer scope each
    layer's scores are read once, in the order of the mask, and freed before the next layer's:
    of lazy scores, one layer's exist at a time.

    Args:
        scores: weight key to real scores of the weight's shape; higher is kept. Scores of
            weights that are pruned already are ignored.
        mask: the mask so far.
        keep: how many survive. An integer ranks all weights together (global scope); weight key
            to integer ranks each weight array on its own (layer scope).
        generator: breaks ties. Not used without ties.
        min_per_layer: least number of weights to leave in each layer (all of them where fewer
            are left). In global scope a layer that would fall below it keeps that many of its
            highest, and the others keep fewer; in layer scope a lower `keep` is an error. 0 lets
            a layer collapse, that is, lose its last weight.
        criterion: name of the criterion, for messages.

    Returns:
        A subset of `mask`.

    Raises:
        ValueError: scores of other weights or shapes, NaN or infinite scores of survivors, or a
            `keep` of nothing at all, of more than is left, or below what `min_per_layer` needs.

    Warns:
        UserWarning: naming the layers that collapse (Tanaka et al., 2020, arXiv:2006.05467,
            section 4), if `min_per_layer=0` lets them.

    Example:
    >>> mask = Mask.ones({"a": (2, 2)})
    >>> scores = {"a": np.array([[0.3, 0.1], [0.2, 0.4]])}
    >>> keep_highest(scores, mask, 2, generator=np.random.default_rng(0))["a"].astype(int)
    array([[1, 0],
           [0, 1]])
    """
    mask.check_same_weights(scores)
    _check_not_negative(min_per_layer=min_per_layer)
    left = mask.counts()
    floors = {key: min(count, min_per_layer) for key, count in left.items()}
    kept: dict[str, BoolArray] = {}
    if isinstance(keep, Mapping):
        _check_layer_scope(keep, left, floors)
        for key in mask:
            kept |= highest({key: _checked_scores(key, scores[key], mask[key], criterion)}, mask, keep[key], generator)
    else:
        _check_global_scope(keep, left, floors)
        tables = {key: _checked_scores(key, scores[key], mask[key], criterion) for key in mask}
        kept = highest_with_floors(tables, mask, keep, floors, generator)
    result = Mask({key: kept[key] for key in mask}, copy=False)
    collapsed = [key for key, count in result.counts().items() if left[key] > 0 and count == 0]
    if collapsed:
        warnings.warn(
            f"Layer collapse: no weight is left in {', '.join(collapsed)}; such a layer outputs its "
            "bias alone. min_per_layer=1 prevents it.",
            stacklevel=2,
        )
    return result


def _checked_scores(key: str, scores: Array, kept: BoolArray, criterion: str | None) -> Array:
    scores = np.asarray(scores)
    if scores.dtype.kind == "c":
        raise ValueError(f"Expected real scores. Received: {scores.dtype} for {key!r}.")
    if scores.dtype.kind not in "fiub":  # bfloat16 and its like, which numpy cannot rank
        scores = scores.astype(np.float32)
    # Minimum and maximum show NaN and infinity without a temporary array; only then look closer,
    # since pruned weights may have any score.
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        wrong = int(np.count_nonzero(~np.isfinite(scores) & kept))
        if wrong:
            by = f" by the criterion {criterion!r}" if criterion else ""
            raise ValueError(
                f"Expected finite scores for the weights that are kept. Received: {wrong} NaN or "
                f"infinite scores in {key!r}{by}; has the training diverged?"
            )
    return scores


def _check_layer_scope(keep: Mapping[str, int], left: Mapping[str, int], floors: Mapping[str, int]) -> None:
    if keep.keys() != left.keys():
        raise ValueError(
            f"Expected how many to keep for each of {sorted(left)} and no other. Received: {sorted(keep)}."
        )
    for key, k in keep.items():
        _check_count(k, left[key], floors[key], f"of the weights of {key!r}")
    if not any(keep.values()):
        raise ValueError("Expected at least one weight to keep. Received: keep=0 for every layer.")


def _check_global_scope(keep: int, left: Mapping[str, int], floors: Mapping[str, int]) -> None:
    floor = max(1, sum(floors.values()))
    _check_count(keep, sum(left.values()), floor, "of all weights")


def _check_count(k: int, left: int, floor: int, of_what: str) -> None:
    if not floor <= k <= left:
        raise ValueError(
            f"Expected to keep {floor} to {left} {of_what}: no more than the mask has left, no "
            f"fewer than min_per_layer in each layer and one in all. Received: {k}."
        )


def _check_kinds(kinds: Iterable[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            names = ", ".join(map(repr, KINDS))
            raise ValueError(f"Expected kinds of layers among {names}. Received: {kind!r}.")


def _checked_rate(rate: float, of_what: str) -> float:
    if not 0 <= rate < 1:
        raise ValueError(
            f"Expected a rate in [0, 1) for {of_what}: the share of surviving weights pruned at "
            f"each level. Received: {rate}."
        )
    return float(rate)


def _check_not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"Expected {name} of 0 or more. Received: {value}.")
