"""The result of a search: its directory, data set and tickets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras

from lth_keras.search.branches import WINNING_TICKET
from lth_keras.search.start import given_of
from lth_keras.search.tasks import task_of
from lth_keras.search.tickets import finished_level, rewound_state, starting_weights
from lth_keras.storage import RunDirectory, curves_frame, levels_frame, open_run
from lth_keras.system import integer
from lth_keras.training import Network

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


@dataclass(frozen=True, repr=False)
class Run:
    """The result of a search: its directory, data set and tickets."""

    search: TicketSearch
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
        search, seed = self.search, self.search.seed + trial
        task = task_of(seed, branch, level, search.share_dense)
        result = finished_level(self.directory, task, weights=weights == "final")
        if weights == "final" and result.weights is None:
            raise ValueError(
                f"Final weights were not kept for {task}. Train the ticket, or run the search in another `out` with "
                "keep_weights='all'; finished levels are not trained again."
            )
        network = Network(
            search.build,
            optimizer=search.optimizer,
            loss=search.loss,
            loss_weights=search.training.loss_weights,
            metric=search.training.metric,
            batch_size=1,
            start=given_of(search.start),
            exclude=search.pruning.exclude,
            prune_frozen=search.pruning.prune_frozen,
        )
        values = result.weights
        if values is None:
            own = search.search_of(branch)
            initial = own.selection.made_weights(seed) or network.draw_weights(seed, "initial")
            state = rewound_state(self.directory, task, own.rewinding)
            values = starting_weights(task, initial if state is None else state.weights, network.draw_weights)
        network.rewind(values, result.mask)
        return network.model
