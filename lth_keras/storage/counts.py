"""Test counts by class in level files and run.h5, and averages of precision, recall and F1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lth_keras.analysis import (
    CONFUSION,
    COUNT_AXES,
    COUNTS,
    MEANING,
    MISSING,
    OUTCOMES,
    averages,
    counts_by_class,
    without_example,
)
from lth_keras.storage.arrays import Variable, gathered


def check_counts(name: str, counts: np.ndarray, evaluations: int) -> None:
    """Raises ValueError if `counts` are no integers of 0 or more, or of another shape than `name` in `COUNTS` has.

    A test that was not measured is all `MISSING`.
    """
    shape = np.shape(counts)
    last = shape[-2:-1] if name == CONFUSION else (len(OUTCOMES),)
    if len(shape) != 3 or shape[0] != evaluations or shape[2:] != last:
        wanted = "C" if name == CONFUSION else len(OUTCOMES)
        raise ValueError(
            f"Expected: {name} of shape ({evaluations}, C, {wanted}), as many as `step`. Received: shape {shape}"
        )
    if not np.issubdtype(np.asarray(counts).dtype, np.integer):
        raise ValueError(f"Expected: {name} of integers. Received: dtype {np.asarray(counts).dtype}")
    missing = (counts == MISSING).all((1, 2))
    if np.any(counts[~missing] < 0):
        raise ValueError(
            f"Expected: counts of 0 or more in {name}, or {MISSING} in a whole test. "
            f"Received: counts from {counts[~missing].min()}"
        )


def gathered_counts(
    rows: Sequence[Any], places: Sequence[Iterable[tuple[Any, ...]]], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """An array of `shape` and classes for each of `COUNTS` that some level has, `MISSING` in other tests.

    Raises:
        ValueError: if levels differ in the number of classes.
    """
    found = {}
    for name in COUNTS:
        of_levels = [getattr(row, name) for row in rows]
        shapes = {counts.shape[1:] for counts in of_levels if counts is not None}
        if len(shapes) > 1:
            raise ValueError(f"Expected: {name} of one number of classes. Received: shapes {sorted(shapes)}")
        for of_one in shapes:
            found[name] = gathered(of_levels, places, (*shape, *of_one), np.int32, MISSING)
    return found


def count_variables(name: str, counted: np.ndarray, axes: tuple[str, ...]) -> dict[str, Variable]:
    """The counts of `name` along `axes`, and precision, recall and F1 with a comment on their averages."""
    single = name == CONFUSION
    counts = counts_by_class(counted) if single else counted
    macro = f"mean over all {counts.shape[-2]} classes"
    if unseen := without_example(counts):
        macro += f"; {unseen} of them have no test example and count as 0"
    micro = "equals the accuracy, as every example has one class and is given one" if single else "over all classes"
    variables: dict[str, Variable] = {name: ((*axes, *COUNT_AXES[name]), counted, MEANING[name])}
    for average, values in averages(counts).items():
        comment = macro if average.endswith("macro") else micro
        meaning = {**MEANING[f"test_{average}"], "comment": comment}
        variables[f"test_{average}"] = (axes, values.astype(np.float32), meaning)
    return variables
