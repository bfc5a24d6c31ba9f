"""Runs a search in one process: checks the arguments, opens the run's directory and trains the pending tasks."""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lth_keras.backends import backend
from lth_keras.search.branches import BRANCHES, DENSE, check_branches, is_control
from lth_keras.search.failures import Failures
from lth_keras.search.groups import Groups
from lth_keras.search.identity import describe_changes, former
from lth_keras.search.level import train_levels
from lth_keras.search.provenance import check, recorded_engine
from lth_keras.search.tasks import Task, pending_tasks, tickets_at_a_time
from lth_keras.search.variants import changes_given, coordinates
from lth_keras.storage import Facts, LevelResult, RunDirectory
from lth_keras.system import interrupts, values
from lth_keras.training import described, recorded
from lth_keras.training.engines import AUTO, engine_for, older_identity, spelling_for, width_of

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch

KEEP_WEIGHTS = ("none", "last", "all")


class Asked(NamedTuple):
    """Arguments of `TicketSearch.run` that decide which tasks it trains and what it stores."""

    trials: int
    branches: Sequence[str]
    out: str | os.PathLike[str]
    keep_weights: str
    control_levels: Sequence[int] | None = None

    def check(self, levels: int, seed: int, reporter: Any = None) -> None:
        """Checks the arguments for a search with this number of levels and this seed of the first trial.

        Raises:
            ValueError: for zero trials, seeds out of range, an unknown `keep_weights`, unknown levels, or values of
                another type.
        """
        if values.integer("trials", self.trials) < 1:
            raise ValueError(f"Expected at least 1 trial. Received: {self.trials}.")
        largest = values.LARGEST["seed"]
        if seed + self.trials - 1 > largest:
            raise ValueError(f"Expected seeds of trials up to {largest:,}. Received: {self.trials} from {seed}.")
        for branch in values.sequence("branches", self.branches, "names"):
            values.text("each branch", branch)
        if self.keep_weights not in KEEP_WEIGHTS:
            raise ValueError(f"Expected keep_weights to be one of {KEEP_WEIGHTS}. Received: {self.keep_weights!r}.")
        if self.control_levels is not None:
            asked = [
                values.integer("each of control_levels", n)
                for n in values.sequence("control_levels", self.control_levels, "levels")
            ]
            if any(not 1 <= level <= levels for level in asked):
                raise ValueError(f"Expected control_levels in 1 ... {levels}. Received: {asked}.")
        missing = [name for name in ("started", "advanced", "finished") if not callable(getattr(reporter, name, None))]
        if reporter is not None and missing:
            raise ValueError(
                f"Expected a reporter with methods {', '.join(missing)}. Received: {values.shown(reporter)}."
            )


class Prepared(NamedTuple):
    """A run whose arguments are checked and whose directory is open.

    Attributes:
        search: the search.
        directory: the run's directory.
        seeds: seeds of the trials.
        branches: sorted as by `check_branches`.
        control_levels: see `Asked`.
    """

    search: TicketSearch
    directory: RunDirectory
    seeds: list[int]
    branches: tuple[str, ...]
    control_levels: Sequence[int] | None

    def tasks(self, finished: Iterable[tuple[int, str, int]] = ()) -> list[Task]:
        """The requested tasks that are not finished, in training order."""
        search = self.search
        return pending_tasks(
            finished, self.seeds, self.branches, search.levels, self.control_levels, search.share_dense
        )

    def write(self, facts: Callable[[], Facts] | None = None) -> None:
        """Writes run.h5 if any level is finished; arguments as `TicketSearch.run`."""
        if self.directory.finished():
            extra = Facts() if facts is None else facts()
            along = coordinates(self.search.variants, self.search.parameters, self.directory.variants)
            self.directory.write_run(along, facts=extra, asked=self.tasks())


def prepare(search: TicketSearch, asked: Asked, together: bool = True) -> Prepared:
    """Checks the arguments and opens the run's directory.

    `together=False` refuses engines that train several tickets at once.

    Raises:
        ValueError, OSError: see `TicketSearch.run`.
    """
    asked.check(search.levels, search.seed)
    out = values.path("out", asked.out)
    branches = check_branches(asked.branches, search.variants)
    for branch in branches:
        search.search_of(branch).check_counts()  # so that an invalid variant fails before anything is trained
    identity = _identity_in(search, out)
    _choose_engine(search, out, identity, asked._replace(branches=branches))
    if search.width > 1 and not together:
        raise ValueError(
            "Expected workers=1 and fresh_graphs=False with an engine that trains several tickets at once. "
            f"Received: worker processes and engine={search.spelling!r}."
        )
    threads = search.training.threads
    directory = RunDirectory.open(out, search.name, identity, threads=threads)
    if directory.threads != threads:
        raise ValueError(
            f"Expected threads={directory.threads}, as {directory.path} was made with; another number changes the "
            f"results' last bits. Received: threads={threads}."
        )
    if identity is not search.identity:
        directory.record_description(search.identity)
    _record_variants(search, directory, branches, together)
    seeds = [search.seed + i for i in range(asked.trials)]
    return Prepared(search, directory, seeds, branches, asked.control_levels)


def run_here(search: TicketSearch, asked: Asked, facts: Callable[[], Facts] | None, reporter: Any) -> RunDirectory:
    """Trains the unfinished tasks in this process and writes run.h5; arguments as `TicketSearch.run`."""
    asked.check(search.levels, search.seed, reporter)
    prepared = prepare(search, asked)
    directory, failures = prepared.directory, Failures(search.independent, reporter)
    with directory.locked(prepared.tasks()):
        done = directory.finished()
        pending = prepared.tasks(done)
        if pending:
            check_made(search, directory, set(prepared.seeds), done & set(prepared.tasks()))
        try:
            for branch in sorted({task.branch for task in pending}):
                if search.search_of(branch).engine != AUTO:
                    search.search_of(branch).network  # noqa: B018  # checks that the engine can train it
            train = partial(train_group, search, directory, failures, asked.keep_weights, reporter)
            Groups(search.search_of, train, search.levels, search.independent, failures).run(pending, done)
        finally:
            prepared.write(facts)
    failures.raise_any()
    return directory


def train_group(
    search: TicketSearch,
    directory: RunDirectory,
    failures: Failures,
    keep_weights: str,
    reporter: Any,
    tasks: list[Task],
    alike: list[Task],
) -> list[LevelResult]:
    """Trains tasks with equal `batch_key` together.

    Args:
        search: the search that the tasks belong to.
        directory: the run's directory.
        failures: collects the tasks that fail.
        keep_weights: see `TicketSearch.run`.
        reporter: see `TicketSearch.run`.
        tasks: tasks to train.
        alike: later tasks of the same group, whose data are loaded now too.
    """
    started = time.perf_counter()
    for branch in sorted({task.branch for task in tasks}):
        _record_start(search, directory, branch)
    own = search.search_of(tasks[0].branch)
    network = own.network
    data = {task: search.search_of(task.branch).trial_data for task in {*tasks, *alike}}
    keys = {task: data[task].key(task.seed) for task in data}
    if not network.datasets.keys() >= {keys[task] for task in tasks}:
        network.unload()  # frees memory before the new data are loaded
        of_all = {keys[task]: task for task in (alike if own.width > 1 else tasks)}
        network.take({key: data[task].checked(task.seed) for key, task in of_all.items()})
    interrupts.check()
    examples = len(network.datasets[keys[tasks[0]]]["train"][0])
    settings = {task: search.search_of(task.branch).level_settings(task, examples, keep_weights) for task in tasks}
    return train_levels(
        own.trainer, network, directory, settings, failures=failures, started=started, reporter=reporter
    )


def check_made(
    search: TicketSearch, directory: RunDirectory, seeds: set[int], finished: Iterable[tuple[int, str, int]]
) -> None:
    """Checks, once per trial, that finished levels were made with this search and these trials' data."""
    compared = search.cache.compared.setdefault(directory.path, set())
    if seeds - compared:
        known = (DENSE, *BRANCHES, *search.variants)
        check(directory, finished, lambda branch: search.search_of(branch) if branch in known else None, seeds)
        compared |= seeds


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


def _record_variants(search: TicketSearch, directory: RunDirectory, branches: Sequence[str], together: bool) -> None:
    """Records the variants' parameters; raises ValueError if a recorded variant of that name has others."""
    asked = {branch: search.variants[branch] for branch in branches if branch in search.variants}
    if any(changes.keys() & {"build", "optimizer"} for changes in asked.values()):
        search.set_threads()  # before a backend runs
        if not together:  # leaves the memory of a GPU to the worker processes
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    directory.record_variants({name: describe_changes(changes, search.seed) for name, changes in asked.items()})


def _identity_in(search: TicketSearch, out: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The identity that names the run's directory: an older form if only a directory of that name exists."""
    if search.config is not None or RunDirectory.recorded(out, search.name, search.identity):
        return search.identity
    dense = {**search.identity, **older_identity(search.engine)}
    for before in (former(search, search.identity), None if dense == search.identity else dense):
        made = None if before is None else RunDirectory.recorded(out, search.name, before)
        if before is not None and made is not None and made.described in (None, search.identity):
            return before
    return search.identity


def _choose_engine(
    search: TicketSearch, out: str | os.PathLike[str], identity: Mapping[str, Any], asked: Asked
) -> None:
    """Chooses the engine and checks that it can train the search, before anything is recorded."""
    everywhere = asked.control_levels is None or 2 * len(set(asked.control_levels)) > search.levels
    at_most_levels = [branch for branch in asked.branches if everywhere or not is_control(branch)]
    tickets = asked.trials * tickets_at_a_time(at_most_levels, search.levels, search.independent)
    made = recorded_engine(RunDirectory.recorded(out, search.name, identity), search.engine)

    def device() -> str:
        search.set_threads()
        return backend().device()[0]

    search.choose_engine(*spelling_for(search.engine, made, tickets, device, lambda: search.network))
    if width_of(search.spelling) > 1:
        engine_for(search.spelling, search.network)
