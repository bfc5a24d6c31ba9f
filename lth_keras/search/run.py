"""What a search has done: its directory, results and tickets."""

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
from lth_keras.system.values import integer
from lth_keras.training.network import Network


class Search(Protocol):
    """What a ticket needs of its search, beside what is in files; see `TicketSearch`."""

    @property
    def build(self) -> Callable[[], keras.Model]:
        """Makes the Keras model."""

    @property
    def optimizer(self) -> Callable[[], keras.Optimizer]:
        """Makes the optimiser."""

    @property
    def loss(self) -> Any:
        """As Keras' `compile` takes it."""

    @property
    def start(self) -> Any:
        """What trials begin with; see `TicketSearch`."""

    @property
    def seed(self) -> int:
        """Of the first trial."""

    @property
    def pruning(self) -> Any:
        """How masks are made; see `Pruning`."""

    @property
    def share_dense(self) -> Collection[str]:
        """Branches whose level 0 is the dense network of the others."""

    def made_weights(self, seed: int, branch: str) -> Weights | None:
        """The weights that a branch's trial starts from, where they are not those that are drawn."""


@dataclass(frozen=True, repr=False)
class Run:
    """What a search has done: its directory, results and tickets."""

    search: Search
    directory: RunDirectory

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    @cached_property
    def dataset(self) -> Any:
        """The xarray Dataset of run.h5; docs/results.md says what is in it."""
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
            level: times pruned.
            weights: `rewound`, where its training starts, or `final`, where it ended (see `keep_weights`).
            branch: which branch's.

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
                f"Final weights were not kept for {task}. Train the ticket, or run the search again in another `out` "
                "with keep_weights='all': a finished level is not trained again for them."
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
