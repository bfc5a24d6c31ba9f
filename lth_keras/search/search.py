"""The search for winning tickets: train, score, prune, rewind, repeat."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras

from lth_keras.arrays import Weights
from lth_keras.backends import set_threads
from lth_keras.criteria import State, name_of
from lth_keras.data import check_cadence, check_makers
from lth_keras.mask import Mask
from lth_keras.search import execution, groups, runner
from lth_keras.search.branches import BRANCHES, WINNING_TICKET
from lth_keras.search.cache import Cache
from lth_keras.search.combinations import check_combinations
from lth_keras.search.failures import Failures
from lth_keras.search.identity import describe
from lth_keras.search.networks import Networks
from lth_keras.search.observation import Observation
from lth_keras.search.older_parameters import by_newer_names
from lth_keras.search.parameters import (
    HOMES,
    MASKS,
    PARAMETERS,
    Pruning,
    SearchParameters,
    Training,
    affecting,
    check_values,
    declared,
    grouped,
    with_shorthands,
)
from lth_keras.search.provenance import check, trained_by
from lth_keras.search.rewinding import Rewinding, rewinding_of
from lth_keras.search.run import Run
from lth_keras.search.selection import Selection
from lth_keras.search.start import given_of
from lth_keras.search.tasks import NOTHING_KEPT, Kept, Task
from lth_keras.search.trial_data import TrialData
from lth_keras.search.variants import check_variants
from lth_keras.storage import Facts, LevelResult, RunDirectory
from lth_keras.system import interrupts
from lth_keras.training import Given, Network, given_by
from lth_keras.training.engines import AUTO, Engine, engine_named, width_of


class TicketSearch(SearchParameters):
    """Iterative pruning with rewinding: the search for winning tickets of Frankle & Carbin (2019), arXiv:1803.03635.

    Args:
        build: makes the Keras model, `() -> keras.Model`. Its initialisers are drawn with each trial's seed.
        data: train, validation and test as attributes or keys, each a pair (x, y), for train also (x, y,
            sample_weight), or a stream of such batches, which is read into arrays (docs/search.md); or a function of
            the trial's seed that returns them, where the validation split is drawn per trial. Several inputs or outputs
            are lists, tuples or dicts by name, as in Keras' `fit`.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: as Keras' `compile` takes it; a list, tuple or dict for several outputs.
        levels: number of prunings; there are levels + 1 trainings. By default the number of densities.
        pruning: a `Pruning`; `rates`, `densities` and `criterion` can also be given directly.
        training: a `Training`; `steps`, `epochs` and `batch_size` can also be given directly.
        rewind: what tickets are rewound to, see docs/search.md. `init`: the initial weights. `step:K` or `epoch:K`:
            weights, optimiser and learning rate schedule of the dense network after K. `learning_rate`: only the
            schedule. `fine_tune`: nothing, and the learning rate stays the schedule's last. `none`: nothing.
        start: the initial weights of trials. `initial` draws them from their initialisers. `given` takes those that
            `build` makes. None keeps loaded or pretrained weights in all trials, with a warning that names them, and
            draws the others; it calls `build` under two seeds, and takes weights as loaded if they are equal both times
            although their initialiser is random and has no seed. `scores_as_weights(CRITERION)`, `bimodal(CRITERION)`
            (docs/composites.md) or a function `(State) -> weights by key` makes initial weights from the drawn ones;
            weights drawn by `random_reinit` stay unchanged.
        engine: the engine that trains the tickets, see docs/search.md: `auto`, `compiled`, `batched:N`, `rows`,
            `compact` or `native`. `auto` is the engine that the run was made with; for a new run on JAX with a GPU,
            `batched:N` with the tickets that are ready together and fit into its memory; otherwise see `Network`.
        seed: seed of trial 0; trial i has seed + i.
        name: name of the run's directory, before its hash.
        config: JSON values that identify the run; by default the parameters above, the model's and the optimiser's
            configuration and a digest of the data.
        variants: searches with other parameters in the same run: name -> the parameters that it changes, including
            those of `Pruning` and `Training`, e.g. `{"epoch_3": {"score_at": 2748}}`. Each is a branch with its own
            masks and its own level 0; variants that change only masks made before training share level 0 with the other
            branches. Adding variants extends the run. Variants with equal model, optimiser, loss, batch size and
            evaluation steps share a compiled program.
        observe: distributions of weights and scores to record for figures; by default none. They do not affect results
            and are not added to finished levels.

    Raises:
        ValueError: for parameters out of range or unknown names.
        TypeError: for a model or an optimiser instead of a function that makes it, and for unknown parameters.

    Example:
        >>> search = TicketSearch(
        ...     build=lenet_300_100, data=splits, optimizer=lambda: keras.optimizers.Adam(1.2e-3),
        ...     loss="sparse_categorical_crossentropy", rates={"dense": 0.2, "output": 0.1},
        ...     levels=20, steps=20_000, batch_size=60,
        ... )
        >>> run = search.run(trials=5, branches=("winning_ticket", "random_reinit"), out="runs")
        >>> run.dataset.test_accuracy_at_early_stop.mean("trial")
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        data: Any,
        optimizer: Callable[[], keras.Optimizer],
        loss: Any,
        levels: int | None = None,
        pruning: Pruning | None = None,
        training: Training | None = None,
        rewind: str = "init",
        start: str | Callable[[State], Weights] | None = None,
        engine: str = AUTO,
        seed: int = 0,
        name: str = "search",
        config: Mapping[str, Any] | None = None,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        observe: Observation = Observation(),  # noqa: B008  # it is frozen
        **shorthands: Any,
    ) -> None:
        others = by_newer_names({"start": start, "engine": engine, **shorthands})
        self.start, self.engine = others.pop("start"), others.pop("engine")
        check_makers(build, optimizer, loss)
        given = with_shorthands({"pruning": pruning, "training": training}, others)
        self.build, self.data, self.optimizer, self.loss = build, data, optimizer, loss
        self.pruning, self.training = given["pruning"], given["training"]
        self.rewind, self.seed, self.name, self.config, self.observe = rewind, seed, name, config, observe
        self.levels = levels  # type: ignore[assignment]  # None is replaced below
        self.variants = {} if variants is None else variants
        check_values(self)
        self.data = data if callable(data) else self.taken(data)
        self.plan = self.pruning.plan
        self.levels = self.plan.levels(self.levels)
        self.variants = check_variants(self.variants, self.taken)
        self.test_every = check_cadence(self.training.evaluate_every, self.training.test_every)
        check_combinations(self)
        self.processes = 1
        """Processes, including this one, that still have to allocate such a network."""
        self.variant_of: TicketSearch | None = None
        """The search whose variant this one is."""
        self.variant = ""
        """The name of the variant."""
        self.choose_engine(self.engine, "asked for")
        self._networks = Networks(self)
        self._variants: dict[str, TicketSearch] = {}
        self.cache = Cache()
        self.selection = Selection(self)
        self.trial_data = TrialData(self)

    def __repr__(self) -> str:
        training = self.training
        length = f"steps={training.steps}" if training.epochs is None else f"epochs={training.epochs}"
        return (
            f"TicketSearch(name={self.name!r}, levels={self.levels}, {length}, batch_size={training.batch_size}, "
            f"criterion={name_of(self.pruning.criterion)!r}, seed={self.seed})"
        )

    @property
    def rewinding(self) -> Rewinding:
        """What levels after the dense network start from."""
        return rewinding_of(self.rewind)

    @property
    def first_mask(self) -> Mask:
        """The mask of level 0: `start_mask`, or one that keeps all weights."""
        start = self.plan.start
        return Mask.ones(self.network.mask.shapes) if start is None else start

    def taken(self, data: Any, engine: str | None = None) -> Any:
        """A trial's data as an engine takes them, the search's if it is None: for most, streams are read into arrays.

        See `lth_keras.data.read_streams`.
        """
        engine = self.engine if engine is None else engine
        return data if engine != AUTO and engine_named(engine).streams else self.training.arrays_of(data)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by name, including those of groups."""
        return {name: getattr(getattr(self, HOMES[name]) if name in HOMES else self, name) for name in PARAMETERS}

    def changed(self, **changes: Any) -> TicketSearch:
        """The search with other parameters, given by name."""
        return TicketSearch(**grouped({**self.parameters, **by_newer_names(changes)}))

    def run(
        self,
        trials: int = 1,
        branches: Sequence[str] = (WINNING_TICKET,),
        out: str | os.PathLike[str] = "runs",
        *,
        keep_weights: str = "last",
        control_levels: Sequence[int] | None = None,
        workers: int = 1,
        fresh_graphs: bool = False,
        remake: Callable[[], TicketSearch] | None = None,
        facts: Callable[[], Facts] | None = None,
        reporter: Any = None,
    ) -> Run:
        """Trains the unfinished tasks and writes run.h5. Calling it again resumes or extends the run.

        Results are bit-identical for any number of workers with the same threads per training.

        Args:
            trials: number of trials, each with its own seed.
            branches: branches to train; controls need `winning_ticket`.
            out: directory for runs.
            keep_weights: levels whose final weights are stored: `last`, the last one of each branch; `all`; `none`.
                Of pruned weights only those that are kept take space.
            control_levels: levels at which the controls are trained; None for all. It does not affect their masks.
            workers: number of tickets trained in parallel. Several are trained in worker processes, which receive this
                search; a script must start it below `if __name__ == "__main__":`.
            fresh_graphs: whether to train every level in a new worker process, which frees all of its memory. Results
                are bit-identical; short levels take longer.
            remake: an importable function that makes the search in worker processes, so that its data are not sent.
            facts: () -> additional contents of run.h5 for figures; called when it is written. Does not affect results.
            reporter: shows progress; see `lth_keras.system.progress.Reporter`. None shows nothing.

        Raises:
            ValueError: for zero trials, unknown branches, data that do not fit the model, a kind of layer without a
                rate, functions that cannot be read if there is no `config`, variants recorded with other parameters,
                weights that may or may not be set by `build`, or a run directory made with other parameters, engine
                or threads.
            InUseError: if another process is writing in the run's directory.
            OSError: if the directory cannot be written; finished levels are kept.
            TypeError: if `build` or `optimizer` returns another type, or the search cannot be sent to workers.
            LevelError: if a level's loss is not finite or its mask disconnects inputs from outputs. It is raised after
                all tasks that do not depend on such levels are trained. Finished levels are kept.
            WorkerDiedError: if a worker process was killed, e.g. for lack of memory.
            WorkerStartError: if a worker process cannot import the main script, or if the script starts the search at
                import, without `if __name__ == "__main__":`.
            KeyboardInterrupt: on Ctrl-C, after the current step and after run.h5 is written with the finished levels.
        """
        runner.check_workers(workers, fresh_graphs)
        execution.check_callbacks(facts, reporter)
        asked = execution.Asked(trials, branches, out, keep_weights, control_levels)
        asked.check(self.levels, self.seed)
        in_workers = workers > 1 or fresh_graphs
        with interrupts.stopped_by_ctrl_c():
            train: execution.Train = groups.train_in_groups
            if in_workers:
                train = runner.in_workers(self, remake, workers, fresh_graphs)
            prepared = execution.prepare(self, asked, in_workers)
            execution.execute(prepared, train, facts, reporter)
        return Run(self, prepared.directory)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that make this search."""
        return {name: getattr(self, name) for name in (*declared(SearchParameters), "pruning", "training")}

    @cached_property
    def independent(self) -> frozenset[str]:
        """The branches whose masks are made before training, so that their levels do not depend on each other."""
        changed = {name: changes.get("when") for name, changes in self.variants.items()}
        of_all = dict.fromkeys(BRANCHES) | changed
        return frozenset(name for name, when in of_all.items() if (when or self.pruning.when) == "before_training")

    @cached_property
    def share_dense(self) -> frozenset[str]:
        """The variants that share level 0 with the other branches, since they change only masks."""
        changing = {name for name, changes in self.variants.items() if not changes.keys() <= affecting(MASKS)}
        return self.independent & self.variants.keys() - changing

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that determine the results of a run; the run directory's name contains their hash."""
        if self.config is not None:
            return self.config
        self.network  # noqa: B018  # checks build and optimizer, and sets the threads before a model is built
        return describe(self)

    @property
    def given(self) -> Given:
        """The weights that `build` gives, found without building the network."""
        return self.network.given if self._networks else given_by(self.build, given_of(self.start))

    @property
    def network(self) -> Network:
        """The network of all levels, branches and trials in this process, built at first use; assign to share one."""
        return self._networks.of_engine(self.engine if self.width > 1 else self.spelling)

    @network.setter
    def network(self, network: Network) -> None:
        self._networks.set_only(network)

    def choose_engine(self, spelling: str, reason: str) -> None:
        """Sets the engine of the search and of its variants without an engine of their own.

        Args:
            spelling: of the engine; `auto` lets the model decide.
            reason: why that one.
        """
        self._spelling, self.reason = spelling, reason

    @property
    def spelling(self) -> str:
        """The spelling of the engine in use; `auto` as long as the model decides."""
        base = self.variant_of
        return base.spelling if base is not None and base.engine == self.engine else self._spelling

    @property
    def trainer(self) -> Engine:
        """The engine in use."""
        return self.network.engine if self.spelling == AUTO else engine_named(self.spelling)

    @property
    def why_engine(self) -> str:
        """The reason for the engine in use."""
        return self.network.engine_reason if self.spelling == AUTO else self.reason

    @property
    def width(self) -> int:
        """The number of tickets that its engine trains at once."""
        return width_of(self.spelling)

    def set_threads(self) -> None:
        """Sets the threads of this process if `threads` is given."""
        if self.training.threads is not None:
            set_threads(self.training.threads)

    def search_of(self, branch: str) -> TicketSearch:
        """The search of a branch: this one, or one with a variant's parameters."""
        if branch not in self.variants:
            return self
        if branch not in self._variants:
            made = self.changed(**{"variants": {}, "config": self.config or {}, **self.variants[branch]})
            made.cache, made.processes = self.cache, self.processes
            made.variant_of, made.variant = self, branch
            self._variants[branch] = made
        return self._variants[branch]

    def train_level(
        self,
        directory: RunDirectory,
        task: Task,
        *,
        kept: Kept = NOTHING_KEPT,
        reporter: Any = None,
    ) -> LevelResult:
        """Trains one task from the levels in the run's directory, writes its level file and returns the content."""
        self.search_of(task.branch).trial_data.loaded(task.seed)
        check(self, directory, directory.finished(), {task.seed})
        failures = Failures(self.independent)
        written = groups.train_group(self, directory, [task], [task], failures, kept, reporter)
        failures.raise_any()
        return written[0]

    @property
    def trained_by(self) -> Mapping[str, Any]:
        """The provenance of its levels without the data; see `lth_keras.search.provenance`."""
        known = self.cache.provenance
        place = self.variant, self.spelling
        if place not in known:
            known[place] = trained_by(self)
        return known[place]

    def drawn_state(self, seed: int) -> State:
        """The state of a trial's initial dense network with its data, as the input of a criterion."""
        self.trial_data.loaded(seed)
        return self.selection.drawn_state(seed)
