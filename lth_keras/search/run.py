"""The result of a search: its directory, data set and tickets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import keras

from lth_keras.arrays import Weights
from lth_keras.search.branches import WINNING_TICKET
from lth_keras.search.start import given_of
from lth_keras.search.tasks import task_of
from lth_keras.search.tickets import finished_level, starting_weights
from lth_keras.storage import RunDirectory, curves_frame, levels_frame, open_run
from lth_keras.system import integer
from lth_keras.training import Network


class Search(Protocol):
    """The members of `TicketSearch` that are needed to rebuild a ticket from files."""

    @property
    def build(self) -> Callable[[], keras.Model]:
        """Makes the Keras model."""

    @property
    def optimizer(self) -> Callable[[], keras.Optimizer]:
        """Makes the optimiser."""

    @property
    def loss(self) -> Any:
        """The loss, see Keras' `compile`."""

    @property
    def start(self) -> Any:
        """The source of initial weights; see `TicketSearch`."""

    @property
    def seed(self) -> int:
        """Seed of the first trial."""

    @property
    def pruning(self) -> Any:
        """The pruning parameters; see `Pruning`."""

    @property
    def share_dense(self) -> Collection[str]:
        """Variants that share level 0 with the other branches."""

    def made_weights(self, seed: int, branch: str) -> Weights | None:
        """The initial weights of a branch's trial if `start` makes them, otherwise None."""


@dataclass(frozen=True, repr=False)
class Run:
    """The result of a search: its directory, data set and tickets."""

    search: Search
    directory: RunDirectory

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    @cached_property
    def dataset(self) -> Any:
        """The xarray Dataset of run.h5, described in docs/results.md."""
        return open_run(self.directory.path)

    def to_frame(self, *, curves: bool = False) -> Any:
        """The run as a pandas DataFrame, a row for each finished trial, branch and level.

        Args:
            curves: a row for each evaluation of those instead.
        """
        return curves_frame(self.dataset) if curves else levels_frame(self.dataset)

    def ticket(
        self, trial: int = 0, level: int = 0, weights: str = "rewound", *, branch: str = WINNING_TICKET
    ) -> keras.Model:
        """A ticket as a masked Keras model, not compiled.

        Args:
            trial: counted from 0, as `TicketSearch.run` counts `trials`.
            level: number of prunings.
            weights: `rewound`, before its training, or `final`, after it (see `keep_weights`).
            branch: the branch.

        Raises:
            ValueError: for a level that is not finished, or final weights that were not kept.
        """
        if weights not in ("rewound", "final"):
            raise ValueError(f"Expected weights to be 'rewound' or 'final'. Received: {weights!r}.")
        trial, level = integer("trial", trial, 0), integer("level", level, 0)
        seed = self.search.seed + trial
        task = task_of(seed, branch, level, self.search.share_dense)
        result = finished_level(self.directory, task, weights=weights == "final")
        if weights == "final" and result.weights is None:
            raise ValueError(
                f"Final weights were not kept for {task}. Train the ticket, or run the search in another `out` with "
                "keep_weights='all'; finished levels are not trained again."
            )
        search = self.search
        network = Network(
            search.build,
            optimizer=search.optimizer,
            loss=search.loss,
            batch_size=1,
            start=given_of(search.start),
            prune_frozen=search.pruning.prune_frozen,
        )
        values = result.weights
        if values is None:
            initial = self.search.made_weights(seed, branch) or network.draw_weights(seed, "initial")
            values = starting_weights(task, initial, network.draw_weights)
        network.rewind(values, result.mask)
        return network.model
