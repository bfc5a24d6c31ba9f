"""One criterion on the scores of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lth_keras.criteria.as_weights import check_scale, scores_as_weights
from lth_keras.criteria.state import Array, Criterion, State, name_of


class Stacked:
    """The criterion `second` of a network that has the scores of `first` in place of its weights.

    The pruned network keeps its weights; the composite only ranks them. In several shots both criteria are computed
    for each, under the current mask.

    Source: stacked criteria of Lutz & Manai (2022), "Hitting the Jackpot". That scores have the weight's sign and are
    scaled by layer, as in `scores_as_weights`, is this library's choice. With `scale="global"` they have one common
    factor, and `Stacked(a, magnitude)` ranks as |a| does.

    Args:
        first: its scores take the place of the weights.
        second: it scores those.
        scale: `layer` or `global`, see `scores_as_weights`.

    Raises:
        ValueError: for an unknown scale.

    Example:
        >>> scores = Stacked(snip, synflow)(state)  # by name: criterion("stacked(snip,synflow)")
    """

    def __init__(self, first: Criterion, second: Criterion, scale: str = "layer") -> None:
        self.parts, self.scale = (first, second), check_scale(scale)
        arguments = [name_of(first), name_of(second), *([scale] if scale != "layer" else [])]
        self.__name__ = self.__qualname__ = f"stacked({','.join(arguments)})"

    def __call__(self, state: State) -> Mapping[str, Array]:
        """The scores, by weight key."""
        first, second = self.parts
        return second(replace(state, final=scores_as_weights(first, state, self.scale)))
