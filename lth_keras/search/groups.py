"""Trains a search's tasks in groups of the engine's width, one block of trials after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Protocol

from lth_keras.search.branches import DENSE
from lth_keras.search.failures import Failures
from lth_keras.search.tasks import Task, ready_together, tickets_at_a_time
from lth_keras.storage import LevelResult
from lth_keras.system import interrupts


class Trainable(Protocol):
    """The members of `TicketSearch` that groups use."""

    @property
    def batch_key(self) -> Hashable:
        """Tickets with equal keys can be trained in one group."""

    @property
    def width(self) -> int:
        """The number of tickets that its engine trains at once."""


@dataclass(frozen=True)
class Groups:
    """Trains tasks block by block; a block is the trials whose data are loaded together.

    Args:
        search_of: branch -> its search.
        train: (tasks to train at once, further tasks whose data to load now) -> the results written.
        levels: number of prunings.
        independent: branches whose levels do not depend on other levels.
        failures: collects the tasks that fail.
    """

    search_of: Callable[[str], Trainable]
    train: Callable[[list[Task], list[Task]], list[LevelResult]]
    levels: int
    independent: Collection[str]
    failures: Failures

    def run(self, pending: list[Task], finished: Collection[tuple[int, str, int]]) -> None:
        """Trains the pending tasks, except those that depend on failed ones; arguments as `tasks.ready_together`."""
        branches = {task.branch for task in pending if task.level} or {DENSE}
        width = max((self.search_of(task.branch).width for task in pending), default=1)
        trials = -(-width // tickets_at_a_time(branches, self.levels, self.independent)) if width > 1 else 1
        seeds = sorted({task.seed for task in pending})
        for start in range(0, len(seeds), trials):
            self._run_block([task for task in pending if task.seed in seeds[start : start + trials]], set(finished))

    def _run_block(self, pending: list[Task], finished: set[tuple[int, str, int]]) -> None:
        pending = self.failures.without(pending)
        while first := ready_together(pending, finished, 1, self.independent):
            search = self.search_of(first[0].branch)
            alike = [task for task in pending if self.search_of(task.branch).batch_key == search.batch_key]
            group = ready_together(alike, finished, search.width, self.independent)
            interrupts.check()
            finished |= {Task(done.seed, done.branch, done.level) for done in self.train(group, alike)}
            pending = self.failures.without(task for task in pending if task not in finished)
