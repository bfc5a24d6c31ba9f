"""The result of a search: its directory, data set and tickets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.arrays import Weights
from lth_keras.search.branches import WINNING_TICKET
from lth_keras.search.groups import loaded_levels
from lth_keras.search.start import given_of
from lth_keras.search.tasks import Task, task_of
from lth_keras.search.tickets import finished_level, rewound_state, starting_weights
from lth_keras.storage import LevelResult, RunDirectory, curves_frame, levels_frame, open_run, versions
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
        self,
        trial: int = 0,
        level: int = 0,
        weights: str = "rewound",
        *,
        branch: str = WINNING_TICKET,
        retrain: bool = False,
    ) -> keras.Model:
        """A ticket as a masked Keras model, not compiled.

        Args:
            trial: counted from 0, as `TicketSearch.run` counts `trials`.
            level: number of prunings.
            weights: `rewound`, before its training, or `final`, after it (see `keep_weights`).
            branch: the branch.
            retrain: whether to train the level again where its final weights were not kept, on this machine to the same
                bits. Nothing in the run's directory changes.

        Raises:
            ValueError: for a level that is not finished, or final weights that were not kept.
            RuntimeError: if a level that is trained again gives other numbers than the run's.
        """
        if weights not in ("rewound", "final"):
            raise ValueError(f"Expected weights to be 'rewound' or 'final'. Received: {weights!r}.")
        trial, level = integer("trial", trial, 0), integer("level", level, 0)
        search, seed = self.search, self.search.seed + trial
        task = task_of(seed, branch, level, search.share_dense)
        result = finished_level(self.directory, task, weights=weights == "final")
        values = result.weights
        if weights == "final" and values is None:
            if not retrain:
                raise ValueError(
                    f"Final weights were not kept for {task}. Pass retrain=True to train that level again."
                )
            values = _trained_again(search, self.directory, task, result)
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
        if values is None:
            own = search.search_of(branch)
            initial = own.selection.made_weights(seed) or network.draw_weights(seed, "initial")
            state = rewound_state(self.directory, task, own.rewinding)
            values = starting_weights(task, initial if state is None else state.weights, network.draw_weights)
        network.rewind(values, result.mask)
        return network.model


def _trained_again(search: TicketSearch, directory: RunDirectory, task: Task, result: LevelResult) -> Weights:
    """The final weights of a finished level, trained again; raises RuntimeError if its numbers differ."""
    own = search.search_of(task.branch)
    (level,) = loaded_levels(search, directory, [task], [task])
    (trained,) = own.trainer.train(own.network, [level.ticket], level.schedule)
    before, now = result.curves, trained.curves
    names = ("train_loss", "validation_loss", "test_loss")
    if trained.failure or any(not np.array_equal(before[name], getattr(now, name), equal_nan=True) for name in names):
        made, here = result.made.get("versions"), versions()
        raise RuntimeError(
            f"Expected {task} to train to the numbers of {directory.path}. Received: others. The same bits need the "
            f"same engine, threads, processor type and versions (then {made}, now {here})."
        )
    return dict(trained.weights)
