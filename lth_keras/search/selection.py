"""Selects the weights that a search's levels keep, and makes its trials' initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays, Weights
from lth_keras.criteria import State, criterion, name_of, takes_data
from lth_keras.mask import Mask
from lth_keras.masking import is_connected, lora_updates
from lth_keras.pruning import Layout, NothingPassesError, keep_as_many, layouts_for, prune_in_shots, pruned_by_pattern
from lth_keras.search.branches import BRANCHES, Keep, is_control, masks_of
from lth_keras.search.start import initialiser_of
from lth_keras.search.tasks import Task, task_of
from lth_keras.search.tickets import finished_level
from lth_keras.storage import RunDirectory

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


class Selection:
    """Selects the weights to keep by a search's criterion.

    Args:
        search: the search; its network is built when it is first needed.

    Attributes:
        initialiser: makes initial weights from the drawn ones; None keeps the drawn ones.
    """

    def __init__(self, search: TicketSearch) -> None:
        self._search, self._plan = search, search.plan
        self._criterion = criterion(search.pruning.criterion)
        self._name = name_of(search.pruning.criterion)
        self.initialiser = initialiser_of(search.start)
        self._initial: dict[int, Weights] = {}

    @property
    def takes_data(self) -> bool:
        """Whether a criterion needs examples."""
        return any(takes_data(score) for score in (self._criterion, *getattr(self.initialiser, "parts", ())))

    def initial_weights(self, seed: int) -> Weights:
        """The initial weights of a trial, kept for one trial at a time; drawn ones are drawn again at each access."""
        if self.takes_data or self._search.observe.takes_data:
            self._search.trial_data.sample(seed)  # raises for missing classes before anything is trained
        if seed not in self._initial:
            state = self.drawn_state(seed)
            self._initial = {seed: state.final if self.initialiser is None else dict(self.initialiser(state))}
        return self._initial[seed]

    def made_weights(self, seed: int) -> Weights | None:
        """The initial weights of a trial if `start` is a function that makes them, otherwise None."""
        if self.initialiser is None:
            return None
        self._search.trial_data.loaded(seed)
        return self.initial_weights(seed)

    def drawn_state(self, seed: int) -> State:
        """The state of a trial's dense network with newly drawn weights."""
        network = self._search.network
        drawn, dense = network.draw_weights(seed, "initial"), self._search.first_mask
        return self._state(seed, seeds.stream(seed, "initialise"), drawn, drawn, dense, "initialise")

    def starting_mask(self, directory: RunDirectory, task: Task, initial: Weights) -> Mask:
        """The mask of a task above level 0.

        Args:
            directory: has the levels that the task depends on.
            task: the task.
            initial: the trial's initial weights.

        Raises:
            ValueError: if a level that it depends on is not finished; see also the criterion and
                `pruning.keep_highest`.
        """
        if self._plan.before_training:
            network = self._search.network
            drawn = self._search.pruning.masks_of_drawn
            weights = network.draw_weights(task.seed, "initial") if drawn else initial
            dense = self._search.first_mask
            mask = self._pruned(task.seed, dense, task.level, weights, weights)
            if is_control(task.branch) and mask.kept:
                return BRANCHES[task.branch].mask(dense, mask, task.seed, task.level, self._keep)
            return mask
        if not is_control(task.branch):
            return _made_before(directory, task)
        for level in range(task.level - 1, 0, -1):  # finds the latest trained level: controls may skip levels
            own = directory.read(task.seed, task.branch, level)
            if own is not None:
                return self._control_mask(directory, task, level + 1, own.next_mask)
        return self._control_mask(directory, task, 0, self._search.first_mask)

    def next_mask(self, directory: RunDirectory, task: Task, mask: Mask, initial: Weights, final: Weights) -> Mask:
        """The mask of the branch's next level (after level 0: of the winning ticket's); `mask` if there is none.

        Args:
            directory: has the levels that the task depends on.
            task: the trained task.
            mask: its mask.
            initial: the trial's initial weights.
            final: the weights to score.

        Raises:
            ValueError: see `starting_mask`.
        """
        level = task.level + 1
        if self._plan.before_training or not self._plan.goes_on_to(level):
            return mask
        if is_control(task.branch):
            return self._control_mask(directory, task._replace(level=level), task.level, mask)
        return self._pruned(task.seed, mask, level, initial, final)

    def _pruned(self, seed: int, mask: Mask, level: int, initial: Weights, final: Weights) -> Mask:
        """The mask of a level, from the level before's or the dense network's, by the scores of `final`."""
        plan, kinds = self._plan, self._search.network.kinds
        if plan.pattern is None and not plan.keep(level, mask, kinds):
            return Mask.zeros(mask.shapes)  # possible with min_per_layer=0; training the level raises
        scored = final if plan.shots == 1 else dict(final)  # reads lazy weights once, not at each shot
        shots = plan.shots_to(level, mask, kinds)
        score = partial(self._scores, seed, seeds.stream(seed, "criterion", level), initial, scored)
        shared: dict[str, Any] = {
            "scope": plan.scope,
            "ties": seeds.stream(seed, "ties", level),
            "min_per_layer": plan.min_per_layer,
        }
        if plan.pattern is not None:
            return pruned_by_pattern(plan.pattern, mask, shots, score, self._layout, **shared)
        return prune_in_shots(mask, {tuple(mask): shots}, score, criterion=self._name, **shared)

    @cached_property
    def _layout(self) -> Mapping[str, Layout]:
        assert self._plan.pattern is not None
        return layouts_for(self._plan.pattern, self._search.network.model)

    @property
    def _keep(self) -> Keep:
        pattern = self._plan.pattern
        return keep_as_many if pattern is None else partial(keep_as_many, pattern=pattern, layout=self._layout)

    def _control_mask(self, directory: RunDirectory, task: Task, level: int, mask: Mask) -> Mask:
        """The mask of a control's task, from its mask at an earlier level."""
        for n in range(level + 1, task.level + 1):
            winning = _made_before(directory, task._replace(level=n))
            mask = BRANCHES[task.branch].mask(mask, winning, task.seed, n, self._keep) if winning.kept else winning
        return mask

    def _scores(self, seed: int, draws: np.random.Generator, initial: Weights, final: Weights, mask: Mask) -> Weights:
        """The scores of the unpruned weights; all equal if the mask disconnects the network and that is allowed."""
        same = LazyArrays(mask.shapes, lambda key: np.zeros(mask.shapes[key], np.float32))
        trains_cut = self._search.pruning.cut_through == "train"
        if trains_cut and not is_connected(self._search.network.model, mask):
            return same
        try:
            return self._criterion(self._state(seed, draws, initial, final, mask, self._name))
        except NothingPassesError:
            if not trains_cut:
                raise
            return same

    def _state(
        self, seed: int, draws: np.random.Generator, initial: Weights, final: Weights, mask: Mask, name: str
    ) -> State:
        network = self._search.network
        derivatives = network.derivatives.on(partial(self._search.trial_data.sample, seed))
        return State(final, mask, draws, initial, derivatives, name, lora_updates(network.model))


def _made_before(directory: RunDirectory, task: Task) -> Mask:
    """The mask that the level before has made: a control's winning ticket's, otherwise the task's own."""
    return finished_level(directory, task_of(task.seed, masks_of(task.branch), task.level - 1)).next_mask
