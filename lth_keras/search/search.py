"""The search for winning tickets: train, score, prune, rewind, repeat."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import keras

from lth_keras.analysis import Distributions
from lth_keras.arrays import Weights
from lth_keras.backends import OWN, set_threads, told_by
from lth_keras.criteria import State, criterion, name_of
from lth_keras.data.arguments import check_makers
from lth_keras.data.splits import SPLITS, check_cadence, part_of
from lth_keras.mask import Mask
from lth_keras.search import execution, runner
from lth_keras.search.branches import DENSE, WINNING_TICKET
from lth_keras.search.cache import Cache, NetworkParameters
from lth_keras.search.failures import Failures
from lth_keras.search.identity import describe
from lth_keras.search.level import LevelSettings
from lth_keras.search.level_masks import LevelMasks
from lth_keras.search.observation import Observation
from lth_keras.search.older_parameters import by_newer_names
from lth_keras.search.parameters import (
    Pruning,
    SearchParameters,
    Training,
    check_values,
    declared,
    flat,
    grouped,
    with_shorthands,
)
from lth_keras.search.provenance import trained_by
from lth_keras.search.run import Run
from lth_keras.search.selection import Selection
from lth_keras.search.start import given_of, initialiser_of
from lth_keras.search.tasks import Task
from lth_keras.search.trial_data import TrialData
from lth_keras.search.variants import check_variants, independent, share_dense
from lth_keras.storage import Facts, LevelResult, RunDirectory
from lth_keras.system import interrupts, values
from lth_keras.training.engines import AUTO, Engine, Schedule, engine_named, width_of
from lth_keras.training.given import Given, given_by
from lth_keras.training.network import Network


class TicketSearch(SearchParameters):
    """Iterative pruning with rewinding: the search for winning tickets of Frankle & Carbin (2019), arXiv:1803.03635.

    Args:
        build: makes the Keras model, `() -> keras.Model`. Its initialisers are drawn with each trial's seed.
        data: train, validation and test as attributes or keys, each a pair (x, y); or a function of the trial's seed
            that returns them, where the validation split is drawn per trial.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: as Keras' `compile` takes it.
        levels: number of prunings; levels + 1 trainings. By default as many as there are densities.
        pruning: how masks are made, a `Pruning`; or give its `rates`, `densities` and `criterion` directly.
        training: how tickets are trained, a `Training`; or give its `steps`, `epochs` and `batch_size` directly.
        rewind: where tickets restart: `init`, the initial weights.
        start: what trials begin with. `initial`: weights that are drawn from their initialisers. `given`: those that
            `build` makes. None tells by calling `build` under two seeds: weights that are equal both times though
            their initialiser is random and has no seed were given (loaded, pretrained); they are kept in all trials,
            with a warning that names them, and the others are drawn. Or what makes other weights of those that are
            drawn: `scores_as_weights(CRITERION)`, `bimodal(CRITERION)` (docs/composites.md), or a function
            `(State) -> weights by key`. Those that `random_reinit` draws stay as they are.
        engine: what trains the tickets, see docs/search.md: `auto`, `compiled`, `batched:N`, `rows`, `compact` or
            `native`. `auto` is what the run was made with, else on JAX with a GPU `batched:N` with as many as are ready
            at a time and fit into its memory, else what fits the model (see `Network`).
        seed: of trial 0; trial i has seed + i.
        name: names the run's directory.
        config: JSON values that identify the run; by default the parameters above, the model's and the optimiser's
            configuration and a digest of the data.
        variants: searches under other parameters in the same run, each a branch with its own masks and its own level 0:
            name to the parameters that it changes, e.g. `{"epoch_3": {"score_at": 2748}}`, those of `Pruning` and
            `Training` by their own names. Asking for more extends the run. Those whose masks are made before training,
            and all that is other, have the dense network of the other branches. Those that share model, optimiser,
            loss, batch size and cadences share their compiled program too.
        observe: what to record of the distributions of weights and scores, for figures; by default nothing. Changes no
            number, and levels that were finished before have none.

    Raises:
        ValueError: for parameters out of range or unknown names.
        TypeError: for a model or an optimiser in place of the function that makes it, and unknown parameters.

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
        groups = with_shorthands({"pruning": pruning, "training": training}, others)
        self.build, self.data, self.optimizer, self.loss = build, data, optimizer, loss
        self.pruning, self.training = groups["pruning"], groups["training"]
        self.rewind, self.seed, self.name, self.config, self.observe = rewind, seed, name, config, observe
        self.levels = levels  # type: ignore[assignment]  # as many as densities, below
        self.variants = {} if variants is None else variants
        check_values(self)
        if not callable(data):
            for split in SPLITS:
                part_of(data, split)
        plan = self.pruning.plan
        self.levels = plan.levels(self.levels)
        given_of(self.start)
        if plan.before_training and self.pruning.score_at is not None:
            raise ValueError(
                f"Expected no score_at where masks are made before training. Received: {self.pruning.score_at}."
            )
        if self.pruning.masks_of_drawn and not (plan.before_training and initialiser_of(self.start)):
            raise ValueError(
                "Expected masks_of_drawn where masks are made before training, and start makes other weights. "
                f"Received: when={self.pruning.when!r}, start={self.start!r}."
            )
        self.variants = check_variants(self.variants)
        self.test_every = check_cadence(self.training.evaluate_every, self.training.test_every)
        self.processes = 1
        """Processes that are to train such a model and have not begun to, this one among them."""
        self.spelling, self.engine_reason = self.engine, "asked for"
        """Of the engine that trains, and why that one; `prepare` finds out."""
        self._variants: dict[str, TicketSearch] = {}
        self._initial: dict[int, Weights] = {}
        self.cache = Cache()
        self.plan = plan
        self.selection = Selection(
            plan,
            criterion(self.pruning.criterion),
            name_of(self.pruning.criterion),
            initialiser_of(self.start),
            self.pruning.cut_through == "train",
            lambda: self.network,
            lambda seed: self.trial_data.sample(seed),
        )

    def __repr__(self) -> str:
        training = self.training
        length = f"steps={training.steps}" if training.epochs is None else f"epochs={training.epochs}"
        return (
            f"TicketSearch(name={self.name!r}, levels={self.levels}, {length}, batch_size={training.batch_size}, "
            f"criterion={name_of(self.pruning.criterion)!r}, seed={self.seed})"
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by name, those of groups among them."""
        own = {name: getattr(self, name) for name in declared(SearchParameters)}
        return {**own, **flat(self.pruning), **flat(self.training)}

    def changed(self, **changes: Any) -> TicketSearch:
        """The search with other parameters, each by its own name."""
        return TicketSearch(**grouped({**self.parameters, **by_newer_names(changes)}))

    def run(
        self,
        trials: int = 1,
        branches: Sequence[str] = (WINNING_TICKET,),
        out: str | os.PathLike[str] = "runs",
        *,
        keep_weights: str = "none",
        control_levels: Sequence[int] | None = None,
        workers: int = 1,
        fresh_graphs: bool = False,
        remake: Callable[[], TicketSearch] | None = None,
        facts: Callable[[], Facts] | None = None,
        reporter: Any = None,
    ) -> Run:
        """Trains what is not finished and writes run.h5. Asked again, it resumes or extends the run.

        The numbers are the same for any number of workers with the same threads per training.

        Args:
            trials: number of seeds.
            branches: what to train at each level, `winning_ticket` among them.
            out: directory for runs.
            keep_weights: final weights to store in the level files: `none`, `last` (level) or `all`.
            control_levels: levels at which the branches beside the winning ticket are trained; None for all. Their
                masks are the same either way.
            workers: trainings at a time. More than one are in processes of their own, which are given this search;
                scripts start it below `if __name__ == "__main__":`.
            fresh_graphs: every level in a worker process of its own that ends, so that its memory goes back whole; the
                same bits, and slower for short levels.
            remake: makes the search in worker processes, an importable function, where its data need not be sent.
            facts: () -> what run.h5 is to say beside its levels, for figures; called when it is written. Changes no
                number.
            reporter: shows progress; see `lth_keras.system.progress.Reporter`. None shows nothing.

        Raises:
            ValueError: for functions that cannot be read where there is no `config`, variants that have levels under
                other parameters, weights of which it cannot be told whether `build` gives them,
                zero trials, unknown branches, data that do not fit the model, a kind of layer without a
                rate, or a run directory made with other parameters, engine or threads.
            InUseError: where another process is writing in the run's directory.
            OSError: where it cannot be written; finished levels are kept.
            TypeError: where `build` or `optimizer` does not make what it should, or workers cannot be sent the search.
            LevelError: where a level's loss is not finite, or layers without any weight left cut its network through:
                in the end, once all that do not build on such levels are trained. Finished levels are kept.
            WorkerDiedError: where a worker process was killed, e.g. out of memory.
            WorkerStartError: where a worker process cannot import the script that started it, or that starts the
                search when it is imported, without `if __name__ == "__main__":`.
            KeyboardInterrupt: on Ctrl-C, once the step at hand is done and run.h5 is written with what is finished.
        """
        runner.check_workers(workers, fresh_graphs)
        if not (facts is None or callable(facts)):
            raise ValueError(f"Expected facts to be a function, or None. Received: {values.shown(facts)}.")
        asked = execution.Asked(trials, branches, out, keep_weights, control_levels)
        with interrupts.stopped_by_ctrl_c():
            if workers == 1 and not fresh_graphs:
                directory = execution.run_here(self, asked, facts, reporter)
            else:
                make = remake or runner.Sent(partial(TicketSearch, **self._arguments))
                directory = runner.run_in_workers(self, make, asked, workers, fresh_graphs, facts, reporter)
        return Run(self, directory)

    @property
    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*declared(SearchParameters), "pruning", "training")}

    @cached_property
    def independent(self) -> frozenset[str]:
        """The branches whose masks are made before training, so that no level of theirs waits for another."""
        return independent(self.variants, self.pruning.when)

    @cached_property
    def share_dense(self) -> frozenset[str]:
        """The variants that have the dense network of the other branches, as only the masks are their own."""
        return share_dense(self.variants, self.independent)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that decide the numbers of a run; the name of its directory is a hash of them."""
        if self.config is not None:
            return self.config
        self.network  # noqa: B018  # checks what build and optimizer make, and sets the threads before a model exists
        return describe(self)

    @property
    def given(self) -> Given:
        """The weights that `build` gives; known without a network, too."""
        return self.network.given if "network" in vars(self) else given_by(self.build, given_of(self.start))

    @cached_property
    def network(self) -> Network:
        """The network that all levels, branches and trials of this process use; built at first use."""
        training = self.training
        parameters = NetworkParameters(
            self.build,
            self.optimizer,
            self.loss,
            training.batch_size,
            training.evaluate_every,
            training.test_every,
            training.jit_compile,
            self.engine,
            given_of(self.start),
            self.pruning.prune_frozen,
            training.metric,
        )
        networks = self.cache.networks
        if parameters not in networks:
            self.set_threads()
            networks[parameters] = parameters.network(self.processes)
        network = networks[parameters]
        self.plan.density(0, network.kinds)  # a kind without a rate shows here, not after the first training
        if self.pruning.scope == "uniform" and self.levels:  # and so does a first layer that is too large
            self.plan.keep(self.levels, Mask.ones(network.mask.shapes), network.kinds)
        return network

    @property
    def trainer(self) -> Engine:
        """The engine that trains its tickets."""
        return self.network.engine if self.spelling == AUTO else engine_named(self.spelling)

    @property
    def why_engine(self) -> str:
        """Why that one."""
        return self.network.engine_reason if self.spelling == AUTO else self.engine_reason

    @property
    def width(self) -> int:
        """How many tickets its engine trains at once."""
        return width_of(self.spelling)

    @property
    def trial_data(self) -> TrialData:
        """The data of its trials: those that the search has now, as a user may give it others."""
        return TrialData(self.data, self.pruning.samples_per_class, lambda: self.network, self.cache)

    def set_threads(self) -> None:
        """Sets the threads of this process, where a number is asked for."""
        if self.training.threads is not None:
            set_threads(self.training.threads)

    def search_of(self, branch: str) -> TicketSearch:
        """The search that trains a branch: this one, or a variant, with its changes."""
        if branch not in self.variants:
            return self
        if branch not in self._variants:
            made = self.changed(**{"variants": {}, "config": self.config or {}, **self.variants[branch]})
            made.cache, made.processes = self.cache, self.processes
            if made.engine == self.engine:
                made.spelling, made.engine_reason = self.spelling, self.engine_reason
            self._variants[branch] = made
        return self._variants[branch]

    def train_level(
        self, directory: RunDirectory, task: Task, *, keep_weights: str = "none", reporter: Any = None
    ) -> LevelResult:
        """Trains one task from what is in the run's directory, writes its level file and returns what is in it."""
        self.search_of(task.branch).trial_data.loaded(task.seed)
        execution.check_made(self, directory, {task.seed}, directory.finished())
        failures = Failures(self.independent)
        written = execution.train_group(self, directory, failures, keep_weights, reporter, [task], [task])
        failures.raise_any()
        return written[0]

    @property
    def batch_key(self) -> Hashable:
        """What tickets must have in common to be trained in one group."""
        training = self.training
        return self.network, self.spelling, training.steps, training.epochs, training.confusion, training.patience

    def level_settings(self, task: Task, examples: int, keep_weights: str) -> LevelSettings:
        """How a task of a branch that is not a variant is trained on so many examples.

        Raises:
            ValueError: where the training is too short for `score_at`, or as criterion and initialiser.
        """
        pruning, training = self.pruning, self.training
        steps = training.steps_of(examples)
        if pruning.score_at is not None and pruning.score_at > steps:
            raise ValueError(
                f"Expected score_at in 0 ... {steps}, the steps of a training. Received: {pruning.score_at}."
            )
        values.integer("steps", steps, 1)
        return LevelSettings(
            initial=self._initial_weights(task.seed),
            schedule=Schedule(steps, training.patience, training.confusion),
            masks=LevelMasks(self.selection, pruning.masks_of_drawn),
            score_at=pruning.score_at,
            updates=task.level * steps if training.carry_step_count else 0,
            cut_through=pruning.cut_through == "train",
            keep_weights=keep_weights == "all" or (keep_weights == "last" and task.level == self.levels),
            data=self.trial_data.key(task.seed),
            observe=partial(self._observe, task),
            made=self.made_by(task.seed),
        )

    @cached_property
    def trained_by(self) -> Mapping[str, Any]:
        """What trains its levels, as their files record it, but for the data; see `lth_keras.search.provenance`."""
        return trained_by(self)

    def made_by(self, seed: int) -> Mapping[str, Any]:
        """What the levels of a trial are made with, as their files record it."""
        return {**self.trained_by, "data": self.trial_data.digest(seed)}

    def _observe(self, task: Task, mask: Mask, before: Weights, after: Weights) -> Distributions:
        """What to record of a level; scores with the network that a trial's branches share, as it is drawn."""
        drawn = partial(self.selection.drawn_state, task.seed) if task.branch == DENSE else None
        return self.observe.of_level(mask, before, after, drawn)

    def check_counts(self) -> None:
        """Raises ValueError where outcomes are to be counted by class and cannot be; before anything is trained."""
        if self.training.confusion:
            if told_by(self.loss).kind == OWN:
                self.trial_data.checked(self.seed)  # whose labels tell what is measured
            self.network.make_counter()

    def _initial_weights(self, seed: int) -> Weights:
        """The weights that a trial starts from; of one trial at a time, as some take memory."""
        if self.selection.takes_data or self.observe.takes_data:
            self.trial_data.sample(seed)  # before anything is trained: what is missing shows here
        if seed not in self._initial:
            self._initial = {seed: self.selection.initial_weights(seed)}
        return self._initial[seed]

    def drawn_state(self, seed: int) -> State:
        """A trial's dense network as its weights are drawn, with its data, as criteria see it: to learn from."""
        self.trial_data.loaded(seed)
        return self.selection.drawn_state(seed)

    def made_weights(self, seed: int, branch: str = WINNING_TICKET) -> Weights | None:
        """The weights that a branch's trial starts from, where `initialise` makes them; otherwise None."""
        search = self.search_of(branch)
        if initialiser_of(search.start) is None:
            return None
        search.trial_data.loaded(seed)
        return search._initial_weights(seed)
