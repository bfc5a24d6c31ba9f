"""Fits criteria to iterative multi-shot SynFlow, for `experiments.composite_pruning` (Lutz & Manai, 2022)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from experiments import composite_pruning
from experiments.command import main
from experiments.composite_rows import REGRESSORS

if TYPE_CHECKING:
    from lth_keras.search import Run, TicketSearch

TEACHER = "synflow_ims"


@dataclass(frozen=True)
class Config(composite_pruning.Config):
    """Fits criteria that predict, from four scores before training, what iterative multi-shot SynFlow keeps.

    Runs three searches with the options of composite_pruning and other seeds. Then it fits a linear regression, the
    same by gradient descent, a tree, a forest and a small network to the level at which each weight is pruned: with
    four features of a weight, and with fourteen. Pass the folder that it writes to composite_pruning as --learned.
    """

    trials: int = 3
    """Number of searches to fit to."""
    seed: int = 1000
    """Seed of the first search."""
    preset: Literal["top20", "ablation", "none"] = "none"
    """Further rows to train."""
    rows: tuple[str, ...] = (TEACHER,)
    """Rows to train; they must include synflow_ims."""

    def finished(self, run: Run) -> Iterable[str]:
        """Fits the criteria and writes them into the run's directory."""
        from experiments.learning import learn

        folder = run.directory.path / "learned"
        folder.mkdir(exist_ok=True)
        searches = [self.search_of(run, self.seed + trial) for trial in range(self.trials)]
        for name in REGRESSORS:
            regressor, _, extended = name.partition("_")
            learn(regressor, searches, extended=bool(extended), seed=self.seed).save(folder / f"{name}.npz")
            yield f"wrote {folder / name}.npz"

    def search_of(self, run: Run, seed: int) -> tuple[Any, list[Any]]:
        """The state before training and the masks of all levels of a search."""
        levels = (run.directory.read(seed, TEACHER, level) for level in range(self.levels + 1))
        return run.search.search_of(TEACHER).drawn_state(seed), [level.mask for level in levels if level is not None]


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    search = composite_pruning.make_search(config, threads)
    search.name = "learned_criterion"
    return search


if __name__ == "__main__":
    main(Config, make_search, "learned_criterion")
