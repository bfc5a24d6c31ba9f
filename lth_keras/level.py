"""One level: puts its ticket into the network, trains it, and writes what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lth_keras.branches import Weights
from lth_keras.machine import peak_memory_bytes
from lth_keras.masking import check_connected
from lth_keras.masks import Mask
from lth_keras.network import Network
from lth_keras.results import CURVES, LevelResult, RunDirectory
from lth_keras.tasks import LevelError, Task
from lth_keras.tickets import starting_mask, starting_weights
from lth_keras.training import Curves, NonFiniteLossError


def train_level(
    network: Network,
    directory: RunDirectory,
    task: Task,
    *,
    initial: Weights,
    steps: int,
    next_mask: Callable[[Mask, Weights], Mask],
    confusion: bool,
    keep_weights: bool,
    started: float,
    reporter: Any = None,
) -> LevelResult:
    """Trains a task from what is in the run's directory, writes its level file and returns what is in it.

    Args:
        network: with the data of the task's trial.
        directory: has the levels that the task builds on.
        task: what to train.
        initial: the trial's initial weights.
        steps: optimiser updates.
        next_mask: (mask, final weights) -> the mask of the branch's next level.
        confusion: whether to keep a confusion matrix of every test.
        keep_weights: whether to store the final weights.
        started: when this level began, by `time.perf_counter`.
        reporter: see `lth_keras.progress.Reporter`.

    Raises:
        LevelError: where the mask cuts the network through, or the loss or a weight becomes NaN or infinite; nothing
            is written then.
    """
    mask = starting_mask(directory, task) if task.level else Mask.ones(network.mask.shapes)
    with _named(directory, task, ValueError):
        check_connected(network.model, mask)
    network.rewind(starting_weights(task, initial, network.draw_weights), mask)
    if reporter is not None:
        reporter.started(task, steps)
    curves, final = _train(network, directory, task, steps, confusion, reporter)
    result = LevelResult(
        seed=task.seed,
        branch=task.branch,
        level=task.level,
        mask=mask,
        next_mask=next_mask(mask, final),
        step=curves.step,
        curves={name: getattr(curves, name) for name in CURVES},
        test_confusion=curves.test_confusion,
        scalars={
            "density": mask.density,
            "early_stop_step": float(curves.early_stop_step),
            "test_accuracy_at_early_stop": network.test_accuracy_at_early_stop(curves),
            "test_accuracy_final": float(curves.test_accuracy[-1]),
            "seconds": time.perf_counter() - started,
            "peak_memory_bytes": float(peak_memory_bytes()),
        },
        weights=dict(final) if keep_weights else None,
    )
    directory.write(result)
    if reporter is not None:
        reporter.finished(task, result.scalars)
    return result


def _train(
    network: Network, directory: RunDirectory, task: Task, steps: int, confusion: bool, reporter: Any
) -> tuple[Curves, Weights]:
    """Trains the network from the weights as they are; what was measured, and the final weights, all finite.

    The weights are the network's own, read when they are accessed: they are final until it trains again.
    """
    with _named(directory, task, NonFiniteLossError):
        curves = network.train(
            steps,
            seed=task.seed,
            names=("level", task.level),
            confusion=confusion,
            progress=None if reporter is None else lambda done, total: reporter.advanced(task, done, total),
        )
    final = network.weights
    broken = [key for key in final if not np.isfinite(final[key]).all()]
    if broken:  # a loss can hide it: fused operations make zeros of NaN
        raise LevelError(
            f"In {task}: weights {broken} are not finite after step {steps}. Lower the learning rate. Finished "
            f"levels are kept in {directory.path}."
        )
    return curves, final


@contextmanager
def _named(directory: RunDirectory, task: Task, kind: type[Exception]) -> Iterator[None]:
    """Errors of this kind within it become a `LevelError` that names the task."""
    try:
        yield
    except kind as error:
        raise LevelError(f"In {task}: {error} Finished levels are kept in {directory.path}.") from error
