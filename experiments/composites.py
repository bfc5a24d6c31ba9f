"""Options of experiments whose branches are rows of the study of composites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.composite_presets import PRESETS
from experiments.composite_rows import (
    WINNING_TICKET,
    CriterionInRow,
    ScheduleInRow,
    branch_of,
    check_rows,
    described,
    digest_of,
    parameters,
)
from experiments.options import Options

if TYPE_CHECKING:
    import xarray
    from rich.console import RenderableType

Hidden = Annotated[tuple[str, ...], tyro.conf.Suppress]


@dataclass(frozen=True)
class Rows(Options):
    """The options of an experiment whose branches are rows of a table. Its `Config` adds model and training."""

    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.015, 0.01, 0.007, 0.005, 0.004)
    """Share of the prunable weights that each level keeps."""
    preset: Literal["top20", "ablation", "none"] = "top20"
    """Rows to train. top20: twenty rows, all pruned before training except the baseline. ablation: each criterion with
    each schedule. none: only those of the flags below. More rows extend the run."""
    rows: tuple[str, ...] = ()
    """Further rows, by name."""
    criteria: tuple[CriterionInRow, ...] = ()
    """Further rows: these criteria with each of --schedules."""
    schedules: tuple[ScheduleInRow, ...] = ("uss", "ums", "iss", "ims")
    """Schedules of --criteria: before training in a single shot (uss) or multiple shots (ums), or at every level in a
    single shot (iss) or multiple shots (ims)."""
    learned: Path | None = None
    """Folder that `python -m experiments.learned_criterion` wrote, for rows such as learned_forest_uss. Its content is
    part of the hash that names the run's directory."""
    shots: int = 100
    """Shots of ums and ims. Default: as in the paper of SynFlow."""
    branches: Hidden = ()  # type: ignore[assignment]  # the rows are the branches
    criterion: Annotated[str, tyro.conf.Suppress] = "magnitude"
    control_levels: Annotated[tuple[int, ...] | None, tyro.conf.Suppress] = None

    def __post_init__(self) -> None:
        """Checks the rows (ValueError for unknown rows or none), and limits levels to the number of densities."""
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
        """The parameters that each row but the baseline changes."""
        rows = [row for row in self.chosen if branch_of(row) != WINNING_TICKET]
        return {row: parameters(row, self.shots, self.learned) for row in rows}

    def asked_branches(self) -> tuple[str, ...]:
        """The branches of the rows."""
        return tuple(map(branch_of, self.chosen))

    def identity(self) -> dict[str, Any]:
        """The parameters without the choice of rows: more rows extend a run."""
        choice = ("preset", "rows", "criteria", "schedules", "learned")
        found = {name: value for name, value in super().identity().items() if name not in choice}
        return found if self.learned is None else {**found, "learned": digest_of(self.learned)}

    def described(self) -> Iterable[RenderableType]:
        """With --describe: tables of model, training, rows and remaining weights."""
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
        """The choices of this experiment that the study does not state."""
        yield (
            f"rows: {len(self.chosen)}; early stopping after {self.patience} evaluations without a lower validation "
            "loss. Patience, number of shots, scaling of scores as weights and the preset rows are choices of this "
            "experiment: see docs/composites.md"
        )

    def tables(self, dataset: xarray.Dataset) -> Iterable[RenderableType]:
        """Accuracy at each density, and networks with a constant output."""
        from lth_keras.report import constant_table, densities_table

        densities = (1.0, *self.densities[: self.levels])
        yield densities_table(dataset, densities, "test_accuracy_at_early_stop")
        if (cut := constant_table(dataset)) is not None:
            yield cut
