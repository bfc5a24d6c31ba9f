"""Networks of finished levels from a run's directory alone, without the search that trained them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from lth_keras.masking import set_mask, variables
from lth_keras.search.branches import DENSE, WINNING_TICKET
from lth_keras.search.tasks import Task
from lth_keras.storage import MODEL, LevelResult, RunDirectory, has_weights, read_note


class Stored(NamedTuple):
    """A finished level.

    Attributes:
        trial: counted from 0.
        branch: its branch.
        level: number of prunings.
        task: its task.
        result: what its file holds, with the final weights if they were kept.
    """

    trial: int
    branch: str
    level: int
    task: Task
    result: LevelResult


def stored_level(
    directory: RunDirectory, trial: int = 0, level: int | None = None, branch: str = WINNING_TICKET
) -> Stored:
    """A finished level of a run.

    Args:
        directory: of the run.
        trial: counted from 0.
        level: number of prunings; None for the branch's last one.
        branch: the branch, or `dense`.

    Raises:
        ValueError: for a trial, branch or level that is not finished.
    """
    finished = directory.finished()
    seeds = sorted({seed for seed, _, _ in finished})
    if not 0 <= trial < len(seeds):
        raise ValueError(f"Expected trial in 0 ... {len(seeds) - 1}, as {directory.path} has. Received: {trial}.")
    of_trial = {(name, n) for seed, name, n in finished if seed == seeds[trial]}
    if branch == DENSE and level is None:
        level = 0
    there = {n for name, n in of_trial if name == branch}
    if not any(name == branch for _, name, _ in finished):
        names = sorted({name for _, name, _ in finished})
        raise ValueError(f"Expected branch to be one of {', '.join(names)}. Received: {branch!r}.")
    level = max(there, default=0) if level is None else level
    own = branch if level in there else DENSE if level == 0 else None
    if own is None or (own, level) not in of_trial:
        raise ValueError(
            f"Expected a finished level of trial {trial}, {branch}: {', '.join(map(str, sorted(there | {0})))}. "
            f"Received: {level}."
        )
    task = Task(seeds[trial], own, level)
    result = directory.read(*task, weights=True)
    if result is None:
        raise ValueError(f"Expected an intact file of {task} in {directory.path}. Received: a damaged one.")
    return Stored(trial, branch, level, task, result)


def stored_model(
    directory: RunDirectory, stored: Stored, *, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """The masked model of a finished level with its final weights, from the files of the run alone.

    Args:
        directory: of the run.
        stored: the level.
        custom_objects: classes and functions of the model by name, as in Keras' `load_model`.

    Raises:
        ValueError: if the final weights were not kept, or the run has no configuration of its model.
    """
    weights = stored.result.weights
    if weights is None:
        kept = sorted(
            level
            for seed, branch, level in directory.finished()
            if (seed, branch) == (stored.task.seed, stored.branch)
            and has_weights(directory.level_path(seed, branch, level))
        )
        there = f"levels {', '.join(map(str, kept))} have them" if kept else "no level of the branch has them"
        raise ValueError(
            f"Expected a level whose final weights were kept. Received: {stored.task}; {there}. Train that level again "
            "by --retrain, or in Python by Run.ticket(..., weights='final', retrain=True); with keep_weights='all' "
            "later runs keep those of every level."
        )
    config = read_note(directory.path, f"{MODEL}-{stored.branch}") or read_note(directory.path, MODEL) or {}
    if "model" not in config:
        why = config.get("none", "it was made by an earlier version of lth_keras, or no level was trained since")
        raise ValueError(
            f"Expected {directory.path} to have the configuration of its model. Received: none: {why}. Make the model "
            "by Run.ticket(...) in the script of the search, and write it by save_ticket or export_model."
        )
    try:
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=dict(custom_objects or {}))
        if not isinstance(model, keras.Model):
            raise ValueError(f"that of a {type(model).__name__}.")
    except Exception as error:  # whatever the configuration makes Keras raise
        raise ValueError(
            f"Expected a configuration in {directory.path} that Keras can make a model of. Received: {error} Make the "
            "model by Run.ticket(...) in the script of the search, and write it by save_ticket or export_model."
        ) from error
    own = variables(model)
    if {key: tuple(value.shape) for key, value in own.items()} != {key: w.shape for key, w in weights.items()}:
        raise ValueError(
            f"Expected weights of the model that {directory.path} records. Received: others in the file of "
            f"{stored.task}."
        )
    for key, value in weights.items():
        own[key].assign(value)
    set_mask(model, stored.result.mask)
    return model
