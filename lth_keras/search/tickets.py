"""The mask of a task, from earlier level files, and its initial weights, from the seed."""

from __future__ import annotations

from lth_keras.arrays import Weights
from lth_keras.mask import Mask
from lth_keras.search.branches import BRANCHES, WINNING_TICKET, Draw, is_control, is_variant, masks_of
from lth_keras.search.tasks import Task, task_of
from lth_keras.storage import LevelResult, RunDirectory


def starting_mask(directory: RunDirectory, task: Task) -> Mask:
    """The mask of a task above level 0.

    Args:
        directory: has the levels that the task depends on.
        task: the task.

    Raises:
        ValueError: if a level that it depends on is not finished.
    """
    if not is_control(task.branch):
        before = task_of(task.seed, masks_of(task.branch), task.level - 1)
        return finished_level(directory, before).next_mask
    level = task.level
    own = None
    while own is None and level > 1:  # finds the latest trained level: controls may skip levels
        level -= 1
        own = directory.read(task.seed, task.branch, level)
    if own is not None:
        mask = own.next_mask
    else:
        winning = _winning_mask(directory, task.seed, 1)
        mask = _control_mask(Task(task.seed, task.branch, 1), Mask.ones(winning.shapes), winning)
    for between in range(level + 2 if own is not None else 2, task.level + 1):
        winning = _winning_mask(directory, task.seed, between)
        mask = _control_mask(Task(task.seed, task.branch, between), mask, winning)
    return mask


def _winning_mask(directory: RunDirectory, seed: int, level: int) -> Mask:
    """The mask of the winning ticket at a level above 0."""
    return finished_level(directory, task_of(seed, WINNING_TICKET, level - 1)).next_mask


def control_mask(directory: RunDirectory, task: Task, mask: Mask) -> Mask:
    """The mask of a control's next level, from its mask at this level and the winning ticket's at the next.

    Raises:
        ValueError: if the winning ticket's level is not finished.
    """
    level = task.level + 1
    return _control_mask(Task(task.seed, task.branch, level), mask, _winning_mask(directory, task.seed, level))


def _control_mask(task: Task, before: Mask, winning: Mask) -> Mask:
    """The mask of a control's level, from its mask at the level before and the winning ticket's at this level."""
    return BRANCHES[task.branch].mask(before, winning, task.seed, task.level) if winning.kept else winning


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
