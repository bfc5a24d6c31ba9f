"""Which weights survive: exactly the k highest scores of one or more tables, ties broken at random.

`keep_highest` is the one function that turns scores into a mask, whatever the criterion. Ranking takes time linear in
the number of weights (a partition, not a sort), and memory for one copy of the scores that compete.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import BoolArray, Mask


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
    if min_per_layer < 0:
        raise ValueError(f"Expected min_per_layer of 0 or more. Received: {min_per_layer}.")
    left = mask.counts()
    floors = {key: min(count, min_per_layer) for key, count in left.items()}
    kept: dict[str, BoolArray] = {}
    if isinstance(keep, Mapping):
        _check_layer_scope(keep, left, floors)
        for key in mask:
            kept |= highest({key: checked_scores(key, scores[key], mask[key], criterion)}, mask, keep[key], generator)
    else:
        _check_global_scope(keep, left, floors)
        tables = {key: checked_scores(key, scores[key], mask[key], criterion) for key in mask}
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


def highest(
    tables: Mapping[str, Array],
    mask: Mapping[str, BoolArray],
    k: int,
    generator: np.random.Generator,
) -> dict[str, BoolArray]:
    """The positions of the k highest scores, ranked over all tables together.

    Args:
        tables: key to real scores, finite where the mask is True.
        mask: key to boolean array of the table's shape; True competes. May have more keys.
        k: how many, from 0 to the number that compete.
        generator: breaks ties at the threshold, each choice equally likely. Not used without ties.

    Returns:
        Key of `tables` to boolean array of the table's shape, k True in all.
    """
    competing = sum(int(np.count_nonzero(mask[key])) for key in tables)
    if k == competing:
        return {key: mask[key] for key in tables}
    if k == 0:
        return {key: np.zeros_like(mask[key]) for key in tables}
    scores = _competing_scores(tables, mask, competing)
    scores.partition(competing - k)
    threshold = scores[competing - k]
    del scores  # as large as the tables: free it before the masks are made
    kept = {key: _where(np.greater, table, threshold, mask[key]) for key, table in tables.items()}
    ties = {key: _where(np.equal, table, threshold, mask[key]) for key, table in tables.items()}
    chosen = _random_choice(_count(ties), k - _count(kept), generator)
    start = 0
    for key, tied in ties.items():
        stop = start + int(np.count_nonzero(tied))
        kept[key][tied] = chosen[start:stop]
        start = stop
    return kept


def highest_with_floors(
    tables: Mapping[str, Array],
    mask: Mapping[str, BoolArray],
    k: int,
    floors: Mapping[str, int],
    generator: np.random.Generator,
) -> dict[str, BoolArray]:
    """As `highest`, but with at least `floors[key]` of each table, still k in all.

    Ranks without floors first, which rarely bind; then ties are broken over all tables. Tables that fall short keep
    their floor, and the others are ranked again for the rest.

    Args:
        tables: as in `highest`.
        mask: as in `highest`.
        k: how many survive in all, no less than the sum of the floors.
        floors: key to a number no larger than what competes in that table.
        generator: as in `highest`.

    Returns:
        Key of `tables` to boolean array of the table's shape, k True in all.
    """
    tables = dict(tables)
    done: dict[str, BoolArray] = {}
    while True:
        kept = highest(tables, mask, k, generator)
        short = [key for key in tables if np.count_nonzero(kept[key]) < floors[key]]
        if not short:
            return done | kept
        for key in short:
            done |= highest({key: tables.pop(key)}, mask, floors[key], generator)
            k -= floors[key]


def _competing_scores(tables: Mapping[str, Array], mask: Mapping[str, BoolArray], competing: int) -> Array:
    """A new one-dimensional array of the scores where the mask is True."""
    if len(tables) == 1:
        ((key, table),) = tables.items()
        return table[mask[key]]
    scores = np.empty(competing, np.result_type(*tables.values()))
    start = 0
    for key, table in tables.items():
        stop = start + int(np.count_nonzero(mask[key]))
        scores[start:stop] = table[mask[key]]
        start = stop
    return scores


def _where(compare: np.ufunc, table: Array, threshold: Any, mask: BoolArray) -> BoolArray:
    # Into an array made here: a comparison of arrays without axes would return a plain bool.
    found = np.empty(table.shape, bool)
    compare(table, threshold, out=found)
    found &= mask
    return found


def _random_choice(size: int, k: int, generator: np.random.Generator) -> BoolArray:
    """A boolean array with k of `size` True, every choice of k equally likely.

    The k highest of independent draws, which may tie in turn; draws of four bytes need less
    memory than indices.
    """
    everything = np.ones(size, bool)
    if k == size:
        return everything
    draws = generator.random(size, dtype=np.float32)
    return highest({"": draws}, {"": everything}, k, generator)[""]


def _count(arrays: Mapping[str, BoolArray]) -> int:
    return sum(int(np.count_nonzero(array)) for array in arrays.values())


def checked_scores(key: str, scores: Array, kept: BoolArray, criterion: str | None = None) -> Array:
    """The scores of a weight in a type that numpy ranks.

    Raises:
        ValueError: for complex scores, or NaN and infinity where `kept` is True.
    """
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
