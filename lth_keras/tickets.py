"""What a task starts from: its mask, out of the level files before it, and its weights, out of the seed."""

from __future__ import annotations

from lth_keras.branches import BRANCHES, WINNING_TICKET, Draw, Weights
from lth_keras.masks import Mask
from lth_keras.results import LevelResult, RunDirectory
from lth_keras.tasks import Task, task_of


def starting_mask(directory: RunDirectory, task: Task) -> Mask:
    """The mask that a task above level 0 trains under.

    Args:
        directory: has the levels that the task builds on.
        task: what is to be trained.

    Raises:
        ValueError: where a level that it builds on is not finished.
    """
    winning = finished_level(directory, task_of(task.seed, WINNING_TICKET, task.level - 1)).next_mask
    if task.branch == WINNING_TICKET:
        return winning
    if task.level > 1:
        return finished_level(directory, task_of(task.seed, task.branch, task.level - 1)).next_mask
    return BRANCHES[task.branch].mask(Mask.ones(winning.shapes), winning, task.seed, 1)


def control_mask(directory: RunDirectory, task: Task, mask: Mask) -> Mask:
    """The mask of a control's next level, from its own at this level and the winning ticket's at the next.

    Raises:
        ValueError: where the winning ticket's level is not finished.
    """
    winning = finished_level(directory, Task(task.seed, WINNING_TICKET, task.level)).next_mask
    return BRANCHES[task.branch].mask(mask, winning, task.seed, task.level + 1) if winning.kept else winning


def starting_weights(task: Task, initial: Weights, draw: Draw) -> Weights:
    """The weights that a task starts from, pruned ones included.

    Args:
        task: what is to be trained.
        initial: the trial's initial weights.
        draw: draws fresh ones, decided by the seed and the names that it is given, here branch and level.
    """
    if task.level == 0:
        return initial
    return BRANCHES[task.branch].weights(initial, lambda level: draw(task.seed, task.branch, level), task.level)


def finished_level(directory: RunDirectory, task: Task, *, weights: bool = False) -> LevelResult:
    """What a finished level's file holds; final weights, where they were kept, only if asked for.

    Raises:
        ValueError: where the level is not finished.
    """
    result = directory.read(*task, weights=weights)
    if result is None:
        raise ValueError(f"Expected a finished level for {task} in {directory.path}. Received: none. Run the search.")
    return result
