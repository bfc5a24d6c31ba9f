"""Tickets of several trials and branches trained together, a block of trials at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from lth_keras.search.branches import DENSE
from lth_keras.search.failures import Failures
from lth_keras.search.level import Recipe, train_levels
from lth_keras.search.tasks import Task, ready_together, tickets_at_a_time
from lth_keras.search.trial_data import TrialData
from lth_keras.search.workshop import Workshop
from lth_keras.storage import RunDirectory
from lth_keras.system import interrupts
from lth_keras.training.network import Network


class Trainable(Protocol):
    """What training together needs of the search that a branch belongs to; see `TicketSearch`."""

    @property
    def network(self) -> Network:
        """The network that its tickets are of."""

    @property
    def trial_data(self) -> TrialData:
        """The data of its trials."""

    @property
    def kin(self) -> Hashable:
        """What tickets must have in common to be trained together."""

    def recipe(self, task: Task, examples: int, keep_weights: str) -> Recipe:
        """How a task is trained on so many examples."""


@dataclass(frozen=True)
class Blocks:
    """Trains tasks together, while the data of a block of trials are on the device.

    Args:
        of: branch -> the search that it belongs to.
        workshop: has the programs.
        width: tickets at a time.
        levels: number of prunings.
        independent: branches whose levels wait for no other.
        directory: the run's.
        keep_weights: final weights to store, as `TicketSearch.run`.
        failures: gets what fails.
        reporter: see `lth_keras.system.progress.Reporter`.
    """

    of: Callable[[str], Trainable]
    workshop: Workshop
    width: int
    levels: int
    independent: Collection[str]
    directory: RunDirectory
    keep_weights: str
    failures: Failures
    reporter: Any = None

    def train(self, pending: list[Task], finished: Collection[tuple[int, str, int]]) -> None:
        """Trains all that is pending and does not build on failures; arguments as `tasks.ready_together`."""
        branches = {task.branch for task in pending if task.level} or {DENSE}
        trials = -(-self.width // tickets_at_a_time(branches, self.levels, self.independent))
        seeds = sorted({task.seed for task in pending})
        for start in range(0, len(seeds), trials):
            self._train_block([task for task in pending if task.seed in seeds[start : start + trials]], set(finished))

    def _train_block(self, pending: list[Task], finished: set[tuple[int, str, int]]) -> None:
        while first := ready_together(pending, finished, 1, self.independent):
            kin = self.of(first[0].branch).kin
            alike = [task for task in pending if self.of(task.branch).kin == kin]
            group = ready_together(alike, finished, self.width, self.independent)
            interrupts.check()
            finished |= self._train_group(group, alike)
            pending = self.failures.without(task for task in pending if task not in finished)

    def _train_group(self, group: list[Task], alike: list[Task]) -> set[Task]:
        """Trains tasks at once; where data must be loaded for it, those of all that are alike. Returns the finished."""
        started = time.perf_counter()
        network = self.of(group[0].branch).network
        together = self.workshop.together(network, self.width)
        trial = {task: self.of(task.branch).trial_data.key(task.seed) for task in alike}
        if not together.datasets.keys() >= {trial[task] for task in group}:
            together.datasets = {}  # what was there makes room first
            of_all = {key: task for task, key in trial.items()}
            together.load({key: self.of(task.branch).trial_data.checked(task.seed) for key, task in of_all.items()})
        examples = len(together.datasets[trial[group[0]]]["train"][0])
        written = train_levels(
            together,
            network,
            self.directory,
            {task: self.of(task.branch).recipe(task, examples, self.keep_weights) for task in group},
            trial=trial,
            failures=self.failures,
            started=started,
            reporter=self.reporter,
        )
        return {Task(result.seed, result.branch, result.level) for result in written}
