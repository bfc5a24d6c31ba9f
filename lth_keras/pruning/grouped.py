"""Whole groups of weights: units, filters, embedding columns, attention heads and blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import Mask
from lth_keras.pruning.densities import Density
from lth_keras.pruning.groups import ChannelGroups, Groups, Numbers
from lth_keras.pruning.layouts import Layout
from lth_keras.pruning.ranking import keep_highest


@dataclass(frozen=True)
class Grouped:
    """Whole groups of weights are kept or pruned: units, heads, blocks or channels.

    A group's score is the sum of its weights' scores; with scores |w| that is the L1 norm, as Li et al. (2017),
    arXiv:1608.08710, rank filters.

    Attributes:
        kind: `units` (units of dense layers, filters of convolutions, columns of embedding tables), `heads` of
            attention, `blocks`, or `channels` with all weights that make or read them.
        block: sizes of blocks along the two last axes.
        multiple_of: to what the number of groups that a weight keeps is rounded.
    """

    kind: str
    block: tuple[int, int] = (1, 1)
    multiple_of: int = 1

    def __str__(self) -> str:
        return "{}x{}".format(*self.block) if self.kind == "blocks" else self.kind

    def check(self, layout: Mapping[str, Layout], density: Density, scope: str, min_per_layer: int) -> None:
        """Raises ValueError as `mask` for a dense network, whatever the scores."""
        groups = self.groups(layout)
        sums = {owner: np.zeros(count) for owner, count in groups.counts.items()}
        left = Mask.ones({owner: (count,) for owner, count in groups.counts.items()})
        self._counts(sums, left, groups, density, scope, max(1, min_per_layer), np.random.default_rng(0))

    def mask(
        self,
        scores: Mapping[str, Array],
        mask: Mask,
        layout: Mapping[str, Layout],
        ties: np.random.Generator,
        density: Density,
        scope: str,
        min_per_layer: int,
    ) -> Mask:
        """The mask of the groups with the highest scores, a subset of `mask`; arguments as `pruned_by_pattern`.

        Raises:
            ValueError: for blocks that do not divide a weight, weights that have no groups, or a density that leaves a
                layer less than `min_per_layer` groups, and at least one.
        """
        groups = self.groups({key: layout[key] for key in mask})
        sums = groups.sums(lambda key: np.where(mask[key], scores[key], 0))
        left = groups.left(mask)
        counts = self._counts(sums, left, groups, density, scope, max(1, min_per_layer), ties)
        return groups.spread(keep_highest(sums, left, counts, generator=ties), mask)

    def like(
        self,
        scores: Mapping[str, Array],
        mask: Mask,
        other: Mask,
        layout: Mapping[str, Layout],
        ties: np.random.Generator,
    ) -> Mask:
        """A subset of `mask` that keeps as many groups of each layer as `other`, those with the highest scores."""
        groups = self.groups({key: layout[key] for key in mask})
        sums = groups.sums(lambda key: np.where(mask[key], scores[key], 0))
        counts = groups.left(other).counts()
        return groups.spread(keep_highest(sums, groups.left(mask), counts, generator=ties, min_per_layer=0), mask)

    def groups(self, layout: Mapping[str, Layout]) -> Groups | ChannelGroups:
        """The groups of weights with these layouts.

        Raises:
            ValueError: see `mask`.
        """
        if self.kind == "channels":
            return ChannelGroups.of(layout)
        found = {key: self._numbers(key, of_key) for key, of_key in layout.items()}
        numbers = {key: of_key for key, of_key in found.items() if of_key is not None}
        if not numbers:
            raise ValueError(f"Expected weights that have {self.kind} to prune. Received: none of {', '.join(layout)}.")
        owners = {key: layout[key].layer if self.kind == "heads" else key for key in numbers}
        counts: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for key, owner in owners.items():
            counts[owner] = int(numbers[key].max()) + 1
            sizes[owner] = sizes.get(owner, 0) + numbers[key].size // counts[owner]
        return Groups(numbers, owners, counts, sizes)

    def _counts(
        self,
        sums: Mapping[str, Array],
        left: Mask,
        groups: Groups | ChannelGroups,
        density: Density,
        scope: str,
        least: int,
        ties: np.random.Generator,
    ) -> dict[str, int]:
        """How many groups each owner keeps."""
        available, densities = left.counts(), groups.by_owner(density)
        if scope == "layer":
            counts = {owner: round(densities[owner] * count) for owner, count in groups.counts.items()}
        else:
            assert not isinstance(density, Mapping)
            counts = _global_counts(sums, left, groups, density, least, ties)
        short = [owner for owner, count in counts.items() if count < min(least, available[owner])]
        if short:
            named = ", ".join(f"{counts[owner]} of {groups.counts[owner]} in {owner}" for owner in short)
            raise ValueError(
                f"Expected a density that leaves each layer at least {least} of its {self.kind}. "
                f"Received: density={densities[short[0]]:.6g}, which leaves {named}. Use a higher density."
            )
        return {
            owner: min(available[owner], self._rounded(count, groups.counts[owner])) for owner, count in counts.items()
        }

    def _rounded(self, count: int, most: int) -> int:
        nearest = self.multiple_of * max(1, round(count / self.multiple_of)) if self.multiple_of > 1 else count
        return min(most, nearest)

    def _numbers(self, key: str, layout: Layout) -> Numbers | None:
        """The group of each weight; None where the pattern leaves the weight as it is."""
        shape, axes = layout.shape, len(layout.shape)
        if self.kind == "blocks":
            return self._blocks(key, shape)
        if self.kind == "heads":
            return None if layout.heads is None else _along((layout.heads % axes,), shape)
        if layout.is_output:
            return None
        if not layout.units:
            raise ValueError(
                f"Expected layers whose outputs can be pruned one by one, for the pattern 'units'. Received: {key}, of "
                "a recurrent or attention layer. Leave it out with exclude=[...]; 'heads' prunes those of "
                "MultiHeadAttention."
            )
        return _along(tuple(axis % axes for axis in layout.outputs), shape)

    def _blocks(self, key: str, shape: tuple[int, ...]) -> Numbers:
        rows, columns = self.block
        if len(shape) < 2 or shape[-2] % rows or shape[-1] % columns:
            raise ValueError(
                f"Expected weights whose last two axes are multiples of {rows} x {columns}. Received: {key} of shape "
                f"{shape}. Leave such layers out: exclude=[...]."
            )
        blocks = (*shape[:-2], shape[-2] // rows, shape[-1] // columns)
        numbers = np.arange(math.prod(blocks)).reshape(blocks)
        return numbers.repeat(rows, axis=-2).repeat(columns, axis=-1)


def _global_counts(
    sums: Mapping[str, Array],
    left: Mask,
    groups: Groups | ChannelGroups,
    density: float,
    least: int,
    ties: np.random.Generator,
) -> dict[str, int]:
    """How many groups each weight keeps if all compete by their mean score, within the budget of weights.

    The `least` best groups of each weight come first, so that they are within the budget, too.
    """
    ranked = []  # whether a group is among its weight's best, its mean, a tie-breaker, the weight, its size
    sizes = groups.sizes
    for key in sums:
        means = np.sort((sums[key] / sizes[key])[left[key]])[::-1]
        tied = ties.random(means.size)
        ranked += [(i < least, mean, tied[i], key, sizes[key]) for i, mean in enumerate(means)]
    ranked.sort(key=lambda group: group[:3], reverse=True)
    budget = round(density * sum(sizes[key] * groups.counts[key] for key in sums))
    counts = dict.fromkeys(sums, 0)
    for *_, key, size in ranked:
        budget -= size
        if budget < 0:
            break
        counts[key] += 1
    return counts


def _along(axes: tuple[int, ...], shape: tuple[int, ...]) -> Numbers:
    """Numbers of groups that share their position along some axes."""
    sizes = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return np.broadcast_to(np.arange(math.prod(sizes)).reshape(sizes), shape)
