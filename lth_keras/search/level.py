"""Trains levels: makes their tickets, trains them with an engine and writes the level files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_keras.analysis import Distributions, MetricName
from lth_keras.arrays import TrainingState, Weights
from lth_keras.mask import Mask
from lth_keras.masking import check_connected
from lth_keras.search.branches import DENSE, is_control
from lth_keras.search.failures import Failures
from lth_keras.search.provenance import made_by
from lth_keras.search.rewinding import NONE, WEIGHTS
from lth_keras.search.tasks import Kept, LevelError, Task
from lth_keras.search.tickets import rewound_state, starting_weights
from lth_keras.storage import LevelResult, RunDirectory
from lth_keras.system import integer, interrupts, peak_memory_bytes, return_free_memory
from lth_keras.training import NonFiniteLossError
from lth_keras.training.engines import Callbacks, Schedule, Ticket, Trained

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


class Level:
    """The training of one task.

    Args:
        search: the search of the task's branch, with the trial's data in its network.
        directory: has the levels that the task depends on.
        task: the task.
        per_epoch: batches in one pass over the training data, None if unknown.
        kept: the tasks whose final weights are stored.

    Raises:
        ValueError: if the training is too short for `score_at` or `rewind`; see also the criterion and `start`.
    """

    def __init__(
        self, search: TicketSearch, directory: RunDirectory, task: Task, per_epoch: int | None, kept: Kept
    ) -> None:
        training, self.score_at = search.training, search.pruning.score_at
        steps = training.steps_of(per_epoch)
        if self.score_at is not None and self.score_at > steps:
            raise ValueError(f"Expected score_at in 0 ... {steps}, the steps of a training. Received: {self.score_at}.")
        self.rewinding = search.rewinding
        whole = self.rewinding.is_whole
        self.schedule = Schedule(integer("steps", steps, 1), training.patience, training.confusion, whole)
        self.point = self.rewinding.step(per_epoch or 0, steps)
        if self.score_at is not None and self.score_at < self.point:
            raise ValueError(
                f"Expected score_at in {self.point} ... {steps}, the steps of a level with rewind={search.rewind!r}. "
                f"Received: {self.score_at}."
            )
        self.updates = task.level * steps if training.carry_step_count else 0
        self.search, self.network, self.directory, self.task = search, search.network, directory, task
        self.per_epoch = per_epoch
        self.data = search.trial_data.key(task.seed)
        self.keeps_weights = kept.holds(task)
        self.initial = search.selection.initial_weights(task.seed)
        self.made = made_by(search, task.seed)

    @cached_property
    def start(self) -> tuple[Mask, Weights]:
        """Its mask and the weights that it starts from.

        Raises:
            LevelError: for a mask that disconnects the network and is refused, or that cannot be made.
        """
        network, task = self.network, self.task
        self.directory.check_there()
        with self._named(ValueError):
            if task.level:
                mask = self.search.selection.starting_mask(self.directory, task, self.initial)
            else:
                mask = self.search.first_mask
            if self.search.pruning.cut_through == "refuse":
                check_connected(network.model, mask)
            state = self.rewound
        rewound = self.initial if state is None else state.weights
        return mask, starting_weights(task, rewound, network.draw_weights)

    @cached_property
    def rewound(self) -> TrainingState | None:
        """The state of an earlier training that it continues from; see `tickets.rewound_state`."""
        return rewound_state(self.directory, self.task, self.rewinding)

    @property
    def ticket(self) -> Ticket:
        """The ticket to train."""
        mask, weights = self.start
        names = ("level", self.task.level)
        ticket = Ticket(weights, mask, self.task.seed, names, self.data, self.score_at, self.updates)
        ticket = ticket._replace(state_at=self.state_at)
        if self.rewound is None:
            return ticket
        optimizer = self.rewinding.optimizer(self.rewound, self.point, self.schedule.steps)
        return ticket._replace(start=self.point, optimizer=optimizer)

    @property
    def state_at(self) -> int | None:
        """The step whose state later levels start from, with the optimiser's; None if they need no optimiser."""
        if self.rewinding.form == WEIGHTS and self.task.level == 0:
            return self.point
        goes_on = self.rewinding.form == NONE and not is_control(self.task.branch)
        return self.schedule.steps if goes_on else None

    def state(self, trained: Trained) -> TrainingState | None:
        """The state that later levels start from, for the level file.

        Raises:
            LevelError: if the training has ended before the step that later levels are rewound to.
        """
        kept, task = trained.state, self.task
        if self.rewinding.form == WEIGHTS and kept is not None and kept.step < self.point:
            raise LevelError(
                f"In {task}: expected a training that reaches step {self.point}, which later levels are rewound to. "
                f"Received: patience ended it at step {kept.step}. {self.directory.kept()}"
            )
        if self.rewinding.continues and kept is None and not is_control(task.branch):
            return TrainingState(int(trained.curves.step[-1]), dict(trained.weights))
        return kept

    def observed(self, trained: Trained) -> Distributions:
        """The distributions of the level; those of scores only at level 0, for the initial dense network."""
        mask, before = self.start
        drawn = partial(self.search.selection.drawn_state, self.task.seed) if self.task.branch == DENSE else None
        return self.search.observe.of_level(mask, before, trained.weights, drawn)

    def finish(self, trained: Trained, began: float) -> LevelResult:
        """Makes the mask of the branch's next level and writes the level file.

        Args:
            trained: result of the training.
            began: when the level's time began, by `time.perf_counter`.

        Raises:
            LevelError: for a loss or weights that are not finite, or a criterion that cannot rank the weights.
        """
        mask, network, task = self.start[0], self.network, self.task
        with self._named(NonFiniteLossError):
            if trained.failure is not None:
                raise trained.failure
        broken = [key for key in trained.weights if not np.isfinite(trained.weights[key]).all()]
        if broken:  # the loss can be finite all the same: fused operations can turn NaN into zero
            raise LevelError(
                f"In {task}: weights {broken} are not finite after step {trained.curves.step[-1]}. "
                f"{network.advice} {self.directory.kept()}"
            )
        with self._named(ValueError):
            next_mask = self.search.selection.next_mask(self.directory, task, mask, self.initial, trained.scored)
            seen = self.observed(trained)
        seconds = time.perf_counter() - began
        curves, measured = trained.curves, network.measured
        metric = MetricName(measured.name, measured.label, measured.direction, measured.units)
        result = LevelResult(
            seed=task.seed,
            branch=task.branch,
            level=task.level,
            mask=mask,
            next_mask=next_mask,
            step=curves.step,
            curves={
                "train_loss": curves.train_loss,
                "validation_loss": curves.validation_loss,
                f"validation_{metric.name}": curves.validation_metric,
                "test_loss": curves.test_loss,
                f"test_{metric.name}": curves.test_metric,
            },
            test_confusion=curves.test_confusion,
            test_counts=curves.test_counts,
            metric=metric,
            scalars={
                "density": mask.density,
                "early_stop_step": float(curves.early_stop_step),
                f"test_{metric.name}_at_early_stop": trained.test_metric_at_early_stop,
                f"test_{metric.name}_final": float(curves.test_metric[-1]),
                "seconds": seconds,
                "peak_memory_bytes": float(peak_memory_bytes()),
            },
            weights=dict(trained.weights) if self.keeps_weights else None,
            state=self.state(trained),
            steps_per_epoch=self.per_epoch,
            kinds=network.kinds,
            distributions=seen,
            made={**self.made, "run": self.directory.identity},
        )
        self.directory.write(result)
        return_free_memory()
        return result

    @contextmanager
    def _named(self, kind: type[Exception]) -> Iterator[None]:
        """Turns errors of this kind into a `LevelError` that names the task."""
        try:
            yield
        except kind as error:
            raise LevelError(f"In {self.task}: {error} {self.directory.kept()}") from error


def train_levels(
    levels: Sequence[Level], *, failures: Failures, started: float, reporter: Any = None
) -> list[LevelResult]:
    """Trains levels from those in the run's directory and writes their level files.

    Args:
        levels: each after those that it depends on; all have the same network, engine and schedule.
        failures: collects failed tasks: their mask disconnects the network and that is refused, their loss or weights
            become NaN or infinite, or their criterion cannot rank the weights. All tasks that do not depend on failed
            ones are trained and written.
        started: start time, by `time.perf_counter`. A level's `seconds` are its share of the training and the
            time that its next mask takes.
        reporter: see `lth_keras.system.progress.Reporter`.

    Returns:
        The results written.
    """
    tickets: dict[Task, Ticket] = {}
    for level in levels:
        with failures.collected(level.task):
            tickets[level.task] = level.ticket
    if not tickets:
        return []
    interrupts.check()
    first, left = levels[0], [level for level in levels if level.task in tickets]
    if reporter is not None:
        for task in tickets:
            reporter.started(task, first.schedule.steps)

    def advanced(done: int, total: int) -> None:
        if reporter is not None:
            for task in tickets:
                reporter.advanced(task, done, total)

    written: list[LevelResult] = []
    results = first.search.trainer.train(first.network, [*tickets.values()], first.schedule, Callbacks(advanced))
    shared = 0.0  # seconds until the batch was trained
    for level, trained in zip(left, results, strict=True):
        own = time.perf_counter()
        shared = shared or own - started
        if failures.rule_out(level.task):
            continue
        with failures.collected(level.task):
            written.append(level.finish(trained, own - shared / len(left)))
            if reporter is not None:
                reporter.finished(level.task, written[-1].scalars)
    return written
