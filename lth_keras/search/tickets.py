"""Finished levels, and the weights that tasks start from."""

from __future__ import annotations

from lth_keras.arrays import Weights
from lth_keras.search.branches import BRANCHES, Draw, is_variant
from lth_keras.search.tasks import Task
from lth_keras.storage import LevelResult, RunDirectory


def starting_weights(task: Task, initial: Weights, draw: Draw) -> Weights:
    """The initial weights of a task, including pruned ones.

    Args:
        task: the task.
        initial: the trial's initial weights.
        draw: draws new weights; here from the seed, branch and level.
    """
    if task.level == 0 or is_variant(task.branch):
        return initial
    return BRANCHES[task.branch].weights(
        initial, lambda level: draw(task.seed, task.branch, level, given=False), task.level
    )


def finished_level(directory: RunDirectory, task: Task, *, weights: bool = False) -> LevelResult:
    """The content of a finished level's file; with final weights, if kept, only for `weights=True`.

    Raises:
        ValueError: if the level is not finished.
    """
    result = directory.read(*task, weights=weights)
    if result is None:
        raise ValueError(f"Expected a finished level for {task} in {directory.path}. Received: none. Run the search.")
    return result
