"""Trains tasks in groups of the engine's width, one block of trials after the other."""

from __future__ import annotations

import json
import multiprocessing
import time
import warnings
from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Any

import keras

from lth_keras.search.branches import BRANCHES, DENSE
from lth_keras.search.failures import Failures
from lth_keras.search.level import Level, train_levels
from lth_keras.search.tasks import NOTHING_KEPT, Kept, Task, ready_together, tickets_at_a_time
from lth_keras.search.variants import changes_given
from lth_keras.storage import MODEL, LevelResult, RunDirectory, read_note, write_note
from lth_keras.system import interrupts
from lth_keras.training import described, recorded
from lth_keras.training.engines import AUTO

if TYPE_CHECKING:
    from lth_keras.search.execution import Prepared
    from lth_keras.search.search import TicketSearch

OF_MODELS = {"build", "exclude", "prune_frozen"}
"""Parameters that decide a variant's model and which of its layers are masked."""


def train_in_groups(
    run: Prepared,
    pending: list[Task],
    finished: Collection[tuple[int, str, int]],
    failures: Failures,
    reporter: Any,
) -> None:
    """Trains pending tasks in this process block by block; a block is the trials whose data are loaded together.

    Args:
        run: the run.
        pending: unfinished tasks in the order of `tasks.pending_tasks`.
        finished: finished tasks.
        failures: collects the tasks that fail; those that depend on them are not trained.
        reporter: see `TicketSearch.run`.
    """
    search = run.search
    for branch in sorted({task.branch for task in pending}):
        if search.search_of(branch).engine != AUTO:
            search.search_of(branch).network  # noqa: B018  # checks that the engine can train it
    of, independent = search.search_of, search.independent
    branches = {task.branch for task in pending if task.level} or {DENSE}
    width = max((of(task.branch).width for task in pending), default=1)
    trials = -(-width // tickets_at_a_time(branches, search.levels, independent)) if width > 1 else 1
    seeds = sorted({task.seed for task in pending})
    done = set(finished)
    for start in range(0, len(seeds), trials):
        block = failures.without(task for task in pending if task.seed in seeds[start : start + trials])
        while first := ready_together(block, done, 1, independent):
            own = of(first[0].branch)
            alike = [task for task in block if _batch_key(of(task.branch)) == _batch_key(own)]
            group = ready_together(alike, done, own.width, independent)
            interrupts.check()
            written = train_group(search, run.directory, group, alike, failures, run.kept, reporter)
            done |= {Task(result.seed, result.branch, result.level) for result in written}
            block = failures.without(task for task in block if task not in done)


def _batch_key(search: TicketSearch) -> Hashable:
    """Tickets of searches with equal keys can be trained in one group."""
    training = search.training
    return search.network, search.spelling, training.steps, training.epochs, training.confusion, training.patience


def train_group(
    search: TicketSearch,
    directory: RunDirectory,
    tasks: list[Task],
    alike: list[Task],
    failures: Failures,
    kept: Kept,
    reporter: Any,
) -> list[LevelResult]:
    """Trains tasks with equal `_batch_key` together; `alike` are later ones of the block, whose data are loaded too.

    Returns:
        The results written.
    """
    started = time.perf_counter()
    for branch in sorted({task.branch for task in tasks}):
        _record_start(search, directory, branch)
        record_model(search, directory, branch)
    levels = loaded_levels(search, directory, tasks, alike, kept)
    return train_levels(levels, failures=failures, started=started, reporter=reporter)


def loaded_levels(
    search: TicketSearch, directory: RunDirectory, tasks: list[Task], alike: list[Task], kept: Kept = NOTHING_KEPT
) -> list[Level]:
    """The levels of tasks with equal `_batch_key`, with their data in the network; `alike` as in `train_group`."""
    own = search.search_of(tasks[0].branch)
    network = own.network
    data = {task: search.search_of(task.branch).trial_data for task in {*tasks, *alike}}
    keys = {task: data[task].key(task.seed) for task in data}
    if not network.datasets.keys() >= {keys[task] for task in tasks}:
        network.unload()  # frees memory before the new data are loaded
        of_all = {keys[task]: task for task in (alike if own.width > 1 else tasks)}
        network.take({key: data[task].checked(task.seed) for key, task in of_all.items()})
    interrupts.check()
    counted = own.training.epochs is not None or own.rewinding.unit == "epoch"
    per_epoch = network.batches_of(network.datasets[keys[tasks[0]]]["train"], counted=counted)
    return [Level(search.search_of(task.branch), directory, task, per_epoch, kept) for task in tasks]


def _record_start(search: TicketSearch, directory: RunDirectory, branch: str) -> None:
    """Records the weights of a branch that `build` gives, and warns about them once per process."""
    owns = [name for name, changes in search.variants.items() if changes_given(changes)]
    name = branch if branch in owns else ""
    if (directory.path, name) in search.cache.started:
        return
    given = search.search_of(branch).network.given
    others = {own for own in owns if own != name} if not name else set(search.variants) - {name} | {*BRANCHES, DENSE}
    new = directory.record_start(recorded(given), name, apart_from=others)
    text = described(given)
    if text is not None and (new or multiprocessing.parent_process() is None):
        warnings.warn(text if not name else f"Variant {name!r}: {text}", stacklevel=2)
    search.cache.started.add((directory.path, name))


def record_model(search: TicketSearch, directory: RunDirectory, branch: str) -> None:
    """Records the configuration of a branch's model with masked layers, or why it has none, unless it is there.

    Variants with other models or masked layers have a record of their own.
    """
    name = f"{MODEL}-{branch}" if search.variants.get(branch, {}).keys() & OF_MODELS else MODEL
    directory.check_there()
    if read_note(directory.path, name) is not None:
        return
    try:
        config = keras.saving.serialize_keras_object(search.search_of(branch).network.model)
        made = {"model": json.loads(json.dumps(config))}
    except Exception as error:  # whatever a layer of the user's raises
        made = {"none": f"{type(error).__name__}: {error}"}
    write_note(directory.path, name, made)
