"""The trainings that a search consists of, and the order to do them in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from lth_keras.search.branches import DENSE, is_control, is_variant, masks_of


class Task(NamedTuple):
    """One training of a search: a trial (its seed), a branch (`dense` at level 0) and a level."""

    seed: int
    branch: str
    level: int

    def __str__(self) -> str:
        return f"trial {self.seed}, {self.branch}, level {self.level}"


class LevelError(RuntimeError):
    """A level could not be trained; the message names trial, branch and level. Levels finished before are kept."""


def task_of(seed: int, branch: str, level: int, share_dense: Collection[str] = ()) -> Task:
    """The task of a branch's level; level 0 is the dense network in every branch but a variant, which has its own.

    Args:
        seed: of the trial.
        branch: its name.
        level: 0 is dense.
        share_dense: variants whose level 0 is the dense network all the same.
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
    """Every unfinished task of a search, in the order to do them in: winning tickets lead, for others wait for them.

    Args:
        finished: tasks that are done.
        trials: seeds.
        branches: what to train at each level.
        levels: number of prunings.
        control_levels: levels at which the controls are trained; None for all.
        share_dense: variants without a level 0 of their own.
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
    """The tasks that must be finished before this one's file can be written: whose masks it builds on.

    Args:
        task: what is to be trained.
        independent: branches whose masks are made before training, each level's for itself.
    """
    if task.level == 0 or task.branch in independent:
        return []
    before = task.level if is_control(task.branch) else task.level - 1
    return [task_of(task.seed, masks_of(task.branch), before)]


def is_ready(task: Task, finished: Collection[tuple[int, str, int]], independent: Collection[str] = ()) -> bool:
    """Whether the tasks whose masks this one builds on are finished; arguments as `builds_on`."""
    return all(before in finished for before in builds_on(task, independent))


def ready_together(
    pending: Sequence[Task],
    finished: Collection[tuple[int, str, int]],
    most: int,
    independent: Collection[str] = (),
) -> list[Task]:
    """Tasks to train at once, in an order in which each can be written when those before it are.

    A control starts from the masks of the winning ticket's level before, and needs its own level's only in the end: so
    a level's branches are trained together, of all trials, the lowest level first. Levels of `independent` branches
    wait for nothing.

    Args:
        pending: what is to be trained, in the order of `pending_tasks`.
        finished: tasks that are done.
        most: tasks at once.
        independent: as `builds_on`.
    """
    chosen: list[Task] = []
    started = set(finished)
    for task in sorted(pending, key=lambda task: task.level):  # stable: trials and branches keep their order
        waits = task.level > 0 and task.branch not in independent
        starts = not waits or task_of(task.seed, masks_of(task.branch), task.level - 1) in finished
        if starts and is_ready(task, started, independent):
            chosen.append(task)
            started.add(task)
        if len(chosen) == most:
            break
    return chosen


def tickets_at_a_time(branches: Collection[str], levels: int, independent: Collection[str] = ()) -> int:
    """How many tickets of a trial are ready together at most levels: all levels of the `independent` at once."""
    return sum(levels if branch in independent else 1 for branch in branches)
