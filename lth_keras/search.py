"""The level loop: train, score, prune, rewind, repeat; one resumable unit per trial, branch and level."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import keras

from lth_keras import seeds
from lth_keras.branches import BRANCHES, DENSE, WINNING_TICKET, Weights, check_branches, is_control, is_variant
from lth_keras.compact import Compact
from lth_keras.criteria import Criterion, Initialiser, State, criterion, name_of
from lth_keras.identity import describe
from lth_keras.level import train_level, train_levels
from lth_keras.masks import Mask
from lth_keras.memory import checked_build, clear_memory_errors
from lth_keras.network import Network
from lth_keras.plan import Plan
from lth_keras.results import Facts, LevelResult, RunDirectory
from lth_keras.rewinding import check_rewind
from lth_keras.run import Run
from lth_keras.sampling import SAMPLES_PER_CLASS, draw_samples
from lth_keras.selection import Selection
from lth_keras.splits import Arrays, check_cadence
from lth_keras.tasks import Task, pending_tasks, ready_together
from lth_keras.tickets import control_mask, starting_mask
from lth_keras.together import Together, best_width, check_together, check_width
from lth_keras.training import set_threads

KEEP_WEIGHTS = ("none", "last", "all")
CUT_THROUGH = ("refuse", "train")
OF_MASKS = frozenset(
    {"rates", "densities", "schedule", "shots", "shot_schedule", "criterion", "samples_per_class", "scope"}
    | {"min_per_layer", "cut_through"}
)
"""Parameters that change masks, and nothing of the dense network's training."""


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
            `{"dense": 0.2, "conv": 0.15, "embedding": 0.2, "output": 0.1}`; or give `densities`.
        levels: number of prunings; levels + 1 trainings. By default as many as there are densities.
        densities: share of all prunable weights that each level keeps, from level 1 on.
        schedule: `iterative` makes each mask at the end of a level's training, from the mask before. `before_training`
            makes every level's from the weights that the trial starts from, each for itself: they need not nest, no
            level waits for another, and a level file has the level's own mask as the next one too.
        shots: to prune a level in, each of which scores what the one before has left.
        shot_schedule: the densities of the shots, `exponential` or `linear`.
        steps: optimiser updates per level; or give `epochs`.
        epochs: passes of floor(n / batch_size) full batches; or give `steps`.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; by default 10 times.
        criterion: name or function that scores weights at the end of a level's training, or before any; or a composite
            by name, `stacked(snip,synflow)`.
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
        initialise: what initial weights are made of those that are drawn: `scores_as_weights(CRITERION)` or
            `bimodal(CRITERION)`, see docs/composites.md; None takes them as they are. Those that `random_reinit` draws
            stay as they are.
        masks_of_drawn: whether masks made before training are of the drawn weights, where `initialise` makes others.
        min_per_layer: weights that every layer keeps at least. 0 lets a layer collapse, with a warning that names it.
        cut_through: what happens to a network that layers without any weight left cut through. `refuse` raises. `train`
            trains what is left, the biases behind the cut, so that its numbers are those of a network which says the
            same of every example; its further masks are drawn at random, as no weight does anything.
        seed: of trial 0; trial i has seed + i.
        jit_compile: whether to compile with XLA; None decides by the model (see `Network`).
        compact: whether to train tickets without the inputs and units that pruning has cut off, on smaller networks of
            chains of dense layers (see `lth_keras.compact`). The numbers are those of the whole network within float32
            rounding, not the same bits.
        embeddings: how large embedding tables are trained: `exact`, `lazy` or `dense` (see `Network`).
        confusion: whether to keep a confusion matrix of every test, for labels that are class indices; for multi-label
            tasks (binary cross-entropy of several outputs) true and false positives and false negatives by class.
        variants: searches under other parameters in the same run, each a branch with its own masks and its own level 0:
            name to the arguments that it changes, e.g. `{"epoch_3": {"score_at": 2748}}`. Asking for more extends the
            run. Those whose masks are made before training, and all that is other, have the dense network of the other
            branches. Those that share model, optimiser, loss, batch size and cadences share their compiled program too.
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
    rates: float | Mapping[str, float] | None = None
    levels: int = None  # type: ignore[assignment]  # as many as densities, once it is made
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 60
    evaluate_every: int = 100
    test_every: int | None = None
    densities: Sequence[float] | None = None
    schedule: str = "iterative"
    shots: int = 1
    shot_schedule: str = "exponential"
    criterion: str | Criterion = "magnitude"
    samples_per_class: int = SAMPLES_PER_CLASS
    score_at: int | None = None
    patience: int | None = None
    carry_step_count: bool = False
    scope: str = "layer"
    rewind: str = "init"
    initialise: str | None = None
    masks_of_drawn: bool = False
    min_per_layer: int = 1
    cut_through: str = "refuse"
    seed: int = 0
    jit_compile: bool | None = None
    compact: bool = False
    embeddings: str = "exact"
    confusion: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Callable[[], Facts] | None = None
    name: str = "search"
    config: Mapping[str, Any] | None = None
    threads: int | None = None
    vectorize: int | str = "auto"

    def __post_init__(self) -> None:
        self._plan = Plan(
            self.rates,
            self.densities,
            self.scope,
            self.schedule,
            self.shots,
            self.shot_schedule,
            self.min_per_layer,
        )
        self._selection = Selection(
            self._plan,
            criterion(self.criterion),
            name_of(self.criterion),
            None if self.initialise is None else Initialiser(self.initialise),
            self.cut_through == "train",
            lambda: self.network,
            self._sample,
        )
        self._check_levels()
        self.processes = 1
        """Processes that are to train such a model and have not begun to, this one among them."""
        self.width = 1
        """Tickets trained together, as `prepare` found out."""
        self._networks: dict[tuple[Any, ...], Network] = {}
        self._variants: dict[str, TicketSearch] = {}
        self._programs: dict[Network, Together] = {}
        self._compacts: dict[Network, Compact] = {}
        self._samples: dict[Any, Arrays] = {}
        self._initial: dict[int, Weights] = {}
        self._check_variants()
        check_width(self.vectorize)
        check_rewind(self.rewind)
        self._asked_test_every = self.test_every
        self.test_every = check_cadence(self.evaluate_every, self.test_every)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")
        lowest = {"levels": 0, "steps": 1, "epochs": 1, "batch_size": 1, "threads": 1, "seed": 0, "min_per_layer": 0}
        lowest |= {"score_at": 0, "patience": 1, "samples_per_class": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Expected {name} to be at least {least}. Received: {value}.")

    def _check_levels(self) -> None:
        """Raises ValueError for levels without a density, and for what only one of the schedules has."""
        if self.levels is None:
            if self.densities is None:
                raise ValueError("Expected levels, the number of prunings, beside rates. Received: none.")
            self.levels = len(self.densities)
        if not self._plan.goes_on_to(self.levels):
            raise ValueError(f"Expected a density for each of {self.levels} levels. Received: {self.densities}.")
        if self.cut_through not in CUT_THROUGH:
            raise ValueError(f"Expected cut_through to be one of {CUT_THROUGH}. Received: {self.cut_through!r}.")
        if self._plan.before_training and self.score_at is not None:
            raise ValueError(f"Expected no score_at where masks are made before training. Received: {self.score_at}.")
        if self.masks_of_drawn and not (self._plan.before_training and self.initialise):
            raise ValueError(
                "Expected masks_of_drawn where masks are made before training, and initialise makes other weights. "
                f"Received: schedule={self.schedule!r}, initialise={self.initialise!r}."
            )

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
                pending = self.tasks(done, seeds_of_trials, branches, control_levels)
                if self.width > 1:
                    self._train_together(directory, pending, done, keep_weights, reporter)
                else:
                    for task in pending:
                        self.train_level(directory, task, keep_weights=keep_weights, reporter=reporter)
            finally:
                self.write_run(directory, self.tasks((), seeds_of_trials, branches, control_levels))
        return Run(self, directory)

    def tasks(
        self,
        finished: Iterable[tuple[int, str, int]],
        trials: Sequence[int],
        branches: Sequence[str],
        control_levels: Sequence[int] | None = None,
    ) -> list[Task]:
        """Every unfinished task, in the order to do them in; arguments as `tasks.pending_tasks`."""
        return pending_tasks(finished, trials, branches, self.levels, control_levels, self.share_dense)

    @cached_property
    def independent(self) -> frozenset[str]:
        """The branches whose masks are made before training, so that no level of theirs waits for another."""
        controls = {name for name in BRANCHES if self._plan.before_training}
        schedules = {name: changes.get("schedule", self.schedule) for name, changes in self.variants.items()}
        return frozenset(controls | {name for name, schedule in schedules.items() if schedule == "before_training"})

    @cached_property
    def share_dense(self) -> frozenset[str]:
        """The variants that have the dense network of the other branches, as only the masks are their own."""
        return frozenset(
            name for name in self.independent & self.variants.keys() if self.variants[name].keys() <= OF_MASKS
        )

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
        for branch in branches:
            self.of(branch)  # what is wrong with a variant shows here, not when its turn comes
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
        self._plan.density(0, network.kinds)  # a kind without a rate shows here, not after the first training
        if self.scope == "uniform" and self.levels:  # and so does a first layer that is too large
            self._plan.keep(self.levels, Mask.ones(network.mask.shapes), network.kinds)
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
            made._compacts = self._compacts
            made._samples = self._samples
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
            compact=self._compact(network),
            initial=initial,
            steps=steps,
            starting_mask=partial(self._starting_mask, directory),
            next_mask=partial(self._next_mask, directory),
            confusion=self.confusion,
            scored_at=self.score_at,
            updates=self._updates_before(steps, task),
            patience=self.patience,
            cut_through=self.cut_through == "train",
            keep_weights=self._keeps_weights(keep_weights, task),
            started=started,
            reporter=reporter,
        )

    def _compact(self, network: Network) -> Compact | None:
        if self.compact and network not in self._compacts:
            self._compacts[network] = Compact(network)
        return self._compacts[network] if self.compact else None

    def _choose_width(self, recorded: RunDirectory | None, tickets: int) -> int:
        """How many tickets to train together, where so many are ready at a time; checked before it is recorded."""
        if isinstance(self.vectorize, int):
            width = self.vectorize
        elif recorded is not None and recorded.finished():
            width = recorded.vectorize
        elif keras.backend.backend() == "jax" and tickets > 1 and not self.compact:
            if self.threads is not None:
                set_threads(self.threads)
            width = best_width(lambda: self.network, tickets)
        else:  # not even the device is asked for: a process that only starts workers has no context of one
            width = 1
        if width > 1 and self.compact:
            raise ValueError(f"Expected vectorize=1 where networks get smaller (compact). Received: {width}.")
        if width > 1:
            check_together(self.network, width)
        return width

    def _at_a_time(self, trials: int, branches: Sequence[str], control_levels: Sequence[int] | None) -> int:
        """How many tickets are ready together at most levels."""
        everywhere = control_levels is None or 2 * len(set(control_levels)) > self.levels
        each = {branch: self.levels if branch in self.independent else 1 for branch in branches}
        return trials * sum(each[branch] for branch in branches if everywhere or not is_control(branch))

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
        each = sum(self.levels if branch in self.independent else 1 for branch in branches)
        for some in _chunks(sorted({task.seed for task in pending}), -(-self.width // each)):
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
        independent = self.independent
        while first := ready_together(pending, finished, 1, independent):
            search = self.of(first[0].branch)
            network, kin = search.network, search._kin
            alike = [task for task in pending if self.of(task.branch)._kin == kin]
            group = ready_together(alike, finished, self.width, independent)
            started = time.perf_counter()
            if network not in self._programs:
                self._programs[network] = Together(network, self.width)
            together = self._programs[network]
            members = {task: self.of(task.branch)._trial_key(task.seed) for task in group}
            if not together.datasets.keys() >= set(members.values()):
                together.datasets = {}
                of_all = {self.of(task.branch)._trial_key(task.seed): task for task in alike}
                together.load({key: self.of(task.branch)._checked(task.seed) for key, task in of_all.items()})
            for task in group:
                self.of(task.branch)._check_samples(task.seed)
            steps = search._steps(len(together.datasets[members[group[0]]]["train"][0]))
            train_levels(
                together,
                network,
                directory,
                group,
                trial=members,
                initial={task: self.of(task.branch)._initial_weights(task.seed) for task in group},
                steps=steps,
                starting_mask=lambda task, weights: self.of(task.branch)._starting_mask(directory, task, weights),
                next_mask=lambda task, *state: self.of(task.branch)._next_mask(directory, task, *state),
                confusion=search.confusion,
                scored_at=lambda task: self.of(task.branch).score_at,
                updates=partial(self._updates_before, steps),
                patience=search.patience,
                cut_through=lambda task: self.of(task.branch).cut_through == "train",
                independent=independent,
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
        return network, self._initial_weights(seed)

    def _steps(self, examples: int) -> int:
        """The updates of a training on so many examples."""
        steps = self.steps if self.steps is not None else (self.epochs or 0) * (examples // self.batch_size)
        if self.score_at is not None and self.score_at > steps:
            raise ValueError(f"Expected score_at in 0 ... {steps}, the steps of a training. Received: {self.score_at}.")
        return steps

    def _updates_before(self, steps: int, task: Task) -> int:
        """What the optimiser's count of updates begins a level with."""
        return task.level * steps if self.of(task.branch).carry_step_count else 0

    def _initial_weights(self, seed: int) -> Weights:
        """The weights that a trial starts from; of one trial at a time, as some take memory."""
        if seed not in self._initial:
            self._initial = {seed: self._selection.initial_weights(seed)}
        return self._initial[seed]

    def drawn_state(self, seed: int) -> State:
        """A trial's dense network as its weights are drawn, with its data, as criteria see it: to learn from."""
        self._trial(seed)
        return self._selection.drawn_state(seed)

    def made_weights(self, seed: int, branch: str = WINNING_TICKET) -> Weights | None:
        """The weights that a branch's trial starts from, where `initialise` makes them; otherwise None."""
        search = self.of(branch)
        return search._trial(seed)[1] if search.initialise else None

    def _starting_mask(self, directory: RunDirectory, task: Task, initial: Weights) -> Mask:
        """The mask that a task above level 0 trains under."""
        if not self._plan.before_training:
            return starting_mask(directory, task)
        weights = self.network.draw_weights(task.seed, "initial") if self.masks_of_drawn else initial
        dense = self._selection.dense()
        mask = self._selection.pruned(task.seed, dense, task.level, weights, weights)
        if is_control(task.branch) and mask.kept:
            return BRANCHES[task.branch].mask(dense, mask, task.seed, task.level)
        return mask

    def _next_mask(self, directory: RunDirectory, task: Task, mask: Mask, initial: Weights, final: Weights) -> Mask:
        """The mask of the branch's next level, of the winning ticket's after level 0; where there is none, its own."""
        if self._plan.before_training or not self._plan.goes_on_to(task.level + 1):
            return mask
        if is_control(task.branch):
            return control_mask(directory, task, mask)
        return self._selection.pruned(task.seed, mask, task.level + 1, initial, final)

    def _check_samples(self, seed: int) -> None:
        """Draws what a data-aware criterion takes before anything is trained: what is missing shows there."""
        if self._selection.takes_data:
            self._sample(seed)

    def _sample(self, seed: int) -> Arrays:
        """The training examples of a trial that a criterion looks at, with their labels."""
        outputs = int(self.network.model.output_shape[-1] or 1)
        key = (self._trial_key(seed), seed, self.samples_per_class, outputs)
        if key not in self._samples:
            x, y = self._training_split(seed)
            chosen = draw_samples(y, self.samples_per_class, outputs, seeds.stream(seed, "samples"))
            self._samples[key] = x[chosen], y[chosen]
        return self._samples[key]

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
