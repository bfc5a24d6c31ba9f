"""Ranking: exactly the k highest scores of one or more tables, ties broken at random.

Takes time linear in the number of weights (a partition, not a sort), and memory for one copy of the scores that
compete. Arguments are checked in `rates.keep_highest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lth_keras.mask import BoolArray

Array = npt.NDArray[Any]


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
