"""The density of each level of a search, and the shots that lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lth_keras.layers import KINDS
from lth_keras.mask import Mask
from lth_keras.masking import candidates_of, decided
from lth_keras.pruning.densities import SCOPES, Density, check_shots, counts_at, shot_densities
from lth_keras.pruning.layouts import Layout
from lth_keras.pruning.n_of_m import NofM
from lth_keras.pruning.patterns import Pattern
from lth_keras.system import one_of


@dataclass(frozen=True)
class Plan:
    """The densities of a search's levels.

    Args:
        rates: share of the remaining weights pruned per level, one or by kind of layer; or
        densities: of levels 1, 2, ...
        scope: one of `densities.SCOPES`.
        before_training: whether masks are made before anything is trained, each for itself, from the weights that
            training starts from; otherwise each at the end of the level before.
        shots: to prune a level in.
        shot_schedule: one of `densities.SHOT_SCHEDULES`.
        min_per_layer: weights that every layer keeps at least.
        start: the mask of level 0, whose weights `rates` are shares of; None keeps all weights.
        pattern: of the masks, whose groups the shares are of; None ranks single weights.

    Raises:
        ValueError: for anything out of range, both rates and densities or neither, several rates in another scope than
            `layer`, densities that do not decrease in schedule `iterative`, or what a pattern does not go with.
    """

    rates: float | Mapping[str, float] | None
    densities: Sequence[float] | None
    scope: str
    before_training: bool
    shots: int
    shot_schedule: str
    min_per_layer: int
    start: Mask | None = None
    pattern: Pattern | None = None

    def __post_init__(self) -> None:
        one_of("scope", self.scope, SCOPES)
        check_shots(self.shots, self.shot_schedule)
        if self.pattern is not None:
            self._check_pattern(self.pattern)
        if (self.rates is None) == (self.densities is None):
            raise ValueError(f"Expected rates or densities. Received: rates={self.rates}, densities={self.densities}.")
        if self.start is not None and (self.densities is not None or self.scope not in ("layer", "global")):
            received = f"scope={self.scope!r}" if self.densities is None else f"densities={self.densities}"
            raise ValueError(
                f"Expected rates in layer or global scope with start_mask, whose weights they are shares of. "
                f"Received: {received}."
            )
        if self.densities is not None:
            self._check_densities(list(self.densities))
        elif self.scope != "layer" and not isinstance(self.rates, int | float):
            raise ValueError(f"Expected one rate for {self.scope} scope. Received: {self.rates!r}.")
        for rate in self.rates.values() if isinstance(self.rates, Mapping) else [self.rates or 0]:
            if not 0 <= rate < 1:
                raise ValueError(f"Expected rates in [0, 1), the share pruned per level. Received: {self.rates!r}.")

    def levels(self, asked: int | None) -> int:
        """The number of prunings: what is asked for, or as many as there are densities.

        Raises:
            ValueError: where it is not to be known, or a level has no density.
        """
        if asked is None:
            if self.densities is None:
                raise ValueError("Expected levels, the number of prunings, beside rates. Received: none.")
            asked = len(self.densities)
        if not self.goes_on_to(asked):
            raise ValueError(f"Expected a density for each of {asked} levels. Received: {self.densities}.")
        return asked

    def goes_on_to(self, level: int) -> bool:
        """Whether the level has a density; with rates every level has."""
        return self.densities is None or level <= len(self.densities)

    def density(self, level: int, kinds: Mapping[str, str]) -> Density:
        """The density of a level: of the network, or by weight key where rates depend on the kind of layer.

        Args:
            level: 0 is dense, but for `start`.
            kinds: weight key to the kind of its layer.

        Raises:
            ValueError: for a kind without a rate.
        """
        if self.densities is not None:
            return self.densities[level - 1] if level else 1.0
        if isinstance(self.rates, Mapping):
            left = {key: (1 - rate) ** level for key, rate in resolve_rates(self.rates, kinds).items()}
        else:
            assert self.rates is not None
            share = (1 - float(self.rates)) ** level
            if self.start is None or self.scope == "global":
                return share if self.start is None else share * self.start.density
            left = dict.fromkeys(kinds, share)
        if self.start is None:
            return left
        begun = self.start.densities()
        return {key: share * begun[key] for key, share in left.items()}

    def shots_to(self, level: int, mask: Mask, kinds: Mapping[str, str]) -> list[Density]:
        """The densities after each of the shots that lead to a level, as shares of the dense network.

        Args:
            level: above 0.
            mask: of the previous level, or of the dense network in schedule `before_training`.
            kinds: weight key to the kind of its layer.

        Raises:
            ValueError: for a kind without a rate.
        """
        start, end = self.density(0 if self.before_training else level - 1, kinds), self.density(level, kinds)
        if isinstance(start, Mapping) and isinstance(end, Mapping):
            each = {key: shot_densities(end[key], self.shots, self.shot_schedule, start[key]) for key in end}
            return [{key: densities[shot] for key, densities in each.items()} for shot in range(self.shots)]
        assert not isinstance(start, Mapping) and not isinstance(end, Mapping)
        found = shot_densities(end, self.shots, self.shot_schedule, start)
        if self.scope == "layer":
            return list(found)
        least = sum(min(count, self.min_per_layer) for count in mask.counts().values()) / mask.size
        return [max(density, least) for density in found]

    def keep(self, level: int, mask: Mask, kinds: Mapping[str, str]) -> int | dict[str, int]:
        """How many weights a level keeps, as argument of `keep_highest`; 0 for none. Args as `shots_to`."""
        keep = counts_at(self.shots_to(level, mask, kinds)[-1], mask, self.scope, self.min_per_layer)
        return keep if isinstance(keep, int) or any(keep.values()) else 0

    def check_pattern(self, levels: int, layout: Mapping[str, Layout], kinds: Mapping[str, str]) -> None:
        """Raises ValueError if a network with this layout cannot have the pattern at one of the levels; see `density`.

        Args:
            levels: number of prunings.
            layout: of each weight.
            kinds: weight key to the kind of its layer.
        """
        if self.pattern is None or not levels:
            return
        lowest = levels if self.densities is None else 1 + int(np.argmin(self.densities[:levels]))
        try:
            self.pattern.check(layout, self.density(lowest, kinds), self.scope, self.min_per_layer)
        except ValueError as error:
            raise ValueError(f"At level {lowest}: {error}") from error

    def _check_pattern(self, pattern: Pattern) -> None:
        if self.scope not in ("layer", "global") or self.start is not None:
            received = f"scope={self.scope!r}" if self.start is None else "start_mask"
            raise ValueError(
                f"Expected scope 'layer' or 'global', and no start_mask, with the pattern '{pattern}'. "
                f"Received: {received}."
            )
        if isinstance(pattern, NofM):
            exact = self.rates is None and list(self.densities or ()) == [pattern.density] and self.shots == 1
            if not exact:
                raise ValueError(
                    f"Expected densities=[{pattern.density}], or neither rates nor densities, and one shot with the "
                    f"pattern '{pattern}', which has no other density. Received: rates={self.rates}, "
                    f"densities={self.densities}, shots={self.shots}."
                )

    def _check_densities(self, densities: list[float]) -> None:
        if any(not 0 < density <= 1 for density in densities):
            raise ValueError(f"Expected densities in (0, 1], the shares to keep. Received: {densities}.")
        falling = all(before > after for before, after in zip(densities, densities[1:], strict=False))
        if not (falling or self.before_training):
            raise ValueError(
                f"Expected densities that fall from level to level, as each mask is made from the one before. "
                f"Received: {densities}."
            )


def resolve_rates(rates: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, float]:
    """The share of its surviving weights that each weight array loses per level.

    Args:
        rates: kind to rate, as Frankle & Carbin (2019, arXiv:1803.03635) give them in figure 2; also names and patterns
            of layers or weights, `first`, `last`, and `*` for all others. A name comes before a pattern or kind. Kinds
            that the model does not have are ignored.
        kinds: weight key to its kind, one of `KINDS`.

    Returns:
        Weight key to rate, in the order of `kinds`.

    Raises:
        ValueError: an entry that matches nothing and is no kind, or a weight that two entries match, or none.

    Example:
    >>> resolve_rates({"dense": 0.2, "output": 0.1}, {"a/kernel": "dense", "b/kernel": "output"})
    {'a/kernel': 0.2, 'b/kernel': 0.1}
    """
    found: dict[str, float] = {}
    for key, choice in decided(rates, candidates_of(kinds), "rates", optional=KINDS).items():
        if choice is None:
            raise ValueError(
                f"Expected a rate for every kind of layer in the model. Received: {dict(rates)}, "
                f"but {key!r} is of kind {kinds[key]!r}; add a rate for it (0 to leave it dense)."
            )
        found[key] = float(rates[str(choice)])
    return found
