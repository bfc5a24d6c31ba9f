"""The options that all experiments share. Imports neither Keras nor a backend: `--backend` is read first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from experiments.flags import BranchName, CriterionName, EngineName, Length, PatternName, RewindName, Scope

if TYPE_CHECKING:
    import xarray
    from rich.console import RenderableType

    from lth_keras.models import LayerSize
    from lth_keras.search import Run, TicketSearch
    from lth_keras.storage import Facts

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
"""Options that change no result. They are left out of the hash that names a run's directory."""


@dataclass(frozen=True)
class Options:
    """Options of every experiment. The `Config` of an experiment sets defaults and adds parameters."""

    examples: ClassVar[tuple[int, int, int] | None] = None
    """Numbers of training, validation and test examples; None if they depend on parameters."""

    metric: ClassVar[str] = "accuracy"
    """The metric beside the loss; `micro-F1` for multi-label tasks."""

    scope: ClassVar[Scope] = "layer"
    """Where weights are ranked: within each layer or over all of them."""

    trials: int = 1
    """Number of trials. A trial is a whole search with its own seed. A larger number extends the run."""
    levels: int = 20
    """Number of prunings. Level 0 is the dense network, so there is one training more. A larger number extends the run.
    """
    steps: Length = 20_000
    """Optimiser updates of each training."""
    epochs: Length = None
    """Epochs of each training, in full batches. Replaces --steps."""
    seed: int = 0
    """Seed of the first trial; trial i has seed + i. It determines initial weights, data order, splits and ties."""
    branches: tuple[BranchName, ...] = ("winning_ticket", "random_reinit", "random_mask")
    """Networks to train at every level: the winning ticket and two controls. random_reinit has the same mask and newly
    drawn weights; random_mask keeps as many weights at random positions."""
    control_levels: tuple[int, ...] | None = None
    """Levels at which to train the controls. Default: all. More levels extend the run."""
    criterion: CriterionName = "magnitude"
    """Pruning criterion: size of the trained weight (magnitude) or of the initial weight (initial_magnitude, as in the
    code of Unverzagt, 2020); change in training (magnitude_change, movement); chance (random); effect on the loss
    (snip) or on the gradient (grasp, grasp_magnitude) of 10 training examples of each class; synaptic flow (synflow).
    stacked(snip,synflow) is synflow of a network whose weights are snip's scores. See docs/criteria.md."""
    rewind: RewindName | None = None
    """What trainings after the first start from: the initial weights (init, the default); the dense network after step
    or epoch K (step:K, epoch:K); the end of the level before, with a new schedule (learning_rate), at the last learning
    rate (fine_tune), or with the same optimiser (none). See docs/search.md."""
    pattern: PatternName | None = None
    """Groups of weights that are pruned together: units of dense layers and filters of convolutions (units or filters),
    embedding columns (columns), attention heads (heads), blocks (4x4), or all but 2 of every 4 inputs (2:4, with
    --levels 1). Rates are then shares of groups. Default: single weights. See docs/pruning.md."""
    multiple_of: int | None = None
    """With --pattern: number to whose multiples the units or heads that a layer keeps are rounded."""
    batch_size: int = 60
    """Examples per step."""
    evaluate_every: int = 100
    """Steps between evaluations on the validation split. They determine the early-stop step."""
    test_every: int = 1000
    """Steps between evaluations on the test split, a multiple of --evaluate-every. They influence nothing."""
    patience: int | None = None
    """End a training after this many evaluations without a lower validation loss. Default: never end early."""
    engine: EngineName = "auto"
    """How tickets are trained. compiled: one at a time. batched:N: N at once, with --backend jax. compact: without
    inputs and units that pruning has disconnected; faster if few percent of the weights of dense layers remain.
    native: a CPU kernel for dense layers; about twice as fast on two threads; needs the extra `native`. Results agree
    within float32 rounding. auto: the engine that the run was made with, else one that fits the model; on a GPU with
    --backend jax as many tickets at once as fit into memory. See docs/search.md."""
    out: Path = Path("runs")
    """Directory for runs. It holds one directory for each run, named by a hash of the parameters."""
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    """Keras backend. Each backend has its own runs: results agree within float32 rounding and diverge during training.
    """
    workers: int = 1
    """Number of worker processes. Each trains one network at a time."""
    threads: int | None = None
    """Threads per training. Default: the number that the run was made with, else the usable CPUs divided by --workers.
    A run keeps one number, since results of different numbers are not bit-identical."""
    fresh_graphs: bool = False
    """Run every training in a new process. Slower, with bit-identical results."""
    keep_weights: Literal["none", "last", "all"] = "last"
    """Levels whose final weights are stored: the last of each branch, all, or none. Without them a level's network can
    be exported only after it is trained again (lth-keras export --retrain)."""
    describe: bool = False
    """Print the model, the training and the weights that remain at each level, and exit. Needs no data."""

    def __post_init__(self) -> None:
        """Keeps one of `steps` and `epochs`: the one given replaces the default of the other.

        Raises:
            ValueError: if both are given.
        """
        if self.steps is None or self.epochs is None:
            return
        given = [name for name in ("steps", "epochs") if getattr(self, name) != getattr(type(self), name)]
        if len(given) != 1:
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")
        object.__setattr__(self, "epochs" if given == ["steps"] else "steps", None)

    @property
    def length(self) -> str:
        """The length of a training in words: `20,000 steps` or `12 epochs`."""
        return f"{self.steps:,} steps" if self.epochs is None else f"{self.epochs:,} epochs"

    def asked_branches(self) -> tuple[str, ...]:
        """The branches to train at every level. Experiments with variants override it."""
        return self.branches

    def identity(self) -> dict[str, Any]:
        """The parameters that determine the results, as JSON.

        Unset parameters are left out, so a new parameter that is unset by default renames no existing run.

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
            parameters: of the experiment, by name; see `lth_keras.search.parameters.grouped`.
        """
        from lth_keras.search import PARAMETERS, TicketSearch, grouped

        shared = PARAMETERS.keys() & {item.name for item in dataclasses.fields(Options)} - {"name"}
        own = {name: getattr(self, name) for name in shared if getattr(self, name) is not None}
        fixed = {"confusion": True, "config": self.identity(), "threads": threads, "scope": self.scope}
        no_rates = {"rates": None} if ":" in (self.pattern or "") else {}  # such a pattern has a density of its own
        return TicketSearch(**grouped({**own, **fixed, **parameters, **no_rates}))

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer. Experiments define it."""
        raise NotImplementedError(f"Expected the experiment's {type(self).__name__} to define rates. Received: none.")

    def sizes(self) -> list[LayerSize]:
        """The layers of the model. Experiments define it."""
        raise NotImplementedError(f"Expected the experiment's {type(self).__name__} to define sizes. Received: none.")

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe. Experiments may override it.

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
        """With --describe: tables of model, training and remaining weights, printed instead of running."""
        from experiments.described import tables

        if not self.describe:
            return ()
        return tables(self.sizes(), self.training(), self.rates, self.levels, self.scope, self.pattern)

    def notes(self) -> Iterable[str]:
        """Lines printed before a run. Experiments may override it."""
        return ()

    def facts(self) -> Facts:
        """Facts about the data for run.h5; figures use them. Experiments may override it."""
        from lth_keras.storage import Facts

        return Facts()

    def finished(self, run: Run) -> Iterable[str]:
        """Processes a finished run and yields a line for each step. Experiments may override it."""
        return ()

    def tables(self, dataset: xarray.Dataset) -> Iterable[RenderableType]:
        """Further tables to print after a run. Experiments may override it."""
        return ()
