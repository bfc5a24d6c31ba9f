"""The level loop: train, score, prune, rewind, repeat; one resumable unit per trial, branch and level."""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import keras

from lth_keras.analysis import Distributions
from lth_keras.arrays import Weights
from lth_keras.backends import OWN, set_threads, told_by
from lth_keras.criteria import Criterion, Initialiser, State, criterion, name_of
from lth_keras.data.sampling import SAMPLES_PER_CLASS
from lth_keras.data.splits import check_cadence
from lth_keras.mask import Mask
from lth_keras.pruning.plan import Plan
from lth_keras.search.blocks import Blocks
from lth_keras.search.branches import BRANCHES, DENSE, WINNING_TICKET, check_branches, is_control
from lth_keras.search.failures import Failures
from lth_keras.search.identity import describe, describe_changes, former
from lth_keras.search.level import Recipe, train_level
from lth_keras.search.level_masks import LevelMasks
from lth_keras.search.observation import Observation
from lth_keras.search.parameters import check_asked, check_parameters, levels_of, take_values
from lth_keras.search.provenance import check, trained_by
from lth_keras.search.run import Run
from lth_keras.search.selection import Selection
from lth_keras.search.tasks import LevelError, Task, pending_tasks, tickets_at_a_time
from lth_keras.search.trial_data import TrialData
from lth_keras.search.variants import OF_THE_START, SAID, check_variants, coordinates, independent, share_dense
from lth_keras.search.width import best_width, check_width, choose_width
from lth_keras.search.workshop import Blueprint, Workshop
from lth_keras.storage import Facts, LevelResult, RunDirectory
from lth_keras.system import interrupts, values
from lth_keras.training.given import Given, described, given_by, recorded
from lth_keras.training.network import Network
from lth_keras.training.together import check_together


@dataclass(repr=False)
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
            chains of dense layers (see `lth_keras.training.compact`). The numbers are those of the whole network within
            float32 rounding, not the same bits.
        fused: whether to train with a kernel of this library in place of the backend's, on CPUs, for chains of dense
            layers (see `Network`). The numbers are those of the backend within float32 rounding, not the same bits.
        embeddings: how large embedding tables are trained: `exact`, `lazy` or `dense` (see `Network`).
        confusion: whether to keep a confusion matrix of every test, for labels that are class indices; for multi-label
            tasks (binary cross-entropy of several outputs) true and false positives and false negatives by class. Where
            nothing is classified, or every position of an example, it is refused before anything is trained.
        metric: what is measured beside the loss, by name (`accuracy`, `micro_f1`, `mae`, `r2` or a Keras metric's), a
            Keras metric or a function (y, outputs) -> a number for each example. None goes by the loss and the outputs,
            see docs/results.md. Its name is that of the variables in run.h5.
        variants: searches under other parameters in the same run, each a branch with its own masks and its own level 0:
            name to the arguments that it changes, e.g. `{"epoch_3": {"score_at": 2748}}`. Asking for more extends the
            run. Those whose masks are made before training, and all that is other, have the dense network of the other
            branches. Those that share model, optimiser, loss, batch size and cadences share their compiled program too.
        observe: what to record of the distributions of weights and scores, for figures; by default nothing. Changes no
            number, and levels that were finished before have none.
        facts: () -> what run.h5 is to say beside its levels, for figures; called when it is written. Changes no number.
        name: names the run's directory.
        config: JSON values that identify the run; by default the parameters above, the model's and the optimiser's
            configuration and a digest of the data.
        threads: threads per training; None leaves the backend's own number. Other threads give other bits, so a run
            records them and is resumed with the same.
        start: what trials begin with: `initial`, weights that are drawn from their initialisers; `given`, those that
            `build` makes. By default it is told by calling `build` under two seeds: weights that are equal both times
            though their initialiser is random and has no seed were given (loaded, pretrained); they are kept in all
            trials, with a warning that names them, and the others are drawn.
        prune_frozen: whether layers with `trainable=False` are pruned. By default they are not, and do not count in
            densities. Their weights are those that `build` makes, in all trials.
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
    fused: bool = False
    embeddings: str = "exact"
    confusion: bool = False
    metric: Any = None
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    observe: Observation = Observation()
    facts: Callable[[], Facts] | None = None
    name: str = "search"
    config: Mapping[str, Any] | None = None
    threads: int | None = None
    vectorize: int | str = "auto"
    start: str | None = None
    prune_frozen: bool = False

    def __repr__(self) -> str:
        length = f"steps={self.steps}" if self.epochs is None else f"epochs={self.epochs}"
        return (
            f"TicketSearch(name={self.name!r}, levels={self.levels}, {length}, batch_size={self.batch_size}, "
            f"criterion={name_of(self.criterion)!r}, seed={self.seed})"
        )

    def __post_init__(self) -> None:
        take_values(self)
        self._plan = Plan(
            self.rates,
            self.densities,
            self.scope,
            self.schedule,
            self.shots,
            self.shot_schedule,
            self.min_per_layer,
        )
        self.levels = levels_of(self.levels, self._plan)
        check_parameters(self, self._plan)
        check_variants(self.variants, [item.name for item in fields(self)])
        self._asked_test_every = self.test_every
        self.test_every = check_cadence(self.evaluate_every, self.test_every)
        self.processes = 1
        """Processes that are to train such a model and have not begun to, this one among them."""
        self.width = 1
        """Tickets trained together, as `prepare` found out."""
        self._variants: dict[str, TicketSearch] = {}
        self._initial: dict[int, Weights] = {}
        self._started: set[str] = set()
        self._workshop = Workshop()
        self._selection = Selection(
            self._plan,
            criterion(self.criterion),
            name_of(self.criterion),
            None if self.initialise is None else Initialiser(self.initialise),
            self.cut_through == "train",
            lambda: self.network,
            lambda seed: self.trial_data.sample(seed),
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
            reporter: shows progress; see `lth_keras.system.progress.Reporter`. None shows nothing.

        Raises:
            ValueError: for functions that cannot be read where there is no `config`, variants that have levels under
                other parameters, weights of which it cannot be told whether `build` gives them,
                zero trials, unknown branches, data that do not fit the model, a kind of layer without a
                rate, or a run directory made with other parameters or threads.
            InUseError: where another process is writing in the run's directory.
            OSError: where it cannot be written; finished levels are kept.
            TypeError: where `build` or `optimizer` does not make what it should.
            LevelError: where a level's loss is not finite, or layers without any weight left cut its network through:
                in the end, once all that do not build on such levels are trained. Finished levels are kept.
            KeyboardInterrupt: on Ctrl-C, once the step at hand is done and run.h5 is written with what is finished.
        """
        check_asked(trials, branches, keep_weights, control_levels, self.levels, self.seed, reporter)
        with interrupts.stopped_by_ctrl_c():
            return self._run(trials, branches, out, keep_weights, control_levels, reporter)

    def _run(
        self,
        trials: int,
        branches: Sequence[str],
        out: str | os.PathLike[str],
        keep_weights: str,
        control_levels: Sequence[int] | None,
        reporter: Any,
    ) -> Run:
        directory, seeds_of_trials, branches = self.prepare(trials, branches, out, keep_weights, control_levels)
        failures = Failures(self.independent, reporter)
        asked = self.tasks((), seeds_of_trials, branches, control_levels)
        with directory.locked(asked):
            done = directory.finished()
            pending = self.tasks(done, seeds_of_trials, branches, control_levels)
            if pending:
                self._check_made(directory, set(seeds_of_trials), done & set(asked))
            try:
                for branch in sorted({task.branch for task in pending}):
                    self.of(branch)._check_compact()
                    if self.width > 1:
                        self._record_start(directory, branch)
                if self.width > 1:
                    blocks = Blocks(
                        self.of,
                        self._workshop,
                        self.width,
                        self.levels,
                        self.independent,
                        directory,
                        keep_weights,
                        failures,
                        reporter,
                    )
                    blocks.train(pending, done)
                else:
                    for task in pending:
                        interrupts.check()
                        if failures.rule_out(task):
                            continue
                        try:
                            self.train_level(directory, task, keep_weights=keep_weights, reporter=reporter)
                        except LevelError as error:
                            failures.add(task, error)
            finally:
                self.write_run(directory, asked)
        failures.raise_any()
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
        return independent(self.variants, self.schedule)

    @cached_property
    def share_dense(self) -> frozenset[str]:
        """The variants that have the dense network of the other branches, as only the masks are their own."""
        return share_dense(self.variants, self.independent)

    def write_run(self, directory: RunDirectory, asked: Sequence[Task]) -> None:
        """Writes run.h5 with what is finished, if anything is.

        Args:
            directory: the run's.
            asked: every training that was asked for, finished or not.
        """
        if directory.finished():
            facts = Facts() if self.facts is None else self.facts()
            own = {name: getattr(self, name) for name in SAID}
            along = coordinates(self.variants, own, directory.variants)
            directory.write_run(along, facts=facts, asked=asked)

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
        self.vectorize = check_width(self.vectorize)  # which is set after the search is made, too
        check_asked(trials, branches, keep_weights, control_levels, self.levels, self.seed)
        out = values.path("out", out)
        branches = check_branches(branches, self.variants)
        for branch in branches:
            self.of(branch)._check_counts()  # what is wrong with a variant shows here, not when its turn comes
        self.width = self._choose_width(out, trials, branches, control_levels)
        if self.width > 1 and not together:
            raise ValueError(
                "Expected one process where tickets are trained together as one program: one worker, and no fresh "
                f"graphs. Received: more, and vectorize={self.width}."
            )
        identity = self._identity_in(out)
        directory = RunDirectory.open(out, self.name, identity, threads=self.threads, vectorize=self.width)
        if directory.threads != self.threads:
            raise ValueError(
                f"Expected threads={directory.threads}, which {directory.path} was made with; others give other bits. "
                f"Received: threads={self.threads}."
            )
        if identity is not self.identity:
            directory.record_description(self.identity)
        self._record_variants(directory, branches, together)
        return directory, [self.seed + i for i in range(trials)], branches

    def _record_variants(self, directory: RunDirectory, branches: Sequence[str], together: bool) -> None:
        """Records what variants change, and refuses others under their names."""
        asked = {branch: self.variants[branch] for branch in branches if branch in self.variants}
        if any(changes.keys() & {"build", "optimizer"} for changes in asked.values()):
            self._set_threads()  # before a backend runs
            if not together:  # worker processes need the memory of a GPU
                os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
                os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        directory.record_variants({name: describe_changes(changes, self.seed) for name, changes in asked.items()})

    def _identity_in(self, out: str | os.PathLike[str]) -> Mapping[str, Any]:
        """What names the run's directory: the identity, or its older form where a directory has that and no other."""
        if self.config is not None or RunDirectory.recorded(out, self.name, self.identity):
            return self.identity
        before = former(self, self.identity)
        made = None if before is None else RunDirectory.recorded(out, self.name, before)
        same = made is not None and made.described in (None, self.identity)
        return before if same and before is not None else self.identity

    def _choose_width(
        self, out: str | os.PathLike[str], trials: int, branches: Sequence[str], control_levels: Sequence[int] | None
    ) -> int:
        """How many tickets to train together; checked before it is recorded."""
        everywhere = control_levels is None or 2 * len(set(control_levels)) > self.levels
        at_most_levels = [branch for branch in branches if everywhere or not is_control(branch)]
        tickets = trials * tickets_at_a_time(at_most_levels, self.levels, self.independent)

        alone = [name for name in ("compact", "fused") if any(getattr(self.of(branch), name) for branch in branches)]

        def best() -> int:
            self._set_threads()
            return 1 if alone else best_width(lambda: self.network, tickets)

        recorded = RunDirectory.recorded(out, self.name, self._identity_in(out))
        width = choose_width(self.vectorize, recorded, tickets, best)
        if width > 1 and alone:
            raise ValueError(f"Expected vectorize=1 with {' and '.join(alone)}. Received: {width}.")
        if width > 1:
            check_together(self.network, width)
        return width

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
        return self.network.given if "network" in vars(self) else given_by(self.build, self.start)

    @cached_property
    def network(self) -> Network:
        """The network that all levels, branches and trials of this process use; built at first use."""
        blueprint = Blueprint(
            self.build,
            self.optimizer,
            self.loss,
            self.batch_size,
            self.evaluate_every,
            self._asked_test_every,
            self.jit_compile,
            self.embeddings,
            self.fused,
            self.start,
            self.prune_frozen,
            self.metric,
        )
        networks = self._workshop.networks
        if blueprint not in networks:
            self._set_threads()
            networks[blueprint] = blueprint.network(self.processes)
        network = networks[blueprint]
        self._plan.density(0, network.kinds)  # a kind without a rate shows here, not after the first training
        if self.scope == "uniform" and self.levels:  # and so does a first layer that is too large
            self._plan.keep(self.levels, Mask.ones(network.mask.shapes), network.kinds)
        return network

    @property
    def trial_data(self) -> TrialData:
        """The data of its trials: those that the search has now, as a user may give it others."""
        return TrialData(self.data, self.samples_per_class, lambda: self.network, self._workshop)

    def _set_threads(self) -> None:
        if self.threads is not None:
            set_threads(self.threads)

    def of(self, branch: str) -> TicketSearch:
        """The search that trains a branch: this one, or a variant, with its changes."""
        if branch not in self.variants:
            return self
        if branch not in self._variants:
            unchanged = {"test_every": self._asked_test_every, "variants": {}, "config": self.config or {}}
            made = replace(self, **{**unchanged, **self.variants[branch]})
            made._workshop = self._workshop
            made.processes = self.processes
            self._variants[branch] = made
        return self._variants[branch]

    def train_level(
        self, directory: RunDirectory, task: Task, *, keep_weights: str = "none", reporter: Any = None
    ) -> LevelResult:
        """Trains one task from what is in the run's directory, writes its level file and returns what is in it."""
        search = self.of(task.branch)
        started = time.perf_counter()
        self._record_start(directory, task.branch)
        network = search.trial_data.loaded(task.seed)
        self._check_made(directory, {task.seed}, directory.finished())
        recipe = search.recipe(task, len(network.split("train")[0]), keep_weights)
        return train_level(network, directory, task, recipe, started=started, reporter=reporter)

    def _record_start(self, directory: RunDirectory, branch: str) -> None:
        """Records what weights a branch's trials begin with where they are not drawn, and says so once a process."""
        owns = [name for name, changes in self.variants.items() if changes.keys() & OF_THE_START]
        name = branch if branch in owns else ""
        if name in self._started:
            return
        given = self.of(branch).network.given
        others = {own for own in owns if own != name} if not name else set(self.variants) - {name} | {*BRANCHES, DENSE}
        new = directory.record_start(recorded(given), name, apart_from=others)
        told = described(given)
        if told is not None and (new or multiprocessing.parent_process() is None):
            warnings.warn(told if not name else f"Variant {name!r}: {told}", stacklevel=2)
        self._started.add(name)

    @property
    def kin(self) -> Hashable:
        """What tickets must have in common to be trained together."""
        return self.network, self.steps, self.epochs, self.confusion, self.patience

    def recipe(self, task: Task, examples: int, keep_weights: str) -> Recipe:
        """How a task of a branch that is not a variant is trained on so many examples.

        Raises:
            ValueError: where the training is too short for `score_at`, or as criterion and initialiser.
        """
        steps = self.steps if self.steps is not None else (self.epochs or 0) * (examples // self.batch_size)
        if self.score_at is not None and self.score_at > steps:
            raise ValueError(f"Expected score_at in 0 ... {steps}, the steps of a training. Received: {self.score_at}.")
        values.integer("steps", steps, 1)
        return Recipe(
            initial=self._initial_weights(task.seed),
            steps=steps,
            masks=LevelMasks(self._selection, self.masks_of_drawn),
            confusion=self.confusion,
            scored_at=self.score_at,
            updates=task.level * steps if self.carry_step_count else 0,
            patience=self.patience,
            cut_through=self.cut_through == "train",
            keep_weights=keep_weights == "all" or (keep_weights == "last" and task.level == self.levels),
            compact=self._workshop.compact(self.network) if self.compact else None,
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

    def _check_made(self, directory: RunDirectory, seeds: set[int], finished: Iterable[tuple[int, str, int]]) -> None:
        """Checks that what is finished was made with what trains here, with the data of these trials, once."""
        compared = self._workshop.compared.setdefault(directory.path, set())
        if seeds - compared:
            known = (DENSE, *BRANCHES, *self.variants)
            check(directory, finished, lambda branch: self.of(branch) if branch in known else None, seeds)
            compared |= seeds

    def _observe(self, task: Task, mask: Mask, before: Weights, after: Weights) -> Distributions:
        """What to record of a level; scores with the network that a trial's branches share, as it is drawn."""
        drawn = partial(self._selection.drawn_state, task.seed) if task.branch == DENSE else None
        return self.observe.of_level(mask, before, after, drawn)

    def _check_compact(self) -> None:
        """Raises ValueError where tickets cannot be trained on smaller networks as asked; of variants before any is."""
        if self.compact:
            self._workshop.compact(self.network)

    def _check_counts(self) -> None:
        """Raises ValueError where outcomes are to be counted by class and cannot be; before anything is trained."""
        if self.confusion:
            if told_by(self.loss).kind == OWN:
                self.trial_data.checked(self.seed)  # whose labels tell what is measured
            self.network.make_counter()

    def _initial_weights(self, seed: int) -> Weights:
        """The weights that a trial starts from; of one trial at a time, as some take memory."""
        if self._selection.takes_data or self.observe.takes_data:
            self.trial_data.sample(seed)  # before anything is trained: what is missing shows here
        if seed not in self._initial:
            self._initial = {seed: self._selection.initial_weights(seed)}
        return self._initial[seed]

    def drawn_state(self, seed: int) -> State:
        """A trial's dense network as its weights are drawn, with its data, as criteria see it: to learn from."""
        self.trial_data.loaded(seed)
        return self._selection.drawn_state(seed)

    def made_weights(self, seed: int, branch: str = WINNING_TICKET) -> Weights | None:
        """The weights that a branch's trial starts from, where `initialise` makes them; otherwise None."""
        search = self.of(branch)
        if not search.initialise:
            return None
        search.trial_data.loaded(seed)
        return search._initial_weights(seed)
