"""The tasks of a search and their order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from lth_keras.search.branches import DENSE, is_control, is_variant, masks_of


class Task(NamedTuple):
    """One training of a search: its trial's seed, its branch (`dense` at level 0) and its level."""

    seed: int
    branch: str
    level: int

    def __str__(self) -> str:
        return f"trial {self.seed}, {self.branch}, level {self.level}"


class Kept(NamedTuple):
    """The tasks whose final weights are stored.

    Attributes:
        which: `none`, `last` or `all`; see `TicketSearch.run`.
        last: the last level of branches that are trained at all levels.
        last_of_controls: the last level at which controls are trained.
    """

    which: str = "none"
    last: int = 0
    last_of_controls: int = 0

    def holds(self, task: Task) -> bool:
        """Whether the task's final weights are stored."""
        if self.which != "last":
            return self.which == "all"
        return task.level == (self.last_of_controls if is_control(task.branch) else self.last)


NOTHING_KEPT = Kept()


class LevelError(RuntimeError):
    """A level could not be trained; the message names trial, branch and level. Finished levels are kept."""


def task_of(seed: int, branch: str, level: int, share_dense: Collection[str] = ()) -> Task:
    """The task of a branch's level. Level 0 is the shared dense network, except for variants, which have their own.

    Args:
        seed: seed of the trial.
        branch: name of the branch.
        level: the level.
        share_dense: variants that share level 0 with the other branches.
    """
    return Task(seed, branch if level or (is_variant(branch) and branch not in share_dense) else DENSE, level)


def pending_tasks(
    finished: Iterable[tuple[int, str, int]],
    trials: Sequence[int],
    branches: Sequence[str],
    levels: int,
    control_levels: Collection[int] | None = None,
    share_dense: Collection[str] = (),
) -> list[Task]:
    """The unfinished tasks of a search in training order: winning tickets first, since the controls depend on them.

    Args:
        finished: finished tasks.
        trials: seeds of the trials.
        branches: branches to train.
        levels: number of prunings.
        control_levels: levels at which the controls are trained; None for all.
        share_dense: variants that share level 0 with the other branches.
    """
    done = set(finished)
    wanted = {
        task_of(seed, branch, n, share_dense)
        for seed in trials
        for n in range(levels + 1)
        for branch in branches
        if n == 0 or not is_control(branch) or control_levels is None or n in control_levels
    }
    order = {name: i for i, name in enumerate((DENSE, *branches))}
    in_order = sorted(wanted, key=lambda task: (task.seed, task.level, order[task.branch]))
    return [task for task in in_order if task not in done]


def builds_on(task: Task, independent: Collection[str] = ()) -> list[Task]:
    """The tasks that must be finished before this one's file can be written, since its masks are made from theirs.

    Args:
        task: the task.
        independent: branches whose masks are made before training, independently of other levels.
    """
    if task.level == 0 or task.branch in independent:
        return []
    before = task.level if is_control(task.branch) else task.level - 1
    return [task_of(task.seed, masks_of(task.branch), before)]


def is_ready(task: Task, finished: Collection[tuple[int, str, int]], independent: Collection[str] = ()) -> bool:
    """Whether the tasks that this one depends on are finished; arguments as `builds_on`."""
    return all(before in finished for before in builds_on(task, independent))


def ready_together(
    pending: Sequence[Task],
    finished: Collection[tuple[int, str, int]],
    most: int,
    independent: Collection[str] = (),
) -> list[Task]:
    """Tasks to train at once, each after the tasks that must be written before it.

    A control's mask is made from the winning ticket's level before; the winning ticket's same level is needed only for
    the next mask. So the branches of a level are trained together, over all trials, lowest level first. Levels of
    `independent` branches are always ready.

    Args:
        pending: unfinished tasks in the order of `pending_tasks`.
        finished: finished tasks.
        most: the most tasks at once.
        independent: see `builds_on`.
    """
    chosen: list[Task] = []
    started = set(finished)
    for task in sorted(pending, key=lambda task: task.level):  # a stable sort: trials and branches keep their order
        waits = task.level > 0 and task.branch not in independent
        starts = not waits or task_of(task.seed, masks_of(task.branch), task.level - 1) in finished
        if starts and is_ready(task, started, independent):
            chosen.append(task)
            started.add(task)
        if len(chosen) == most:
            break
    return chosen


def tickets_at_a_time(branches: Collection[str], levels: int, independent: Collection[str] = ()) -> int:
    """The number of a trial's tasks that are ready together at most levels: one per branch, all of `independent`."""
    return sum(levels if branch in independent else 1 for branch in branches)
