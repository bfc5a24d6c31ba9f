"""Finished and expected trainings of a run."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import xarray

from lth_keras.analysis import BRANCH_ORDER, DENSE

Level = tuple[int, str, int]
"""Seed, branch (`dense` for a level 0 that branches share) and level."""


class Progress(NamedTuple):
    """How many trainings of a run are finished.

    Attributes:
        finished: trainings in run.h5.
        asked: requested trainings, finished ones included; estimated from the finished ones if run.h5 does not state
            it.
        known: whether run.h5 states `asked`.
    """

    finished: int
    asked: int
    known: bool


def finished_levels(dataset: xarray.Dataset) -> set[Level]:
    """Every training in a run's `dataset`; a level 0 that branches share counts once."""
    return _levels(dataset, np.isfinite(dataset.density.transpose("trial", "branch", "level").values))


def progress(dataset: xarray.Dataset) -> Progress:
    """How many of a run's trainings are finished.

    The attribute `trainings` of run.h5 is the number of requested trainings. Without it, every trial should have every
    level of a branch with its own masks, and every control the levels at which some trial has it.
    """
    finished = finished_levels(dataset)
    if "trainings" in dataset.attrs:
        return Progress(len(finished), max(int(dataset.attrs["trainings"]), len(finished)), known=True)
    implied = np.isfinite(dataset.density.transpose("trial", "branch", "level").values)
    for place, branch in enumerate(dataset.branch.values):
        implied[:, place] = implied[:, place].any(0) if branch in BRANCH_ORDER[1:] else True
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
