"""A level, or several at once: tickets are put into the network, trained, and what came of them is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lth_keras.branches import Weights
from lth_keras.compact import Compact, Trainer
from lth_keras.machine import peak_memory_bytes
from lth_keras.masking import check_connected
from lth_keras.masks import Mask
from lth_keras.network import Network
from lth_keras.results import CURVES, LevelResult, RunDirectory
from lth_keras.tasks import LevelError, Task, builds_on
from lth_keras.tickets import starting_weights
from lth_keras.together import Member, Together, Trained
from lth_keras.training import NonFiniteLossError

NextMask = Callable[[Task, Mask, Weights, Weights], Mask]
StartingMask = Callable[[Task, Weights], Mask]


def train_level(
    network: Network,
    directory: RunDirectory,
    task: Task,
    *,
    compact: Compact | None,
    initial: Weights,
    steps: int,
    starting_mask: StartingMask,
    next_mask: NextMask,
    confusion: bool,
    scored_at: int | None,
    updates: int,
    patience: int | None,
    cut_through: bool,
    keep_weights: bool,
    started: float,
    reporter: Any = None,
) -> LevelResult:
    """Trains a task from what is in the run's directory, writes its level file and returns what is in it.

    Args:
        network: with the data of the task's trial.
        directory: has the levels that the task builds on.
        task: what to train.
        compact: makes smaller networks, to train on those; None trains the whole one.
        initial: the trial's initial weights.
        steps: optimiser updates.
        starting_mask: (task, initial weights) -> the mask to train under.
        next_mask: (task, mask, initial weights, weights to score) -> the mask of the branch's next level.
        confusion: whether to keep counts of outcomes by class of every test.
        scored_at: the step whose weights are scored for the next mask; None for the last.
        updates: what the optimiser's count of updates begins at.
        patience: evaluations without a lower validation loss after which the training ends; None for never.
        cut_through: whether to train a network that its mask cuts through, instead of refusing it.
        keep_weights: whether to store the final weights.
        started: when this level began, by `time.perf_counter`.
        reporter: see `lth_keras.progress.Reporter`.

    Raises:
        LevelError: where the mask cuts the network through and that is refused, the loss or a weight becomes NaN or
            infinite, or the criterion finds nothing that it can rank weights by; nothing is written then.
    """
    mask, weights = _ticket(network, directory, task, initial, starting_mask, cut_through)
    trainer: Trainer = network
    if compact is None:
        network.rewind(weights, mask)
    else:
        trainer = compact.ticket(weights, mask)
    if reporter is not None:
        reporter.started(task, steps)
    scored: dict[str, np.ndarray] = {}
    with _named(directory, task, NonFiniteLossError):
        curves = trainer.train(
            steps,
            seed=task.seed,
            names=("level", task.level),
            confusion=confusion,
            updates=updates,
            patience=patience,
            after=None if scored_at is None else {scored_at: lambda: scored.update(trainer.weights)},
            progress=None if reporter is None else lambda done, total: reporter.advanced(task, done, total),
        )
    # The weights are the network's own, read when they are accessed: they are final until it trains again.
    accuracy = trainer.test_accuracy_at_early_stop(curves)
    trained = Trained(curves, trainer.weights, scored or trainer.weights, accuracy)
    _check_finite(directory, task, trained)
    with _named(directory, task, ValueError):
        pruned = next_mask(task, mask, initial, trained.scored)
    seconds = time.perf_counter() - started
    epoch = network.steps_per_epoch
    return _write(network, directory, task, mask, pruned, trained, epoch, seconds, keep_weights, reporter)


def train_levels(
    together: Together,
    network: Network,
    directory: RunDirectory,
    tasks: Sequence[Task],
    *,
    trial: Mapping[Task, Hashable],
    initial: Mapping[Task, Weights],
    steps: int,
    starting_mask: StartingMask,
    next_mask: NextMask,
    confusion: bool,
    scored_at: Callable[[Task], int | None],
    updates: Callable[[Task], int],
    patience: int | None,
    cut_through: Callable[[Task], bool],
    independent: Collection[str],
    keep_weights: Callable[[Task], bool],
    started: float,
    reporter: Any = None,
) -> list[LevelResult]:
    """As `train_level` for several tasks at once, whose trials' data `together` has.

    Args:
        together: trains them.
        network: whose tickets they are.
        directory: has the levels that the tasks build on, but for those among the tasks, which come first.
        tasks: what to train.
        trial: whose data a task is trained on, as `together` knows them.
        initial: initial weights by task.
        steps: optimiser updates.
        starting_mask: as `train_level`.
        next_mask: as `train_level`.
        confusion: whether to keep counts of outcomes by class of every test.
        scored_at: task -> what `train_level` takes.
        updates: task -> what `train_level` takes.
        patience: as `train_level`.
        cut_through: task -> what `train_level` takes.
        independent: branches whose levels build on no other.
        keep_weights: whether to store a task's final weights.
        started: when this began, by `time.perf_counter`. A level's `seconds` are its share.
        reporter: see `lth_keras.progress.Reporter`.

    Raises:
        LevelError: as `train_level`; the other tasks are trained and written first, but for those that build on it.
    """
    tickets = [_ticket(network, directory, task, initial[task], starting_mask, cut_through(task)) for task in tasks]
    if reporter is not None:
        for task in tasks:
            reporter.started(task, steps)

    def advanced(done: int, total: int) -> None:
        if reporter is not None:
            for task in tasks:
                reporter.advanced(task, done, total)

    results = together.train(
        [
            Member(weights, mask, task.seed, ("level", task.level), trial[task], scored_at(task), updates(task))
            for task, (mask, weights) in zip(tasks, tickets, strict=True)
        ],
        steps,
        confusion=confusion,
        patience=patience,
        progress=advanced,
    )
    seconds = (time.perf_counter() - started) / len(tasks)
    written, errors = [], []
    broken: set[Task] = set()
    for task, (mask, _), trained in zip(tasks, tickets, results, strict=True):
        try:
            with _named(directory, task, NonFiniteLossError):
                if isinstance(trained, NonFiniteLossError):
                    raise trained
            if broken & set(builds_on(task, independent)):
                continue
            _check_finite(directory, task, trained)
            with _named(directory, task, ValueError):
                pruned = next_mask(task, mask, initial[task], trained.scored)
            epoch = len(together.datasets[trial[task]]["train"][0]) // network.batch_size
            kept = keep_weights(task)
            written.append(_write(network, directory, task, mask, pruned, trained, epoch, seconds, kept, reporter))
        except LevelError as error:
            errors.append(error)
            broken.add(task)
    if errors:
        raise errors[0]
    return written


def _ticket(
    network: Network,
    directory: RunDirectory,
    task: Task,
    initial: Weights,
    starting_mask: StartingMask,
    cut_through: bool,
) -> tuple[Mask, Weights]:
    """The mask and the weights that a task starts from."""
    with _named(directory, task, ValueError):
        mask = starting_mask(task, initial) if task.level else Mask.ones(network.mask.shapes)
        if not cut_through:
            check_connected(network.model, mask)
    return mask, starting_weights(task, initial, network.draw_weights)


def _write(
    network: Network,
    directory: RunDirectory,
    task: Task,
    mask: Mask,
    pruned: Mask,
    trained: Trained,
    steps_per_epoch: int,
    seconds: float,
    keep_weights: bool,
    reporter: Any,
) -> LevelResult:
    """Writes the level file of a task that was trained under `mask`, and whose branch goes on with `pruned`."""
    curves = trained.curves
    result = LevelResult(
        seed=task.seed,
        branch=task.branch,
        level=task.level,
        mask=mask,
        next_mask=pruned,
        step=curves.step,
        curves={name: getattr(curves, name) for name in CURVES},
        test_confusion=curves.test_confusion,
        test_counts=curves.test_counts,
        metric=network.metric,
        scalars={
            "density": mask.density,
            "early_stop_step": float(curves.early_stop_step),
            "test_accuracy_at_early_stop": trained.test_accuracy_at_early_stop,
            "test_accuracy_final": float(curves.test_accuracy[-1]),
            "seconds": seconds,
            "peak_memory_bytes": float(peak_memory_bytes()),
        },
        weights=dict(trained.weights) if keep_weights else None,
        steps_per_epoch=steps_per_epoch,
        kinds=network.kinds,
    )
    directory.write(result)
    if reporter is not None:
        reporter.finished(task, result.scalars)
    return result


def _check_finite(directory: RunDirectory, task: Task, trained: Trained) -> None:
    broken = [key for key in trained.weights if not np.isfinite(trained.weights[key]).all()]
    if broken:  # a loss can hide it: fused operations make zeros of NaN
        raise LevelError(
            f"In {task}: weights {broken} are not finite after step {trained.curves.step[-1]}. Lower the learning "
            f"rate. Finished levels are kept in {directory.path}."
        )


@contextmanager
def _named(directory: RunDirectory, task: Task, kind: type[Exception]) -> Iterator[None]:
    """Errors of this kind within it become a `LevelError` that names the task."""
    try:
        yield
    except kind as error:
        raise LevelError(f"In {task}: {error} Finished levels are kept in {directory.path}.") from error
