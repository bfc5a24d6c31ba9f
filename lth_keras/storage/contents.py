"""Which trainings a run holds, and how many there are to be."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import xarray

from lth_keras.analysis.schema import BRANCH_ORDER, DENSE

Level = tuple[int, str, int]
"""Seed, branch (`dense` at a level 0 that branches share) and level."""


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        finished: trainings that run.h5 holds.
        asked: all that were asked for, those included; where run.h5 does not say, as many as those it holds imply.
        known: whether run.h5 says it.
    """

    finished: int
    asked: int
    known: bool


def finished_levels(dataset: xarray.Dataset) -> set[Level]:
    """Every training whose numbers `dataset`, a run's, holds; a level 0 that branches share is one."""
    there = np.isfinite(dataset.density.transpose("trial", "branch", "level").values)
    return _levels(dataset, there)


def progress(dataset: xarray.Dataset) -> Progress:
    """How many of a run's trainings are finished.

    run.h5 says in its attribute `trainings` how many were asked for. Where it does not, every trial is to have every
    level of a branch with masks of its own, and every control the levels at which some trial has it.
    """
    finished = finished_levels(dataset)
    if "trainings" in dataset.attrs:
        return Progress(len(finished), max(int(dataset.attrs["trainings"]), len(finished)), known=True)
    implied = np.ones(tuple(dataset.sizes[name] for name in ("trial", "branch", "level")), bool)
    there = np.isfinite(dataset.density.transpose("trial", "branch", "level").values)
    for place, branch in enumerate(dataset.branch.values):
        if branch in BRANCH_ORDER[1:]:
            implied[:, place] = there[:, place].any(0)
    return Progress(len(finished), len(_levels(dataset, implied)), known=False)


def _levels(dataset: xarray.Dataset, there: np.ndarray) -> set[Level]:
    own = set(json.loads(dataset.attrs["own_dense"]))
    found = set()
    for trial, place, level in np.argwhere(there):
        branch = str(dataset.branch.values[place])
        number = int(dataset.level.values[level])
        shared = number == 0 and branch not in own
        found.add((int(dataset.trial.values[trial]), DENSE if shared else branch, number))
    return found
