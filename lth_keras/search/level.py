"""A level, or several at once: tickets are put into the network, trained, and what came of them is written."""

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
from lth_keras.system import interrupts
from lth_keras.system.machine import peak_memory_bytes, return_free_memory
from lth_keras.training import Curves, NonFiniteLossError
from lth_keras.training.compact import Compact, Trainer
from lth_keras.training.network import Network
from lth_keras.training.together import Member, Together, Trained


class Recipe(NamedTuple):
    """How a task is trained.

    Attributes:
        initial: the trial's initial weights.
        steps: optimiser updates.
        masks: makes the masks that it begins and goes on with.
        confusion: whether to keep counts of outcomes by class of every test.
        scored_at: the step whose weights are scored for the next mask; None for the last.
        updates: what the optimiser's count of updates begins at.
        patience: evaluations without a lower validation loss after which the training ends; None for never.
        cut_through: whether to train a network that its mask cuts through, instead of refusing it.
        keep_weights: whether to store the final weights.
        compact: makes smaller networks, to train on those where it is alone; None trains the whole one.
        observe: (mask, weights at the start, weights at the end) -> what else to record of it.
        made: what it is made with, JSON values to record.
    """

    initial: Weights
    steps: int
    masks: LevelMasks
    confusion: bool
    scored_at: int | None
    updates: int
    patience: int | None
    cut_through: bool
    keep_weights: bool
    compact: Compact | None
    observe: Callable[[Mask, Weights, Weights], Distributions]
    made: Mapping[str, Any]


def train_level(
    network: Network,
    directory: RunDirectory,
    task: Task,
    recipe: Recipe,
    *,
    started: float,
    reporter: Any = None,
) -> LevelResult:
    """Trains a task from what is in the run's directory, writes its level file and returns what is in it.

    Args:
        network: with the data of the task's trial.
        directory: has the levels that the task builds on.
        task: what to train.
        recipe: how.
        started: when this level began, by `time.perf_counter`.
        reporter: see `lth_keras.system.progress.Reporter`.

    Raises:
        LevelError: where the mask cuts the network through and that is refused, the loss or a weight becomes NaN or
            infinite, or the criterion finds nothing that it can rank weights by; nothing is written then.
    """
    mask, weights = _ticket(network, directory, task, recipe)
    trainer: Trainer = network
    if recipe.compact is None:
        network.rewind(weights, mask)
    else:
        trainer = recipe.compact.ticket(weights, mask)
    interrupts.check()
    if reporter is not None:
        reporter.started(task, recipe.steps)
    scored: dict[str, np.ndarray] = {}
    at = recipe.scored_at
    with _named(directory, task, NonFiniteLossError):
        curves = trainer.train(
            recipe.steps,
            seed=task.seed,
            names=("level", task.level),
            confusion=recipe.confusion,
            updates=recipe.updates,
            patience=recipe.patience,
            after=None if at is None else {at: lambda: scored.update(trainer.weights)},
            progress=None if reporter is None else lambda done, total: reporter.advanced(task, done, total),
        )
    # The weights are the network's own, read when they are accessed: they are final until it trains again.
    metric = trainer.test_metric_at_early_stop(curves)
    trained = Trained(curves, trainer.weights, scored or trainer.weights, metric)
    pruned = _next_mask(network, directory, task, recipe, mask, trained)
    seconds = time.perf_counter() - started
    seen = _observed(directory, task, recipe, mask, weights, trained)
    return _write(
        network, directory, task, recipe, mask, pruned, trained, seen, network.steps_per_epoch, seconds, reporter
    )


def train_levels(
    together: Together,
    network: Network,
    directory: RunDirectory,
    recipes: Mapping[Task, Recipe],
    *,
    trial: Mapping[Task, Hashable],
    failures: Failures,
    started: float,
    reporter: Any = None,
) -> list[LevelResult]:
    """As `train_level` for several tasks at once, whose trials' data `together` has.

    Args:
        together: trains them.
        network: whose tickets they are.
        directory: has the levels that the tasks build on, but for those among the tasks, which come first.
        recipes: what to train, and how; with the same steps, patience and `confusion`.
        trial: whose data a task is trained on, as `together` knows them.
        failures: gets the tasks that fail: as `train_level`; the others are trained and written, but for those that
            build on them.
        started: when this began, by `time.perf_counter`. A level's `seconds` are its share.
        reporter: see `lth_keras.system.progress.Reporter`.

    Returns:
        What was written.
    """
    tickets: dict[Task, tuple[Mask, Weights]] = {}
    for task, recipe in recipes.items():
        with _collected(failures, task):
            tickets[task] = _ticket(network, directory, task, recipe)
    tasks, common = list(tickets), next(iter(recipes.values()))
    if not tasks:
        return []
    if reporter is not None:
        for task in tasks:
            reporter.started(task, common.steps)

    def advanced(done: int, total: int) -> None:
        if reporter is not None:
            for task in tasks:
                reporter.advanced(task, done, total)

    results = together.train(
        [
            Member(weights, mask, task.seed, ("level", task.level), trial[task], recipe.scored_at, recipe.updates)
            for task, (mask, weights) in tickets.items()
            for recipe in [recipes[task]]
        ],
        common.steps,
        confusion=common.confusion,
        patience=common.patience,
        progress=advanced,
    )
    seconds = (time.perf_counter() - started) / len(tasks)
    written = []
    for (task, (mask, weights)), trained in zip(tickets.items(), results, strict=True):
        recipe = recipes[task]
        if failures.rule_out(task):
            continue
        with _collected(failures, task):
            with _named(directory, task, NonFiniteLossError):
                if isinstance(trained, NonFiniteLossError):
                    raise trained
            pruned = _next_mask(network, directory, task, recipe, mask, trained)
            seen = _observed(directory, task, recipe, mask, weights, trained)
            epoch = len(together.datasets[trial[task]]["train"][0]) // network.batch_size
            written.append(
                _write(network, directory, task, recipe, mask, pruned, trained, seen, epoch, seconds, reporter)
            )
    return written


def _ticket(network: Network, directory: RunDirectory, task: Task, recipe: Recipe) -> tuple[Mask, Weights]:
    """The mask and the weights that a task starts from."""
    directory.check_there()
    with _named(directory, task, ValueError):
        if task.level:
            mask = recipe.masks.starting(directory, task, recipe.initial)
        else:
            mask = Mask.ones(network.mask.shapes)
        if not recipe.cut_through:
            check_connected(network.model, mask)
    return mask, starting_weights(task, recipe.initial, network.draw_weights)


def _next_mask(
    network: Network, directory: RunDirectory, task: Task, recipe: Recipe, mask: Mask, trained: Trained
) -> Mask:
    """The mask that the branch of a task goes on with, where what came of it is finite."""
    _check_finite(network, directory, task, trained)
    with _named(directory, task, ValueError):
        return recipe.masks.following(directory, task, mask, recipe.initial, trained.scored)


def _observed(
    directory: RunDirectory, task: Task, recipe: Recipe, mask: Mask, weights: Weights, trained: Trained
) -> Distributions:
    """What else to record of a task that started from these weights."""
    with _named(directory, task, ValueError):
        return recipe.observe(mask, weights, trained.weights)


def _write(
    network: Network,
    directory: RunDirectory,
    task: Task,
    recipe: Recipe,
    mask: Mask,
    pruned: Mask,
    trained: Trained,
    seen: Distributions,
    steps_per_epoch: int,
    seconds: float,
    reporter: Any,
) -> LevelResult:
    """Writes the level file of a task that was trained under `mask`, and whose branch goes on with `pruned`."""
    curves = trained.curves
    measured = network.measured
    metric = MetricName(measured.name, measured.label, measured.direction, measured.units)
    result = LevelResult(
        seed=task.seed,
        branch=task.branch,
        level=task.level,
        mask=mask,
        next_mask=pruned,
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
        weights=dict(trained.weights) if recipe.keep_weights else None,
        steps_per_epoch=steps_per_epoch,
        kinds=network.kinds,
        distributions=seen,
        made={**recipe.made, "run": directory.identity},
    )
    directory.write(result)
    return_free_memory()
    if reporter is not None:
        reporter.finished(task, result.scalars)
    return result


def curves_by_name(metric: str, curves: Curves) -> dict[str, np.ndarray]:
    """What was measured along a training, by its names in files, where the metric has this one."""
    return {
        "train_loss": curves.train_loss,
        "validation_loss": curves.validation_loss,
        f"validation_{metric}": curves.validation_metric,
        "test_loss": curves.test_loss,
        f"test_{metric}": curves.test_metric,
    }


def _check_finite(network: Network, directory: RunDirectory, task: Task, trained: Trained) -> None:
    broken = [key for key in trained.weights if not np.isfinite(trained.weights[key]).all()]
    if broken:  # a loss can hide it: fused operations make zeros of NaN
        raise LevelError(
            f"In {task}: weights {broken} are not finite after step {trained.curves.step[-1]}. "
            f"{network.advice} {directory.kept()}"
        )


@contextmanager
def _collected(failures: Failures, task: Task) -> Iterator[None]:
    """A `LevelError` within it is noted, and others go on."""
    try:
        yield
    except LevelError as error:
        failures.add(task, error)


@contextmanager
def _named(directory: RunDirectory, task: Task, kind: type[Exception]) -> Iterator[None]:
    """Errors of this kind within it become a `LevelError` that names the task."""
    try:
        yield
    except kind as error:
        raise LevelError(f"In {task}: {error} {directory.kept()}") from error
