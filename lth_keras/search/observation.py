"""What is looked at beside training, for pictures: how weights and scores are distributed. Changes no number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lth_keras.analysis import Distribution, Distributions, distribution, rank_correlations
from lth_keras.arrays import Weights
from lth_keras.criteria import State, criterion, takes_data
from lth_keras.mask import Mask


@dataclass(frozen=True)
class Observation:
    """What to look at.

    Args:
        weights: whether at the weights that masks keep, before and after every training.
        criteria: names of those whose scores of the dense network as it is drawn to look at.
    """

    weights: bool = False
    criteria: tuple[str, ...] = ()

    @property
    def takes_data(self) -> bool:
        """Whether it looks at examples."""
        return any(takes_data(criterion(name)) for name in self.criteria)

    def of_level(self, mask: Mask, before: Weights, after: Weights, drawn: Callable[[], State] | None) -> Distributions:
        """What there is to see of a level.

        A weight at a time is in memory; of a criterion's scores, those of all weights.

        Args:
            mask: that it was trained under.
            before: the weights that it started from.
            after: those that it ended with.
            drawn: makes the state of the trial's dense network as it is drawn; None for levels that scores are not
                recorded with.

        Raises:
            ValueError: as a criterion does.
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
