"""The trainings that a search consists of, and the order to do them in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from lth_keras.branches import DENSE, WINNING_TICKET


class Task(NamedTuple):
    """One training of a search: a trial (its seed), a branch (`dense` at level 0) and a level."""

    seed: int
    branch: str
    level: int

    def __str__(self) -> str:
        return f"trial {self.seed}, {self.branch}, level {self.level}"


class LevelError(RuntimeError):
    """A level could not be trained; the message names trial, branch and level. Levels finished before are kept."""


def task_of(seed: int, branch: str, level: int) -> Task:
    """The task of a branch's level; level 0 is the dense network in every branch."""
    return Task(seed, branch if level else DENSE, level)


def pending_tasks(
    finished: Iterable[tuple[int, str, int]],
    trials: Sequence[int],
    branches: Sequence[str],
    levels: int,
    control_levels: Collection[int] | None = None,
) -> list[Task]:
    """Every unfinished task of a search, in the order to do them in: winning tickets lead, for others wait for them.

    Args:
        finished: tasks that are done.
        trials: seeds.
        branches: what to train at each level.
        levels: number of prunings.
        control_levels: levels at which the branches beside the winning ticket are trained; None for all.
    """
    done = set(finished)
    wanted = [Task(seed, DENSE, 0) for seed in trials]
    wanted += [
        Task(seed, branch, n)
        for seed in trials
        for n in range(1, levels + 1)
        for branch in branches
        if branch == WINNING_TICKET or control_levels is None or n in control_levels
    ]
    order = {name: i for i, name in enumerate((DENSE, *branches))}
    wanted.sort(key=lambda task: (task.seed, task.level, order[task.branch]))
    return [task for task in wanted if task not in done]


def is_ready(task: Task, finished: set[tuple[int, str, int]]) -> bool:
    """Whether the tasks whose masks this one builds on are finished: the winning ticket's own and the one before."""
    if task.level == 0:
        return True
    before = task.level - 1 if task.branch == WINNING_TICKET else task.level
    return task_of(task.seed, WINNING_TICKET, before) in finished
