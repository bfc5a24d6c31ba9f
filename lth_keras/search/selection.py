"""Selects the weights that a search's levels keep, and makes its trials' initial weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays, Weights
from lth_keras.criteria import Criterion, NothingPassesError, State, takes_data
from lth_keras.data import Arrays
from lth_keras.mask import Mask
from lth_keras.masking import is_connected, lora_updates
from lth_keras.pruning import Plan, prune_in_shots
from lth_keras.training import Network


@dataclass(frozen=True)
class Selection:
    """Selects the weights to keep by a criterion.

    Args:
        plan: densities and shots.
        score: the criterion.
        name: the criterion's name in messages.
        initialiser: makes initial weights from the drawn ones; None keeps the drawn ones.
        trains_cut: whether to continue when a mask disconnects inputs from outputs; further masks are then random.
        network: returns the network, which is built at the first call.
        sample: seed -> the examples and labels for criteria that need data.
    """

    plan: Plan
    score: Criterion
    name: str
    initialiser: Callable[[State], Weights] | None
    trains_cut: bool
    network: Callable[[], Network]
    sample: Callable[[int], Arrays]

    @property
    def takes_data(self) -> bool:
        """Whether a criterion needs examples."""
        return any(takes_data(score) for score in (self.score, *getattr(self.initialiser, "parts", ())))

    def dense(self) -> Mask:
        """The mask of the dense network."""
        return Mask.ones(self.network().mask.shapes)

    def initial_weights(self, seed: int) -> Weights:
        """The initial weights of a trial. Drawn ones are not stored but drawn again at each access."""
        state = self.drawn_state(seed)
        return state.final if self.initialiser is None else dict(self.initialiser(state))

    def drawn_state(self, seed: int) -> State:
        """The state of a trial's dense network with newly drawn weights."""
        drawn = self.network().draw_weights(seed, "initial")
        return self._state(seed, seeds.stream(seed, "initialise"), drawn, drawn, self.dense(), "initialise")

    def pruned(self, seed: int, mask: Mask, level: int, initial: Weights, final: Weights) -> Mask:
        """The mask of a level.

        Args:
            seed: seed of the trial.
            mask: the mask to prune: the level before's, or the dense network's.
            level: the level, above 0.
            initial: the weights before any training.
            final: the weights to score.

        Raises:
            ValueError: see the criterion and `pruning.keep_highest`.
        """
        kinds = self.network().kinds
        if not self.plan.keep(level, mask, kinds):  # possible with min_per_layer=0; training the level raises
            return Mask.zeros(mask.shapes)
        scored = final if self.plan.shots == 1 else dict(final)  # reads lazy weights once, not at each shot
        return prune_in_shots(
            mask,
            self.plan.shots_to(level, mask, kinds),
            partial(self._scores, seed, seeds.stream(seed, "criterion", level), initial, scored),
            scope=self.plan.scope,
            ties=seeds.stream(seed, "ties", level),
            min_per_layer=self.plan.min_per_layer,
            criterion=self.name,
        )

    def _scores(self, seed: int, draws: np.random.Generator, initial: Weights, final: Weights, mask: Mask) -> Weights:
        """The scores of the unpruned weights; all equal if the mask disconnects the network and that is allowed."""
        same = LazyArrays(mask.shapes, lambda key: np.zeros(mask.shapes[key], np.float32))
        if self.trains_cut and not is_connected(self.network().model, mask):
            return same
        try:
            return self.score(self._state(seed, draws, initial, final, mask, self.name))
        except NothingPassesError:
            if not self.trains_cut:
                raise
            return same

    def _state(
        self, seed: int, draws: np.random.Generator, initial: Weights, final: Weights, mask: Mask, name: str
    ) -> State:
        network = self.network()
        derivatives = network.derivatives.on(partial(self.sample, seed))
        return State(final, mask, draws, initial, derivatives, name, lora_updates(network.model))
