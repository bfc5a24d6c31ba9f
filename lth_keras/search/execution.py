"""Runs a search: checks the arguments, opens the run's directory and trains the pending tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lth_keras.backends import LossKind, backend, loss_facts
from lth_keras.data import losses_in, sample_weights_of
from lth_keras.search.branches import check_branches, is_control
from lth_keras.search.failures import Failures
from lth_keras.search.identity import describe_changes, former
from lth_keras.search.provenance import check, recorded_engine
from lth_keras.search.tasks import Kept, Task, pending_tasks, tickets_at_a_time
from lth_keras.search.variants import coordinates
from lth_keras.storage import Facts, RunDirectory
from lth_keras.system import values
from lth_keras.training.engines import engine_for, older_identity, spelling_for, width_of

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch

KEEP_WEIGHTS = ("none", "last", "all")
Train = Callable[["Prepared", list[Task], set[tuple[int, str, int]], Failures, Any], None]
"""(run, its pending tasks, its finished ones, failures to collect, reporter): trains the pending tasks."""


class Asked(NamedTuple):
    """Arguments of `TicketSearch.run` that decide which tasks it trains and what it stores."""

    trials: int
    branches: Sequence[str]
    out: str | os.PathLike[str]
    keep_weights: str
    control_levels: Sequence[int] | None = None

    def check(self, levels: int, seed: int) -> None:
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


class Prepared(NamedTuple):
    """A run whose arguments are checked and whose directory is open.

    Attributes:
        search: the search.
        directory: the run's directory.
        asked: the arguments, with the branches sorted as by `check_branches`.
        in_workers: whether worker processes train.
    """

    search: TicketSearch
    directory: RunDirectory
    asked: Asked
    in_workers: bool

    def tasks(self, finished: Iterable[tuple[int, str, int]] = ()) -> list[Task]:
        """The requested tasks that are not finished, in training order."""
        search, asked = self.search, self.asked
        seeds = range(search.seed, search.seed + asked.trials)
        return pending_tasks(finished, seeds, asked.branches, search.levels, asked.control_levels, search.share_dense)

    @property
    def kept(self) -> Kept:
        """The tasks whose final weights are stored."""
        levels, controls = self.search.levels, self.asked.control_levels
        return Kept(self.asked.keep_weights, levels, levels if controls is None else max(controls, default=0))

    def write(self, facts: Callable[[], Facts] | None = None) -> None:
        """Writes run.h5 if any level is finished; arguments as `TicketSearch.run`."""
        if self.directory.finished():
            extra = Facts() if facts is None else facts()
            along = coordinates(self.search.variants, self.search.parameters, self.directory.variants)
            self.directory.write_run(along, facts=extra, asked=self.tasks())


def prepare(search: TicketSearch, asked: Asked, in_workers: bool = False) -> Prepared:
    """Checks the arguments and opens the run's directory.

    `in_workers` refuses engines that train several tickets at once.

    Raises:
        ValueError, OSError: see `TicketSearch.run`.
    """
    asked.check(search.levels, search.seed)
    out = values.path("out", asked.out)
    asked = asked._replace(branches=check_branches(asked.branches, search.variants))
    for branch in asked.branches:
        _check_counts(search.search_of(branch))  # so that an invalid variant fails before anything is trained
    if search.rewinding.continues and "random_mask" in asked.branches:
        raise ValueError(
            f"Expected branches without random_mask with rewind={search.rewind!r}, since the weights at the end of the "
            "level before were trained under the winning ticket's mask. Received: random_mask. Use a variant with "
            "criterion='random' instead."
        )
    identity = _identity_in(search, out)
    _choose_engine(search, out, identity, asked)
    if search.width > 1 and in_workers:
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
    _record_variants(search, directory, asked.branches, in_workers)
    return Prepared(search, directory, asked, in_workers)


def _check_counts(search: TicketSearch) -> None:
    """Raises ValueError if `confusion` is set for a task without classes."""
    if search.training.confusion:
        if any(loss_facts(loss).kind == LossKind.OWN for loss in losses_in(search.loss)):
            search.trial_data.checked(search.seed)  # the metric depends on the labels
        search.network.make_counter()


def check_callbacks(facts: Any, reporter: Any) -> None:
    """Raises ValueError for another `facts` or `reporter` than `TicketSearch.run` takes."""
    if not (facts is None or callable(facts)):
        raise ValueError(f"Expected facts to be a function or None. Received: {values.shown(facts)}.")
    missing = [name for name in ("started", "advanced", "finished") if not callable(getattr(reporter, name, None))]
    if reporter is not None and missing:
        raise ValueError(f"Expected a reporter with methods {', '.join(missing)}. Received: {values.shown(reporter)}.")


def execute(run: Prepared, train: Train, facts: Callable[[], Facts] | None, reporter: Any) -> None:
    """Trains the unfinished tasks and writes run.h5; `facts` and `reporter` as in `TicketSearch.run`.

    Raises:
        ValueError: if finished levels were made with another search; see `provenance.check`.
        LevelError: if levels failed, after all others are trained.
    """
    directory, failures = run.directory, Failures(run.search.independent, reporter)
    asked = run.tasks()
    with directory.locked(asked):
        finished = directory.finished()
        pending = run.tasks(finished)
        if pending and not run.in_workers:  # workers check the levels of the trials that they train
            check(run.search, directory, finished & set(asked), {task.seed for task in asked})
        try:
            train(run, pending, finished, failures, reporter)
        finally:
            run.write(facts)
    failures.raise_any()


def _record_variants(search: TicketSearch, directory: RunDirectory, branches: Sequence[str], in_workers: bool) -> None:
    """Records the variants' parameters; raises ValueError if a recorded variant of that name has others."""
    asked = {branch: search.variants[branch] for branch in branches if branch in search.variants}
    if any(changes.keys() & {"build", "optimizer", "data"} for changes in asked.values()):
        search.set_threads()  # before a backend runs
        if in_workers:  # leaves the memory of a GPU to the worker processes
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    directory.record_variants(
        {name: describe_changes(changes, search.seed, search.build) for name, changes in asked.items()}
    )


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


def _can_be_batched(search: TicketSearch) -> bool:
    """Whether all engines can make a search's trainings, as far as its parameters tell."""
    weighted = not callable(search.data) and sample_weights_of(search.data) is not None
    return search.rewinding.is_whole and search.training.class_weight is None and not weighted


def _choose_engine(
    search: TicketSearch, out: str | os.PathLike[str], identity: Mapping[str, Any], asked: Asked
) -> None:
    """Chooses the engine and checks that it can train the search, before anything is recorded."""
    everywhere = asked.control_levels is None or 2 * len(set(asked.control_levels)) > search.levels
    at_most_levels = [branch for branch in asked.branches if everywhere or not is_control(branch)]
    batches = all(_can_be_batched(search.search_of(branch)) for branch in asked.branches)
    tickets = asked.trials * tickets_at_a_time(at_most_levels, search.levels, search.independent)
    made = recorded_engine(RunDirectory.recorded(out, search.name, identity), search.engine)

    def device() -> str:
        search.set_threads()
        return backend().device()[0]

    search.choose_engine(*spelling_for(search.engine, made, tickets if batches else 1, device, lambda: search.network))
    if width_of(search.spelling) > 1:
        engine_for(search.spelling, search.network)
