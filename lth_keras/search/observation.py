"""Records distributions of weights and scores for figures. They do not affect any result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lth_keras.analysis import Distribution, Distributions, distribution, rank_correlations
from lth_keras.arrays import Weights
from lth_keras.criteria import State, criterion, takes_data
from lth_keras.mask import Mask


@dataclass(frozen=True)
class Observation:
    """Which distributions to record.

    Args:
        weights: whether to record the unpruned weights before and after every training.
        criteria: names of criteria whose scores of the initial dense network to record.
    """

    weights: bool = False
    criteria: tuple[str, ...] = ()

    @property
    def takes_data(self) -> bool:
        """Whether a criterion needs examples."""
        return any(takes_data(criterion(name)) for name in self.criteria)

    def of_level(self, mask: Mask, before: Weights, after: Weights, drawn: Callable[[], State] | None) -> Distributions:
        """The distributions of a level.

        Memory holds one weight array at a time, and one criterion's scores of all weights.

        Args:
            mask: the level's mask.
            before: its initial weights.
            after: its final weights.
            drawn: makes the state of the trial's initial dense network; None for levels without scores.

        Raises:
            ValueError: see the criteria.
        """
        found = Distributions()
        if self.weights:
            both = {"initial": before, "final": after}
            found = found._replace(weights={name: _of_kept(mask, values) for name, values in both.items()})
        if self.criteria and drawn is not None:
            scores = {name: criterion(name)(replace(drawn(), criterion=name)) for name in self.criteria}
            found = found._replace(
                scores={name: _of_kept(mask, values) for name, values in scores.items()},
                correlations=rank_correlations([{key: values[key] for key in mask} for values in scores.values()]),
            )
        return found


def _of_kept(mask: Mask, values: Weights) -> dict[str, Distribution]:
    return {key: distribution(values[key][mask[key]]) for key in mask}
