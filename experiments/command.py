"""The command line that all experiments share. Imports neither Keras nor a backend: `--backend` is read first."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from rich.console import Console

from experiments.older_flags import with_engine
from lth_keras.system import interrupts

if TYPE_CHECKING:
    import xarray
    from rich.console import RenderableType

    from lth_keras.models import LayerSize
    from lth_keras.search.run import Run
    from lth_keras.search.search import TicketSearch
    from lth_keras.storage import Facts, RunDirectory

BranchName = Literal["winning_ticket", "random_reinit", "random_mask"]


def checked_criterion(name: str) -> str:
    """The name of a criterion, or of a composite of criteria.

    Raises:
        ValueError: where there is none of that name.
    """
    from lth_keras.criteria import criterion

    criterion(name)
    return name


CriterionName = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME|stacked(NAME,NAME)",
        instance_from_str=lambda texts: checked_criterion(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    ),
]

EngineName = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="auto|compiled|batched:N|compact|native",
        instance_from_str=lambda texts: texts[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    ),
]

NOT_HASHED = (
    "trials",
    "levels",
    "branches",
    "control_levels",
    "out",
    "workers",
    "threads",
    "engine",
    "fresh_graphs",
    "keep_weights",
    "describe",
)
"""What changes no number of a level: asking for more extends a run, and these do not name its directory."""

Length = Annotated[
    int | None,
    tyro.conf.arg(metavar="INT"),
    tyro.conf.create_mutex_group(required=False, title="length of a training"),
]
"""The type of `steps` and `epochs`, of which one is given."""


@dataclass(frozen=True)
class Options:
    """What every experiment can be asked; an experiment's own `Config` gives the defaults and adds parameters."""

    examples: ClassVar[tuple[int, int, int] | None] = None
    """To train on, for validation, to test on; None where parameters decide."""

    metric: ClassVar[str] = "accuracy"
    """What is measured beside the loss; `micro-F1` for multi-label tasks."""

    trials: int = 1
    """Number of trials: whole searches, each with its own seed. More extend the run."""
    levels: int = 20
    """Number of prunings; level 0 is the dense network, so one training more. More extend the run."""
    steps: Length = 20_000
    """Optimiser updates per training."""
    epochs: Length = None
    """Passes over the training examples per training, in full batches. Instead of --steps."""
    seed: int = 0
    """Seed of the first trial; trial i has seed + i. It decides initial weights, data order, splits and ties."""
    branches: tuple[BranchName, ...] = ("winning_ticket", "random_reinit", "random_mask")
    """What to train at every level: the winning ticket, and the controls with its mask on freshly drawn weights
    (random_reinit) or with as many weights at random positions (random_mask)."""
    control_levels: tuple[int, ...] | None = None
    """Levels at which to train the controls. Default: all. More extend the run."""
    criterion: CriterionName = "magnitude"
    """What decides which weights are pruned: the size of the trained weight (magnitude), of the initial weight
    (initial_magnitude, as in the code of Unverzagt, 2020), how training changed it (magnitude_change, movement), chance
    (random), what it does to the loss (snip) or to the gradient (grasp, grasp_magnitude) of 10 training examples of
    each class, or what passes through it (synflow). stacked(snip,synflow) is synflow of a network with snip's scores
    in place of its weights. See docs/criteria.md."""
    batch_size: int = 60
    """Examples per step."""
    evaluate_every: int = 100
    """Steps between evaluations on the validation split, which decide the early-stop step."""
    test_every: int = 1000
    """Steps between evaluations on the test split, a multiple of --evaluate-every. They decide nothing."""
    patience: int | None = None
    """End a training after so many evaluations without a lower validation loss. Default: every one has its full length.
    """
    engine: EngineName = "auto"
    """What trains: the backend's compiled program for one ticket (compiled) or N tickets at once (batched:N, with
    --backend jax), without the inputs and units that pruning has cut off (compact: faster below some percent of the
    weights of dense layers), or a kernel for dense layers on CPUs (native: about twice as fast on two threads; needs
    the extra `native`). The numbers agree within float32 rounding. auto: what the run was made with, else what fits
    the model, and on a GPU with --backend jax as many tickets at once as fit. See docs/search.md."""
    out: Path = Path("runs")
    """Directory for runs. The run's own directory in it is named by a hash of the parameters."""
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    """Keras backend. Runs of different backends are different runs: their numbers agree within float32 rounding, and
    drift apart over a training."""
    workers: int = 1
    """Trainings at a time, each in a process of its own."""
    threads: int | None = None
    """Threads per training. Default: what the run was made with, else the CPUs that this process may run on divided by
    --workers. Other threads give other bits, so a run keeps to one number."""
    fresh_graphs: bool = False
    """Every training in a process of its own that builds its own graph and ends. The same bits, slower."""
    keep_weights: Literal["none", "last", "all"] = "none"
    """Final weights to store in the level files: of no level, of the last, or of all."""
    describe: bool = False
    """Print the model, the training and the weights that remain at each level, and exit. Needs no data."""

    def __post_init__(self) -> None:
        """Keeps one length of a training: one that is given replaces a default of the other.

        Raises:
            ValueError: where both are given.
        """
        if self.steps is None or self.epochs is None:
            return
        given = [name for name in ("steps", "epochs") if getattr(self, name) != getattr(type(self), name)]
        if len(given) != 1:
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")
        object.__setattr__(self, "epochs" if given == ["steps"] else "steps", None)

    @property
    def length(self) -> str:
        """How long a training is, for people: `20,000 steps` or `12 epochs`."""
        return f"{self.steps:,} steps" if self.epochs is None else f"{self.epochs:,} epochs"

    def asked_branches(self) -> tuple[str, ...]:
        """What to train at every level. For experiments with variants to say more."""
        return self.branches

    def identity(self) -> dict[str, Any]:
        """The parameters that decide the numbers, as JSON. What is not set is left out.

        So a parameter added later, unset by default, renames no run that was made before.

        Raises:
            ValueError: for NaN or infinity.
        """
        fields = dataclasses.asdict(self)
        for name, value in fields.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"Expected a finite number for --{name.replace('_', '-')}. Received: {value}.")
        from lth_keras.training.engines import identity_of

        own = {name: value for name, value in fields.items() if name not in NOT_HASHED and value is not None}
        return {**own, **identity_of(self.engine)}

    def ticket_search(self, threads: int, **parameters: Any) -> TicketSearch:
        """The search with these options.

        Args:
            threads: per training.
            parameters: those of the experiment, each by its own name; see `lth_keras.search.parameters.grouped`.
        """
        from lth_keras.search.parameters import KINDS, declared, grouped
        from lth_keras.search.search import TicketSearch

        known = {name for kind in KINDS for name in declared(kind)} - {"name"}
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(Options) if item.name in known}
        fixed = {"confusion": True, "config": self.identity(), "threads": threads}
        return TicketSearch(**grouped({**own, **fixed, **parameters}))

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer. For experiments to say."""
        raise NotImplementedError

    def sizes(self) -> list[LayerSize]:
        """The layers of the model. For experiments to say."""
        raise NotImplementedError

    def training(self) -> dict[str, str]:
        """How it is trained, for people. For experiments to say more.

        Raises:
            ValueError: for a batch size below 1.
        """
        if self.batch_size < 1:
            raise ValueError(f"Expected --batch-size of at least 1. Received: {self.batch_size}.")
        examples: dict[str, str] = {}
        if self.examples is not None:
            names = ("training examples", "validation examples", "test examples")
            examples = {name: f"{count:,}" for name, count in zip(names, self.examples, strict=True)}
            examples["steps per epoch"] = f"{self.examples[0] // self.batch_size:,}"
        return {
            "length of a training": self.length,
            "batch size": str(self.batch_size),
            **examples,
            "loss": "sparse categorical cross-entropy",
            "criterion": self.criterion,
        }

    def described(self) -> Iterable[RenderableType]:
        """What to print instead of running: with --describe the model, its training and what pruning leaves."""
        from experiments.described import tables

        return tables(self.sizes(), self.training(), self.rates, self.levels) if self.describe else ()

    def notes(self) -> Iterable[str]:
        """Lines that a run starts with. For experiments to say more."""
        return ()

    def facts(self) -> Facts:
        """What run.h5 is to say of the data beside its levels, for figures. For experiments that know more."""
        from lth_keras.storage import Facts

        return Facts()

    def finished(self, run: Run) -> Iterable[str]:
        """What is done with a finished run, a line for each thing. For experiments that go on from it."""
        return ()

    def tables(self, dataset: xarray.Dataset) -> Iterable[RenderableType]:
        """What to print besides the table of every run. For experiments to say more."""
        return ()


def main(config_class: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str) -> None:
    """Reads the command line, runs the experiment, prints its table, draws its figures; exits.

    Args:
        config_class: the experiment's dataclass, a subclass of `Options`. Its docstring is the help's text.
        make_search: (config, threads) -> the search; a function of the experiment's module.
        experiment: names the run's directory.
    """
    console = Console(stderr=True)
    try:
        with interrupts.stopped_by_signals():
            _main(config_class, make_search, experiment, console)
    except KeyboardInterrupt as stopped:
        command = shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])
        with contextlib.suppress(OSError):  # the terminal may be gone, which is what SIGHUP says
            _say(console, f"\nStopped. {_kept(stopped)}: {command}")
        raise SystemExit(stopped.exit_code if isinstance(stopped, interrupts.Stopped) else 130) from None


def _kept(stopped: BaseException) -> str:
    """What there is of a run that was stopped, and so what its command does."""
    directory: RunDirectory | None = getattr(stopped, "directory", None)
    if directory is None:
        return "Nothing was trained; run it again with"
    if not directory.path.exists():
        return f"{directory.path} is gone, with the levels that were finished; begin anew with"
    return (
        "Finished levels are kept; resume with" if directory.finished() else "No level was finished; begin again with"
    )


def _main(
    config_class: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str, console: Console
) -> None:
    arguments, renamed = with_engine(sys.argv[1:])
    if renamed:
        _say(console, f"Warning: {renamed} is now {' '.join(arguments[-2:])}")
    config = tyro.cli(config_class, prog=f"python -m experiments.{experiment}", args=arguments)
    # Keras itself describes a model on numpy, so that needs no backend to be installed.
    os.environ["KERAS_BACKEND"] = "numpy" if config.describe else config.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _run(config, make_search, experiment, console)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != config.backend:
            raise
        _say(
            console,
            f"Expected the package of --backend {config.backend} to be installed. Received: {error}. "
            "Install it, or choose another --backend.",
        )
        raise SystemExit(1) from None
    except (ValueError, OSError, RuntimeError) as error:  # what a user can put right, said in the message
        _say(console, f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _run(config: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str, console: Console) -> None:
    started = time.monotonic()
    if described := list(config.described()):
        Console().print(*described)
        return
    from lth_keras.plots import save_figures
    from lth_keras.report import summary_table
    from lth_keras.search.execution import Asked, prepare
    from lth_keras.search.tasks import LevelError
    from lth_keras.storage import RunDirectory, open_run
    from lth_keras.system.machine import usable_cpus
    from lth_keras.system.progress import ConsoleReporter, duration

    interrupts.check()
    warnings.showwarning = functools.partial(_show_warning, console)
    for line in config.notes():
        _say(console, line)
    interrupts.check()
    recorded = RunDirectory.recorded(config.out, experiment, config.identity())
    if config.workers < 1:
        raise ValueError(f"Expected at least 1 worker. Received: {config.workers}.")
    threads = config.threads
    if threads is None:
        threads = (recorded and recorded.threads) or max(1, usable_cpus() // config.workers)
    make = functools.partial(make_search, config, threads)
    search = make()
    interrupts.check()
    in_workers = config.workers > 1 or config.fresh_graphs
    asked = Asked(config.trials, config.asked_branches(), config.out, config.keep_weights, config.control_levels)
    prepared = prepare(search, asked, together=not in_workers)
    directory, every = prepared.directory, prepared.tasks()
    with directory.locked(every):  # sets damaged levels aside; let go before the run, which takes it for itself
        pending = prepared.tasks(directory.finished())
    total = len(every)
    engine = f"{config.engine}, which each process resolves"
    if pending and not in_workers:
        engine = f"{search.trainer.spelling} ({search.why_engine})"
    _say(
        console,
        f"{experiment}: {len(pending)} of {total} trainings to do, {config.length} each, "
        f"{max(search.width, config.workers)} at a time with {threads} thread{'s' if threads > 1 else ''} each; "
        f"engine {engine}; in {directory.path}",
    )
    failure: LevelError | None = None
    output = Console()
    try:
        with ConsoleReporter(len(pending), console, config.metric) as reporter:
            result = search.run(
                trials=config.trials,
                branches=config.asked_branches(),
                out=config.out,
                keep_weights=config.keep_weights,
                control_levels=config.control_levels,
                workers=config.workers,
                fresh_graphs=config.fresh_graphs,
                remake=make,
                facts=config.facts,
                reporter=reporter,
            )
        interrupts.check()
        for line in config.finished(result):
            _say(output, line)
    except KeyboardInterrupt as stopped:
        stopped.directory = directory  # type: ignore[attr-defined]  # for what is said of it
        raise
    except LevelError as error:  # the others are finished, and shown before it is said
        failure = error
    if directory.finished():
        dataset = open_run(directory.path)
        output.print(summary_table(dataset), *([] if failure else config.tables(dataset)))
        for path in [directory.path / "run.h5", *save_figures(dataset, directory.path / "figures")]:
            _say(output, f"wrote {path}")
    _say(output, f"in {duration(time.monotonic() - started)}")
    if failure:
        raise failure


def _say(console: Console, text: str) -> None:
    """Prints a text as it is: brackets in a path are no markup, and a long line is the terminal's to break."""
    from lth_keras.system.printing import printable

    console.print(printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


def _show_warning(console: Console, message: Warning | str, *_: Any, **__: Any) -> None:
    _say(console, f"Warning: {message}")
