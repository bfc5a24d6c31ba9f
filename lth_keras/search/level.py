"""Trains levels: makes their tickets, trains them with an engine and writes the level files."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lth_keras.analysis import Distributions, MetricName
from lth_keras.arrays import Weights
from lth_keras.mask import Mask
from lth_keras.masking import check_connected
from lth_keras.search.failures import Failures
from lth_keras.search.level_masks import LevelMasks
from lth_keras.search.tasks import LevelError, Task
from lth_keras.search.tickets import starting_weights
from lth_keras.storage import LevelResult, RunDirectory
from lth_keras.system import interrupts, peak_memory_bytes, return_free_memory
from lth_keras.training import Curves, Network, NonFiniteLossError
from lth_keras.training.engines import Callbacks, Engine, Schedule, Ticket, Trained


class LevelSettings(NamedTuple):
    """Settings of one task's training.

    Attributes:
        initial: the trial's initial weights.
        schedule: length of the training.
        masks: makes its mask and the next level's.
        score_at: the step whose weights are scored for the next mask; None for the last.
        updates: initial value of the optimiser's step count.
        cut_through: whether to train a network whose mask disconnects inputs from outputs, instead of raising.
        keep_weights: whether to store the final weights.
        data: the key of the trial's data set in `Network.datasets`.
        observe: (mask, weights at the start, weights at the end) -> distributions to record.
        made: the level's provenance, JSON values to record.
    """

    initial: Weights
    schedule: Schedule
    masks: LevelMasks
    score_at: int | None
    updates: int
    cut_through: bool
    keep_weights: bool
    data: Hashable
    observe: Callable[[Mask, Weights, Weights], Distributions]
    made: Mapping[str, Any]


def train_levels(
    engine: Engine,
    network: Network,
    directory: RunDirectory,
    tasks: Mapping[Task, LevelSettings],
    *,
    failures: Failures,
    started: float,
    reporter: Any = None,
) -> list[LevelResult]:
    """Trains tasks from the levels in the run's directory and writes their level files.

    Args:
        engine: the engine.
        network: the network, with the tasks' data.
        directory: has the levels that the tasks depend on, except those among the tasks themselves.
        tasks: tasks with their settings, each after the tasks that it depends on; all have the same schedule.
        failures: collects failed tasks: their mask disconnects the network and that is refused, their loss or weights
            become NaN or infinite, or their criterion cannot rank the weights. All tasks that do not depend on failed
            ones are trained and written.
        started: start time, by `time.perf_counter`. A level's `seconds` are its share of the training and the
            time that its next mask takes.
        reporter: see `lth_keras.system.progress.Reporter`.

    Returns:
        The results written.
    """
    starts: dict[Task, tuple[Mask, Weights]] = {}
    for task, settings in tasks.items():
        with _collected(failures, task):
            starts[task] = _start(network, directory, task, settings)
    if not starts:
        return []
    interrupts.check()
    schedule = next(iter(tasks.values())).schedule
    if reporter is not None:
        for task in starts:
            reporter.started(task, schedule.steps)

    def advanced(done: int, total: int) -> None:
        if reporter is not None:
            for task in starts:
                reporter.advanced(task, done, total)

    tickets = [
        Ticket(weights, mask, task.seed, ("level", task.level), settings.data, settings.score_at, settings.updates)
        for task, (mask, weights) in starts.items()
        for settings in [tasks[task]]
    ]
    written: list[LevelResult] = []
    results = engine.train(network, tickets, schedule, Callbacks(advanced))
    shared = 0.0  # seconds until the batch was trained
    for (task, start), trained in zip(starts.items(), results, strict=True):
        own = time.perf_counter()
        shared = shared or own - started
        if failures.rule_out(task):
            continue
        with _collected(failures, task):
            began = own - shared / len(starts)
            written.append(_finish(network, directory, task, tasks[task], start, trained, began))
            if reporter is not None:
                reporter.finished(task, written[-1].scalars)
    return written


def _finish(
    network: Network,
    directory: RunDirectory,
    task: Task,
    settings: LevelSettings,
    start: tuple[Mask, Weights],
    trained: Trained,
    began: float,
) -> LevelResult:
    """Makes the mask of the branch's next level and writes the level file; `began` is when the level's time began."""
    mask, weights = start
    with _named(directory, task, NonFiniteLossError):
        if trained.failure is not None:
            raise trained.failure
    _check_finite(network, directory, task, trained)
    with _named(directory, task, ValueError):
        next_mask = settings.masks.following(directory, task, mask, settings.initial, trained.scored)
        seen = settings.observe(mask, weights, trained.weights)
    seconds = time.perf_counter() - began
    return _write(network, directory, task, settings, mask, next_mask, trained, seen, seconds)


def _start(network: Network, directory: RunDirectory, task: Task, settings: LevelSettings) -> tuple[Mask, Weights]:
    """The mask and initial weights of a task."""
    directory.check_there()
    with _named(directory, task, ValueError):
        if task.level:
            mask = settings.masks.starting(directory, task, settings.initial)
        else:
            mask = Mask.ones(network.mask.shapes)
        if not settings.cut_through:
            check_connected(network.model, mask)
    return mask, starting_weights(task, settings.initial, network.draw_weights)


def _write(
    network: Network,
    directory: RunDirectory,
    task: Task,
    settings: LevelSettings,
    mask: Mask,
    next_mask: Mask,
    trained: Trained,
    seen: Distributions,
    seconds: float,
) -> LevelResult:
    """Writes the level file of a task; `next_mask` is the mask of its branch's next level."""
    curves = trained.curves
    measured = network.measured
    metric = MetricName(measured.name, measured.label, measured.direction, measured.units)
    result = LevelResult(
        seed=task.seed,
        branch=task.branch,
        level=task.level,
        mask=mask,
        next_mask=next_mask,
        step=curves.step,
        curves=curves_by_name(metric.name, curves),
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
        weights=dict(trained.weights) if settings.keep_weights else None,
        steps_per_epoch=len(network.datasets[settings.data]["train"][0]) // network.batch_size,
        kinds=network.kinds,
        distributions=seen,
        made={**settings.made, "run": directory.identity},
    )
    directory.write(result)
    return_free_memory()
    return result


def curves_by_name(metric: str, curves: Curves) -> dict[str, np.ndarray]:
    """The curves of a training by their names in files; `metric` is the metric's name."""
    return {
        "train_loss": curves.train_loss,
        "validation_loss": curves.validation_loss,
        f"validation_{metric}": curves.validation_metric,
        "test_loss": curves.test_loss,
        f"test_{metric}": curves.test_metric,
    }


def _check_finite(network: Network, directory: RunDirectory, task: Task, trained: Trained) -> None:
    broken = [key for key in trained.weights if not np.isfinite(trained.weights[key]).all()]
    if broken:  # the loss can be finite all the same: fused operations can turn NaN into zero
        raise LevelError(
            f"In {task}: weights {broken} are not finite after step {trained.curves.step[-1]}. "
            f"{network.advice} {directory.kept()}"
        )


@contextmanager
def _collected(failures: Failures, task: Task) -> Iterator[None]:
    """Records a `LevelError` raised within it, so that other tasks continue."""
    try:
        yield
    except LevelError as error:
        failures.add(task, error)


@contextmanager
def _named(directory: RunDirectory, task: Task, kind: type[Exception]) -> Iterator[None]:
    """Turns errors of this kind into a `LevelError` that names the task."""
    try:
        yield
    except kind as error:
        raise LevelError(f"In {task}: {error} {directory.kept()}") from error
