"""The level loop: train, score, prune, rewind, repeat; one resumable unit per trial, branch and level."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import keras

from lth_keras import seeds
from lth_keras.branches import DENSE, WINNING_TICKET, Weights, check_branches, is_control, is_variant
from lth_keras.criteria import DATA_AWARE, Criterion, State, criterion, name_of
from lth_keras.densities import check_scope, counts_in_scope
from lth_keras.identity import describe
from lth_keras.level import train_level, train_levels
from lth_keras.masks import Mask
from lth_keras.memory import checked_build, clear_memory_errors
from lth_keras.network import Network
from lth_keras.pruning import global_count, keep_highest, layer_counts, resolve_rates
from lth_keras.results import Facts, LevelResult, RunDirectory
from lth_keras.rewinding import check_rewind
from lth_keras.run import Run
from lth_keras.sampling import SAMPLES_PER_CLASS, draw_samples
from lth_keras.splits import Arrays, check_cadence
from lth_keras.tasks import Task, pending_tasks, ready_together
from lth_keras.tickets import control_mask
from lth_keras.together import Together, best_width, check_together, check_width
from lth_keras.training import set_threads

KEEP_WEIGHTS = ("none", "last", "all")


@dataclass
class TicketSearch:
    """Iterative pruning with rewinding: the search for winning tickets of Frankle & Carbin (2019), arXiv:1803.03635.

    Args:
        build: makes the Keras model, `() -> keras.Model`. Its initialisers are drawn with each trial's seed.
        data: train, validation and test as attributes or keys, each a pair (x, y); or a function of the trial's seed
            that returns them, where the validation split is drawn per trial.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: as Keras' `compile` takes it.
        rates: share of the remaining weights pruned per level, in [0, 1): one number, or by kind of layer,
            `{"dense": 0.2, "conv": 0.15, "embedding": 0.2, "output": 0.1}`.
        levels: number of prunings; levels + 1 trainings.
        steps: optimiser updates per level; or give `epochs`.
        epochs: passes of floor(n / batch_size) full batches; or give `steps`.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; by default 10 times.
        criterion: name or function that scores weights at the end of a level's training.
        samples_per_class: training examples of each class that criteria which take gradients look at, drawn once for
            each trial.
        score_at: the step of each training whose weights the criterion scores, 0 for those it starts from; by default
            the last. The training goes on to its end either way.
        patience: evaluations without a lower validation loss after which a training ends, before its steps are over; by
            default none, every training has its full length.
        carry_step_count: whether the optimiser's count of updates goes on from level to level, as where one optimiser
            lives through the whole search: Adam's bias correction and schedules of the learning rate go by it. By
            default every level begins at 0.
        scope: `layer` ranks weights within their layer, `global` across all layers; `uniform` and `erk` within layers
            whose densities they prescribe (see `densities`). All but `layer` take one rate.
        rewind: where tickets restart: `init`, the initial weights.
        min_per_layer: weights that every layer keeps at least. 0 lets a layer collapse, with a warning that names it.
        seed: of trial 0; trial i has seed + i.
        jit_compile: whether to compile with XLA; None decides by the model (see `Network`).
        embeddings: how large embedding tables are trained: `exact`, `lazy` or `dense` (see `Network`).
        confusion: whether to keep a confusion matrix of every test, for labels that are class indices; for multi-label
            tasks (binary cross-entropy of several outputs) true and false positives and false negatives by class.
        variants: searches under other parameters in the same run, each a branch with its own masks and its own level 0:
            name to the arguments that it changes, e.g. `{"epoch_3": {"score_at": 2748}}`. Asking for more extends the
            run. Those that share model, optimiser, loss, batch size and cadences share their compiled program too.
        facts: () -> what run.h5 is to say beside its levels, for figures; called when it is written. Changes no number.
        name: names the run's directory.
        config: JSON values that identify the run; by default the parameters above, the model's and the optimiser's
            configuration and a digest of the data.
        threads: threads per training; None leaves the backend's own number. Other threads give other bits, so a run
            records them and is resumed with the same.
        vectorize: tickets (trials and branches of a level) that are trained together as one compiled program, on JAX; 1
            for none. `auto`: what the run was made with, else on a GPU as many as are ready at a time and fit into its
            memory, and 1 on a CPU. The numbers are those of training alone within float32 rounding, not the same bits,
            so a run records it too.

    Raises:
        ValueError: for parameters out of range or unknown names.

    Example:
        >>> search = TicketSearch(
        ...     build=lenet_300_100, data=splits, optimizer=lambda: keras.optimizers.Adam(1.2e-3),
        ...     loss="sparse_categorical_crossentropy", rates={"dense": 0.2, "output": 0.1},
        ...     levels=20, steps=20_000, batch_size=60,
        ... )
        >>> run = search.run(trials=5, branches=("winning_ticket", "random_reinit"), out="runs")
        >>> run.dataset.test_accuracy_at_early_stop.mean("trial")
    """

    build: Callable[[], keras.Model]
    data: Any
    optimizer: Callable[[], keras.Optimizer]
    loss: Any
    rates: float | Mapping[str, float]
    levels: int
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 60
    evaluate_every: int = 100
    test_every: int | None = None
    criterion: str | Criterion = "magnitude"
    samples_per_class: int = SAMPLES_PER_CLASS
    score_at: int | None = None
    patience: int | None = None
    carry_step_count: bool = False
    scope: str = "layer"
    rewind: str = "init"
    min_per_layer: int = 1
    seed: int = 0
    jit_compile: bool | None = None
    embeddings: str = "exact"
    confusion: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Callable[[], Facts] | None = None
    name: str = "search"
    config: Mapping[str, Any] | None = None
    threads: int | None = None
    vectorize: int | str = "auto"

    def __post_init__(self) -> None:
        self._score = criterion(self.criterion)
        self.processes = 1
        """Processes that are to train such a model and have not begun to, this one among them."""
        self.width = 1
        """Tickets trained together, as `prepare` found out."""
        self._networks: dict[tuple[Any, ...], Network] = {}
        self._variants: dict[str, TicketSearch] = {}
        self._programs: dict[Network, Together] = {}
        self._samples: dict[int, Arrays] = {}
        self._check_variants()
        check_width(self.vectorize)
        check_rewind(self.rewind)
        self._asked_test_every = self.test_every
        self.test_every = check_cadence(self.evaluate_every, self.test_every)
        check_scope(self.scope)
        if self.scope != "layer" and not isinstance(self.rates, int | float):
            raise ValueError(f"Expected one rate for {self.scope} scope. Received: {self.rates!r}.")
        for rate in self.rates.values() if isinstance(self.rates, Mapping) else [self.rates]:
            if not 0 <= rate < 1:
                raise ValueError(f"Expected rates in [0, 1), the share pruned per level. Received: {self.rates!r}.")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")
        lowest = {"levels": 0, "steps": 1, "epochs": 1, "batch_size": 1, "threads": 1, "seed": 0, "min_per_layer": 0}
        lowest |= {"score_at": 0, "patience": 1, "samples_per_class": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Expected {name} to be at least {least}. Received: {value}.")

    def run(
        self,
        trials: int = 1,
        branches: Sequence[str] = (WINNING_TICKET,),
        out: str | os.PathLike[str] = "runs",
        *,
        keep_weights: str = "none",
        control_levels: Sequence[int] | None = None,
        reporter: Any = None,
    ) -> Run:
        """Trains what is not finished, in this process, and writes run.h5. Asked again, it resumes or extends the run.

        Args:
            trials: number of seeds.
            branches: what to train at each level, `winning_ticket` among them.
            out: directory for runs.
            keep_weights: final weights to store in the level files: `none`, `last` (level) or `all`.
            control_levels: levels at which the branches beside the winning ticket are trained; None for all. Their
                masks are the same either way.
            reporter: shows progress; see `lth_keras.progress.Reporter`. None shows nothing.

        Raises:
            ValueError: for zero trials, unknown branches, data that do not fit the model, a kind of layer without a
                rate, or a run directory made with other parameters or threads.
            InUseError: where another process is writing in the run's directory.
            OSError: where it cannot be written; finished levels are kept.
            TypeError: where `build` or `optimizer` does not make what it should.
            LevelError: where a level's loss is not finite, or layers without any weight left cut its network through;
                finished levels are kept.
            KeyboardInterrupt: on Ctrl-C, after run.h5 is written with what is finished.
        """
        directory, seeds_of_trials, branches = self.prepare(trials, branches, out, keep_weights, control_levels)
        with directory.locked():
            try:
                done = directory.finished()
                pending = pending_tasks(done, seeds_of_trials, branches, self.levels, control_levels)
                if self.width > 1:
                    self._train_together(directory, pending, done, keep_weights, reporter)
                else:
                    for task in pending:
                        self.train_level(directory, task, keep_weights=keep_weights, reporter=reporter)
            finally:
                self.write_run(directory, pending_tasks((), seeds_of_trials, branches, self.levels, control_levels))
        return Run(self, directory)

    def write_run(self, directory: RunDirectory, asked: Sequence[Task]) -> None:
        """Writes run.h5 with what is finished, if anything is.

        Args:
            directory: the run's.
            asked: every training that was asked for, finished or not.
        """
        if directory.finished():
            facts = Facts() if self.facts is None else self.facts()
            directory.write_run(self.coordinates, facts=facts, asked=asked)

    def prepare(
        self,
        trials: int,
        branches: Sequence[str],
        out: str | os.PathLike[str],
        keep_weights: str,
        control_levels: Sequence[int] | None = None,
        together: bool = True,
    ) -> tuple[RunDirectory, list[int], tuple[str, ...]]:
        """Checks what is asked for and opens the run's directory.

        Where not `together`, tickets must not be trained together as one program.

        Returns:
            The directory, the seeds of the trials, and the branches in their fixed order.
        """
        check_width(self.vectorize)
        if trials < 1:
            raise ValueError(f"Expected at least 1 trial. Received: {trials}.")
        if keep_weights not in KEEP_WEIGHTS:
            raise ValueError(f"Expected keep_weights to be one of {KEEP_WEIGHTS}. Received: {keep_weights!r}.")
        branches = check_branches(branches, self.variants)
        beyond = [level for level in control_levels or () if not 1 <= level <= self.levels]
        if beyond:
            raise ValueError(f"Expected control_levels in 1 ... {self.levels}. Received: {list(control_levels or ())}.")
        self.width = self._choose_width(
            RunDirectory.recorded(out, self.name, self.identity), self._at_a_time(trials, branches, control_levels)
        )
        if self.width > 1 and not together:
            raise ValueError(
                "Expected one process where tickets are trained together as one program: one worker, and no fresh "
                f"graphs. Received: more, and vectorize={self.width}."
            )
        directory = RunDirectory.open(out, self.name, self.identity, threads=self.threads, vectorize=self.width)
        if directory.threads != self.threads:
            raise ValueError(
                f"Expected threads={directory.threads}, which {directory.path} was made with; others give other bits. "
                f"Received: threads={self.threads}."
            )
        return directory, [self.seed + i for i in range(trials)], branches

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that decide the numbers of a run; the name of its directory is a hash of them."""
        if self.config is not None:
            return self.config
        self.network  # noqa: B018  # checks what build and optimizer make, and sets the threads before a model exists
        return describe(self)

    @cached_property
    def network(self) -> Network:
        """The network that all levels, branches and trials of this process use; built at first use."""
        cadences = (self.evaluate_every, self._asked_test_every)
        key = (self.build, self.optimizer, self.loss, self.batch_size, *cadences, self.jit_compile, self.embeddings)
        if key not in self._networks:
            self._networks[key] = self._make_network()
        network = self._networks[key]
        resolve_rates(self.rates, network.kinds)  # a kind without a rate shows here, not after the first training
        if self.scope == "uniform":  # and so does a first layer that is too large
            self._kept(Mask.ones(network.mask.shapes), self.levels)
        return network

    def _make_network(self) -> Network:
        if self.threads is not None:
            set_threads(self.threads)
        with clear_memory_errors("the model and its optimiser"):
            return Network(
                checked_build(self.build, self.optimizer, self.processes),
                optimizer=self.optimizer,
                loss=self.loss,
                batch_size=self.batch_size,
                evaluate_every=self.evaluate_every,
                test_every=self._asked_test_every,
                jit_compile=self.jit_compile,
                embeddings=self.embeddings,
            )

    def _check_variants(self) -> None:
        """Raises ValueError for names that branches have, and arguments that a variant cannot change."""
        fixed = {"levels", "seed", "variants", "facts", "name", "config", "threads", "vectorize"}
        known = {item.name for item in fields(self)} - fixed
        for name, changes in self.variants.items():
            if not is_variant(name) or not known >= set(changes):
                raise ValueError(
                    f"Expected variants with names of their own that change some of {sorted(known)}. "
                    f"Received: {name!r} with {sorted(changes) if is_variant(name) else 'the name of a branch'}."
                )

    @cached_property
    def coordinates(self) -> dict[str, dict[str, float]]:
        """The numbers that variants differ in, as coordinates of run.h5: parameter to a number for each variant."""
        names = {name for changes in self.variants.values() for name in changes}
        found: dict[str, dict[str, float]] = {}
        for name in sorted(names):
            values = {variant: changes.get(name) for variant, changes in self.variants.items()}
            if all(isinstance(value, int | float) for value in values.values()):
                found[name] = {variant: float(value) for variant, value in values.items() if value is not None}
        return found

    def of(self, branch: str) -> TicketSearch:
        """The search that trains a branch: this one, or a variant, with its changes."""
        if branch not in self.variants:
            return self
        if branch not in self._variants:
            unchanged = {"test_every": self._asked_test_every, "variants": {}, "config": self.config or {}}
            made = replace(self, **{**unchanged, **self.variants[branch]})
            made._networks = self._networks
            made._programs = self._programs
            made.processes = self.processes
            self._variants[branch] = made
        return self._variants[branch]

    def train_level(
        self, directory: RunDirectory, task: Task, *, keep_weights: str = "none", reporter: Any = None
    ) -> LevelResult:
        """Trains one task from what is in the run's directory, writes its level file and returns what is in it."""
        if (search := self.of(task.branch)) is not self:
            return search.train_level(directory, task, keep_weights=keep_weights, reporter=reporter)
        started = time.perf_counter()
        network, initial = self._trial(task.seed)
        steps = self._steps(network.steps_per_epoch * self.batch_size)
        return train_level(
            network,
            directory,
            task,
            initial=initial,
            steps=steps,
            next_mask=partial(self._next_mask, directory),
            confusion=self.confusion,
            scored_at=self.score_at,
            updates=self._updates_before(steps, task),
            patience=self.patience,
            keep_weights=self._keeps_weights(keep_weights, task),
            started=started,
            reporter=reporter,
        )

    def _choose_width(self, recorded: RunDirectory | None, tickets: int) -> int:
        """How many tickets to train together, where so many are ready at a time; checked before it is recorded."""
        if isinstance(self.vectorize, int):
            width = self.vectorize
        elif recorded is not None and recorded.finished():
            width = recorded.vectorize
        elif keras.backend.backend() == "jax" and tickets > 1:
            if self.threads is not None:
                set_threads(self.threads)
            width = best_width(lambda: self.network, tickets)
        else:  # not even the device is asked for: a process that only starts workers has no context of one
            width = 1
        if width > 1:
            check_together(self.network, width)
        return width

    def _at_a_time(self, trials: int, branches: Sequence[str], control_levels: Sequence[int] | None) -> int:
        """How many tickets are ready together at most levels."""
        everywhere = control_levels is None or 2 * len(set(control_levels)) > self.levels
        return trials * sum(1 for branch in branches if everywhere or not is_control(branch))

    def _train_together(
        self,
        directory: RunDirectory,
        pending: list[Task],
        finished: set[tuple[int, str, int]],
        keep_weights: str,
        reporter: Any,
    ) -> None:
        """Trains all that is pending, as many tickets at a time as the run's width says."""
        branches = {task.branch for task in pending if task.level} or {DENSE}
        for some in _chunks(sorted({task.seed for task in pending}), -(-self.width // len(branches))):
            block = [task for task in pending if task.seed in some]
            self._train_block(directory, block, finished, keep_weights, reporter)

    def _train_block(
        self,
        directory: RunDirectory,
        pending: list[Task],
        finished: set[tuple[int, str, int]],
        keep_weights: str,
        reporter: Any,
    ) -> None:
        """Trains what is pending of trials whose data are on the device together."""
        initial: dict[tuple[Network, int], Weights] = {}
        while first := ready_together(pending, finished, 1):
            search = self.of(first[0].branch)
            network, kin = search.network, search._kin
            group = ready_together([t for t in pending if self.of(t.branch)._kin == kin], finished, self.width)
            started = time.perf_counter()
            if network not in self._programs:
                self._programs[network] = Together(network, self.width)
            together = self._programs[network]
            members = {task: self.of(task.branch)._trial_key(task.seed) for task in group}
            if not together.datasets.keys() >= set(members.values()):
                together.datasets = {}
                of_all = {self.of(t.branch)._trial_key(t.seed): t for t in pending if self.of(t.branch)._kin == kin}
                together.load({key: self.of(task.branch)._checked(task.seed) for key, task in of_all.items()})
            for task in group:
                self.of(task.branch)._check_samples(task.seed)
            for seed in {task.seed for task in group} - {seed for own, seed in initial if own is network}:
                initial[network, seed] = network.draw_weights(seed, "initial")
            steps = search._steps(len(together.datasets[members[group[0]]]["train"][0]))
            train_levels(
                together,
                network,
                directory,
                group,
                trial=members,
                initial={task: initial[network, task.seed] for task in group},
                steps=steps,
                next_mask=lambda task, *state: self.of(task.branch)._next_mask(directory, task, *state),
                confusion=search.confusion,
                scored_at=lambda task: self.of(task.branch).score_at,
                updates=partial(self._updates_before, steps),
                patience=search.patience,
                keep_weights=partial(self._keeps_weights, keep_weights),
                started=started,
                reporter=reporter,
            )
            finished |= set(group)
            pending = [task for task in pending if task not in finished]

    @property
    def _kin(self) -> tuple[Any, ...]:
        """What tickets must have in common to be trained together."""
        return self.network, self.steps, self.epochs, self.confusion, self.patience

    def _trial_key(self, seed: int) -> tuple[Any, int]:
        """What tells one trial's data from another's."""
        return (self.data, seed) if callable(self.data) else (id(self.data), 0)

    def _checked(self, seed: int) -> dict[str, Arrays]:
        """A trial's data."""
        return self.network.checked(self.data(seed) if callable(self.data) else self.data)

    def _keeps_weights(self, keep_weights: str, task: Task) -> bool:
        return keep_weights == "all" or (keep_weights == "last" and task.level == self.levels)

    def _trial(self, seed: int) -> tuple[Network, Weights]:
        """The network with the trial's data, and the trial's initial weights."""
        network, key = self.network, self._trial_key(seed)
        if network.holds != key:
            network.holds = None  # until all of it is there: an interruption may come in between
            network.load(self.data(seed) if callable(self.data) else self.data)
            network.holds = key
        self._check_samples(seed)
        if self.__dict__.get("_initial_of") != seed:
            self._initial_of, self._initial = seed, network.draw_weights(seed, "initial")
        return network, self._initial

    def _steps(self, examples: int) -> int:
        """The updates of a training on so many examples."""
        steps = self.steps if self.steps is not None else (self.epochs or 0) * (examples // self.batch_size)
        if self.score_at is not None and self.score_at > steps:
            raise ValueError(f"Expected score_at in 0 ... {steps}, the steps of a training. Received: {self.score_at}.")
        return steps

    def _updates_before(self, steps: int, task: Task) -> int:
        """What the optimiser's count of updates begins a level with."""
        return task.level * steps if self.of(task.branch).carry_step_count else 0

    def _next_mask(self, directory: RunDirectory, task: Task, mask: Mask, initial: Weights, final: Weights) -> Mask:
        """The mask of the branch's next level; of the winning ticket's after level 0."""
        if is_control(task.branch):
            return control_mask(directory, task, mask)
        level, name = task.level + 1, name_of(self.criterion)
        derivatives = self.network.derivatives.on(partial(self._sample, task.seed))
        draws = seeds.stream(task.seed, "criterion", level)
        scores = self._score(State(final, mask, draws, initial, derivatives, name))
        keep = self._kept(mask, level)
        if not keep:  # where min_per_layer is 0: this level is whole, it is the next that cannot be trained
            return Mask.zeros(mask.shapes)
        ties = seeds.stream(task.seed, "ties", level)
        return keep_highest(scores, mask, keep, generator=ties, min_per_layer=self.min_per_layer, criterion=name)

    def _kept(self, mask: Mask, level: int) -> int | dict[str, int]:
        """How many weights a level keeps, as `keep_highest` takes it; 0 for none at all."""
        if isinstance(self.rates, Mapping) or self.scope == "layer":
            rates = resolve_rates(self.rates, self.network.kinds)
            keep = layer_counts(mask.sizes, rates, level, self.min_per_layer)
            return keep if any(keep.values()) else 0
        least = sum(min(count, self.min_per_layer) for count in mask.counts().values())
        kept = max(global_count(mask.size, self.rates, level), least)
        return counts_in_scope(self.scope, mask, kept, self.min_per_layer) if kept else 0

    def _check_samples(self, seed: int) -> None:
        """Draws what a data-aware criterion takes before anything is trained: what is missing shows there."""
        if self._score in DATA_AWARE:
            self._sample(seed)

    def _sample(self, seed: int) -> Arrays:
        """The training examples of a trial that a criterion looks at, with their labels."""
        if seed not in self._samples:
            x, y = self._training_split(seed)
            outputs = int(self.network.model.output_shape[-1] or 1)
            chosen = draw_samples(y, self.samples_per_class, outputs, seeds.stream(seed, "samples"))
            self._samples[seed] = x[chosen], y[chosen]
        return self._samples[seed]

    def _training_split(self, seed: int) -> Arrays:
        """A trial's training examples and labels, loaded where they are not there."""
        key, together = self._trial_key(seed), self._programs.get(self.network)
        if self.network.holds == key:
            return self.network.split("train")
        if together is not None and key in together.datasets:
            return together.datasets[key]["train"]
        return self._checked(seed)["train"]


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
