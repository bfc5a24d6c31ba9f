"""Groups branches by the time and number of shots of their pruning."""

from __future__ import annotations

import xarray

from lth_keras.analysis.schema import BRANCH_ORDER

SCHEDULES = {
    "uss": "before training, one shot",
    "ums": "before training, many shots",
    "iss": "level by level, one shot",
    "ims": "level by level, many shots",
}
"""Meaning of the abbreviations in names of branches."""


def schedules_of(dataset: xarray.Dataset) -> dict[str, list[str]]:
    """Schedule, one of `SCHEDULES`, to its variants; empty if run.h5 does not record them.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
    if not {"schedule", "shots"} <= set(dataset.coords):
        return {}
    found: dict[str, list[str]] = {schedule: [] for schedule in SCHEDULES}
    for branch, schedule, shots in zip(
        dataset.branch.values, dataset.schedule.values, dataset.shots.values, strict=True
    ):
        if branch not in BRANCH_ORDER and schedule:
            when, many = "u" if schedule == "before_training" else "i", "m" if shots > 1 else "s"
            found[f"{when}{many}s"].append(str(branch))
    return {schedule: branches for schedule, branches in found.items() if branches}


def explained(dataset: xarray.Dataset) -> str | None:
    """The meaning of abbreviations in a run's names of branches; None if there are none."""
    named = [
        f"{schedule}: {SCHEDULES[schedule]}"
        for schedule, branches in schedules_of(dataset).items()
        if any(schedule in branch.split("_") for branch in branches)
    ]
    return "; ".join(named) or None
