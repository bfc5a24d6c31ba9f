"""Test counts by class in level files and run.h5, and averages of precision, recall and F1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lth_keras.analysis import (
    CONFUSION,
    COUNT_AXES,
    COUNT_MEANING,
    COUNTS,
    METRIC_MEANING,
    MISSING,
    OUTCOMES,
    averages,
    counts_by_class,
    without_example,
)

Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]
"""Dimensions, values and attributes."""


def check_counts(name: str, counts: np.ndarray, evaluations: int) -> None:
    """Checks one level's counts.

    Args:
        name: of `COUNTS`.
        counts: (evaluations, classes, classes), or (evaluations, classes, 3) by outcome.
        evaluations: number of evaluations.

    Raises:
        ValueError: for another shape, a non-integer type, or negative counts in a test that is not all `MISSING`.
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


def empty_counts(rows: Iterable[Any], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arrays of `MISSING` for each of `COUNTS` that some level has.

    Args:
        rows: levels, with an array or None for each of `COUNTS`.
        shape: of all tests.

    Raises:
        ValueError: if levels differ in the number of classes.
    """
    found: dict[str, set[tuple[int, ...]]] = {name: set() for name in COUNTS}
    for row in rows:
        for name in COUNTS:
            if (counts := getattr(row, name)) is not None:
                found[name].add(counts.shape[1:])
    for name, shapes in found.items():
        if len(shapes) > 1:
            raise ValueError(f"Expected: {name} of one number of classes. Received: shapes {sorted(shapes)}")
    return {name: np.full((*shape, *of_one), MISSING, np.int32) for name, shapes in found.items() for of_one in shapes}


def count_coordinates(name: str, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The coordinates that counts of this name add to run.h5."""
    classes = np.arange(counts.shape[-2], dtype=np.int64)
    return {axis: np.asarray(OUTCOMES, object) if axis == "outcome" else classes for axis in COUNT_AXES[name]}


def count_variables(name: str, counted: np.ndarray, axes: tuple[str, ...]) -> dict[str, Variable]:
    """The counts, and precision, recall and F1 with a comment on their averages.

    Args:
        name: of `COUNTS`.
        counted: of all tests, shaped as by `empty_counts`.
        axes: of all tests.
    """
    single = name == CONFUSION
    counts = counts_by_class(counted) if single else counted
    macro = f"mean over all {counts.shape[-2]} classes"
    if unseen := without_example(counts):
        macro += f"; {unseen} of them have no test example and count as 0"
    micro = "equals the accuracy, as every example has one class and is given one" if single else "over all classes"
    variables: dict[str, Variable] = {
        name: ((*axes, *COUNT_AXES[name]), counted, dict(COUNT_MEANING[name]._asdict())),
    }
    for average, values in averages(counts).items():
        meaning = METRIC_MEANING[f"test_{average}"]._asdict()
        comment = macro if average.endswith("macro") else micro
        variables[f"test_{average}"] = (axes, values.astype(np.float32), {**meaning, "comment": comment})
    return variables
