"""Finished levels, and what tasks start from."""

from __future__ import annotations

from lth_keras.arrays import TrainingState, Weights
from lth_keras.search.branches import BRANCHES, Draw, is_variant, masks_of
from lth_keras.search.rewinding import INIT, WEIGHTS, Rewinding
from lth_keras.search.tasks import Task, task_of
from lth_keras.storage import LevelResult, RunDirectory


def starting_weights(task: Task, rewound: Weights, draw: Draw) -> Weights:
    """The weights that a task starts from, including pruned ones.

    Args:
        task: the task.
        rewound: the trial's initial weights, or those of the task's `rewound_state`.
        draw: draws new weights; here from the seed, branch and level.
    """
    if task.level == 0 or is_variant(task.branch):
        return rewound
    return BRANCHES[task.branch].weights(
        rewound, lambda level: draw(task.seed, task.branch, level, given=False), task.level
    )


def rewound_state(directory: RunDirectory, task: Task, rewinding: Rewinding) -> TrainingState | None:
    """The state of an earlier training that a task continues from; None if it starts from initial or drawn weights.

    Args:
        directory: has the levels that the task depends on.
        task: the task.
        rewinding: the search's.

    Raises:
        ValueError: if the earlier level is not finished or its file has no such state.
    """
    rewinds = is_variant(task.branch) or (task.level > 0 and BRANCHES[task.branch].rewinds)
    if rewinding.form == INIT or task.level == 0 or not rewinds:
        return None
    level = 0 if rewinding.form == WEIGHTS else task.level - 1
    before = task_of(task.seed, masks_of(task.branch), level)
    state = finished_level(directory, before, state=True).state
    if state is None:
        raise ValueError(
            f"Expected the file of {before} to have the state that {task} starts from. Received: none. Move "
            f"{str(directory.level_path(*before))!r} away to train the level again."
        )
    return state


def finished_level(directory: RunDirectory, task: Task, *, weights: bool = False, state: bool = False) -> LevelResult:
    """The content of a finished level's file; `weights` and `state` read its final weights and its state, if kept.

    Raises:
        ValueError: if the level is not finished.
    """
    result = directory.read(*task, weights=weights, state=state)
    if result is None:
        raise ValueError(f"Expected a finished level for {task} in {directory.path}. Received: none. Run the search.")
    return result
