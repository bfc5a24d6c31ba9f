"""Every criterion, every schedule and their composites in LeNet-300-100 on MNIST (Lutz & Manai, 2022, appendix C)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.command import Length, Options, main
from experiments.composite_rows import (
    PRESETS,
    STUDIED,
    WINNING_TICKET,
    CriterionInRow,
    ScheduleInRow,
    branch_of,
    check_rows,
    described,
    parameters,
)
from experiments.described import layers_of

if TYPE_CHECKING:
    import keras
    import xarray
    from rich.console import RenderableType

    from lth_keras.models import LayerSize
    from lth_keras.search.search import TicketSearch

Hidden = Annotated[tuple[str, ...], tyro.conf.Suppress]
EXAMPLES = 55_000
"""Of the training split."""


@dataclass(frozen=True)
class Config(Options):
    """Criteria, schedules and composites compared: LeNet-300-100 on MNIST as in "Hitting the Jackpot" (2022).

    Every row is a branch with masks of its own; all of a trial start from the same initial weights, but those rows
    that make others of them. Rows are named CRITERION_SCHEDULE, stacked_FIRST_SECOND_SCHEDULE,
    weights_FIRST_SECOND_SCHEDULE (initial weights of FIRST's scores, masks by SECOND) and bimodal_...; with _drawn the
    masks are of the weights before that. Schedules: before training in one shot (uss) or many (ums), level by level in
    one (iss) or many (ims). magnitude_iss is the branch winning_ticket, the baseline.

    Kaiming normal weights (Keras' he_normal, truncated at two standard deviations; the study's are not truncated), SGD
    0.1, batches of 64, no weight decay, global scope. A layer may collapse: a network that is cut through is trained as
    it is, so its accuracy is that of the same answer to every image, and a table says so.
    """

    examples: ClassVar[tuple[int, int, int]] = (EXAMPLES, 5_000, 10_000)

    trials: int = 5
    """Number of trials, each with its own seed: the same for all rows. More extend the run."""
    levels: int = 8
    """Densities to go through, from the first. More extend the run."""
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.015, 0.01, 0.007, 0.005, 0.004)
    """Share of the prunable weights that each level keeps."""
    preset: Literal["top20", "ablation", "none"] = "top20"
    """Rows to train: twenty, before training but for the baseline; each criterion under each schedule; or none but
    those of the flags that follow. More extend the run."""
    rows: tuple[str, ...] = ()
    """More rows, by name."""
    criteria: tuple[CriterionInRow, ...] = ()
    """More rows: these criteria under --schedules."""
    schedules: tuple[ScheduleInRow, ...] = ("uss", "ums", "iss", "ims")
    """Schedules of --criteria."""
    learned: Path | None = None
    """Folder of the criteria that `python -m experiments.learned_criterion` has learned, for rows such as
    learned_forest_uss. What is in them is part of what names the run."""
    shots: int = 100
    """Shots of the schedules with many: what SynFlow's paper takes."""
    steps: Length = None
    """Optimiser updates per training."""
    epochs: Length = 100
    """Passes over the training examples per training, in full batches, at most. Instead of --steps."""
    patience: int | None = 5
    """End a training after so many evaluations, of one an epoch, without a lower validation loss. The study stopped
    early too; appendix C has no patience, so this one is a choice."""
    compact: bool = True
    """Train tickets without the inputs and units that pruning has cut off: of most rows here little is left. The same
    numbers within float32 rounding."""
    batch_size: int = 64
    """Examples per step."""
    evaluate_every: int = EXAMPLES // 64
    """Steps between evaluations on the validation split, which decide the early-stop step. Default: an epoch."""
    test_every: int = 10 * (EXAMPLES // 64)
    """Steps between evaluations on the test split, a multiple of --evaluate-every. They decide nothing."""
    learning_rate: float = 0.1
    """SGD's learning rate."""
    samples_per_class: int = 10
    """Training examples of each class that criteria which take gradients look at."""
    branches: Hidden = ()  # type: ignore[assignment]  # the rows are the branches
    criterion: Annotated[str, tyro.conf.Suppress] = "magnitude"
    control_levels: Annotated[tuple[int, ...] | None, tyro.conf.Suppress] = None

    def __post_init__(self) -> None:
        """Checks rows and densities, and leaves no level without one.

        Raises:
            ValueError: for unknown rows, no row at all, or as `Options`.
        """
        super().__post_init__()
        object.__setattr__(self, "levels", min(self.levels, len(self.densities)))
        if not self.chosen:
            raise ValueError("Expected at least one row. Received: --preset none without --rows and --criteria.")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The rows to train."""
        product = [f"{criterion}_{schedule}" for criterion in self.criteria for schedule in self.schedules]
        return check_rows((*PRESETS[self.preset], *self.rows, *product))

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """What each row changes of the search, but for the baseline."""
        rows = [row for row in self.chosen if branch_of(row) != WINNING_TICKET]
        return {row: parameters(row, self.shots, self.learned) for row in rows}

    def asked_branches(self) -> tuple[str, ...]:
        """The rows."""
        return tuple(map(branch_of, self.chosen))

    def identity(self) -> dict[str, Any]:
        """The parameters without the choice of rows, which extends a run."""
        choice = ("preset", "rows", "criteria", "schedules", "learned")
        found = {name: value for name, value in super().identity().items() if name not in choice}
        return found if self.learned is None else {**found, "learned": digest_of(self.learned)}

    def model(self) -> keras.Model:
        """The network, with weights drawn anew."""
        from lth_keras.models import lenet_300_100

        return lenet_300_100(kernel_initializer="he_normal")

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """How it is trained, for people."""
        known = {name: value for name, value in super().training().items() if name != "criterion"}
        return {
            **known,
            "early stopping": "none" if self.patience is None else f"patience {self.patience} evaluations",
            "steps between evaluations": f"{self.evaluate_every:,}",
            "optimiser": f"SGD, learning rate {self.learning_rate:g}",
            "initial weights": "Kaiming normal, truncated at two standard deviations",
            "densities": ", ".join(f"{100 * density:g}%" for density in self.densities[: self.levels]),
            "scope": "global",
            "cut-off inputs and units": "left out" if self.compact else "computed",
            "shots": f"{self.shots}, exponential",
            "examples for scoring": f"{self.samples_per_class} of each class",
        }

    def described(self) -> Iterable[RenderableType]:
        """With --describe the model, its training, the rows, and the weights that each level keeps."""
        if not self.describe:
            return
        from lth_keras.report import layers_table, parameters_table, remaining_table, weights_table

        sizes = self.sizes()
        dense = sum(size.prunable for size in sizes)
        yield layers_table("Layers", sizes)
        yield weights_table("Weights", sizes)
        yield parameters_table("Training", self.training())
        yield parameters_table("Rows", {row: described(row, self.shots, self.learned) for row in self.chosen})
        left = [{"prunable": round(dense * density)} for density in (1.0, *self.densities[: self.levels])]
        yield remaining_table("Prunable weights that remain, in all layers together", left)

    def notes(self) -> Iterable[str]:
        """What this experiment chose, as the study's tables do not have it."""
        yield (
            f"rows: {len(self.chosen)}; early stopping after {self.patience} evaluations without a lower validation "
            "loss. Patience, number of shots, scaling of scores as weights and the preset rows are choices of this "
            "experiment: see docs/composites.md"
        )

    def tables(self, dataset: xarray.Dataset) -> Iterable[RenderableType]:
        """Accuracy at each density, and which networks were cut through."""
        from lth_keras.report import constant_table, densities_table

        densities = (1.0, *self.densities[: self.levels])
        yield densities_table(dataset, densities, "test_accuracy_at_early_stop")
        if (cut := constant_table(dataset)) is not None:
            yield cut


def digest_of(folder: Path) -> str:
    """SHA-256 over the learned criteria in a folder.

    Raises:
        ValueError: where there are none.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"Expected --learned to be a folder of learned criteria (*.npz). Received: {folder}.")
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.name.encode() + file.read_bytes())
    return sha.hexdigest()


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import mnist
    from lth_keras.search.observation import Observation
    from lth_keras.search.search import TicketSearch

    return TicketSearch(
        build=config.model,
        data=lambda seed: mnist.load(seed=seed),
        optimizer=lambda: keras.optimizers.SGD(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        densities=config.densities,
        scope="global",
        samples_per_class=config.samples_per_class,
        min_per_layer=0,
        cut_through="train",
        variants=config.variants,
        observe=Observation(weights=True, criteria=STUDIED),
        name="composite_pruning",
        **config.search_arguments(threads),
    )


if __name__ == "__main__":
    main(Config, make_search, "composite_pruning")
