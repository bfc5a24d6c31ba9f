"""Which weights a search's levels keep, and what its trials start from: by a criterion, in the shots of a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays, Weights
from lth_keras.criteria import Criterion, State, takes_data
from lth_keras.criteria.model_derivatives import NothingPassesError
from lth_keras.data.splits import Arrays
from lth_keras.mask import Mask
from lth_keras.masking import is_connected, lora_updates
from lth_keras.pruning.plan import Plan
from lth_keras.pruning.shots import prune_in_shots
from lth_keras.training.network import Network


@dataclass(frozen=True)
class Selection:
    """Selects the weights to keep.

    Args:
        plan: how many, and in how many shots.
        score: the criterion.
        name: what it is called in messages.
        initialiser: what makes the weights that trials start from of those that are drawn; None for as they are.
        trains_cut: whether a network that is cut through is gone on with: its further masks are random.
        network: the network whose weights they are, built when it is asked for.
        sample: seed -> the examples and labels that a data-aware criterion looks at.
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
        """Whether it looks at examples."""
        return any(takes_data(score) for score in (self.score, *getattr(self.initialiser, "parts", ())))

    def dense(self) -> Mask:
        """The mask of the dense network."""
        return Mask.ones(self.network().mask.shapes)

    def initial_weights(self, seed: int) -> Weights:
        """The weights that a trial starts from; made anew at each access where they are those that are drawn."""
        state = self.drawn_state(seed)
        return state.final if self.initialiser is None else dict(self.initialiser(state))

    def drawn_state(self, seed: int) -> State:
        """A trial's dense network as it is drawn, before anything else."""
        drawn = self.network().draw_weights(seed, "initial")
        return self._state(seed, seeds.stream(seed, "initialise"), drawn, drawn, self.dense(), "initialise")

    def pruned(self, seed: int, mask: Mask, level: int, initial: Weights, final: Weights) -> Mask:
        """The mask of a level.

        Args:
            seed: of the trial.
            mask: the mask to prune: of the level before, or the dense network's.
            level: above 0.
            initial: the weights before any training.
            final: the weights to score.

        Raises:
            ValueError: as the criterion, or `pruning.keep_highest`.
        """
        kinds = self.network().kinds
        if not self.plan.keep(level, mask, kinds):  # where min_per_layer is 0: it is this level that cannot be trained
            return Mask.zeros(mask.shapes)
        scored = final if self.plan.shots == 1 else dict(final)  # once, not anew at each shot
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
        """The scores of what a mask leaves; all the same where nothing passes through it, and that is gone on with."""
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
