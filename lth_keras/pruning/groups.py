"""Groups of weights that are kept or pruned together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lth_keras.arrays import Array
from lth_keras.compacting import Along
from lth_keras.mask import Mask
from lth_keras.pruning.densities import Density
from lth_keras.pruning.layouts import Layout

Numbers = Any
"""Integers of a weight's shape: the number of the group that each weight belongs to."""


class Groups(NamedTuple):
    """The groups of a model's weights.

    Attributes:
        numbers: weight key to the group of each weight; without the weights that a pattern leaves as they are.
        owners: weight key to whose groups these are: the weight's own, or the layer's if its weights share them.
        counts: owner to the number of its groups.
        sizes: owner to the number of weights in each.
    """

    numbers: dict[str, Numbers]
    owners: dict[str, str]
    counts: dict[str, int]
    sizes: dict[str, int]

    def sums(self, values: Callable[[str], Array]) -> dict[str, Array]:
        """Owner to the sum of the values of each group; `values` gives those of a weight's key."""
        found: dict[str, Array] = {}
        for key, owner in self.owners.items():
            weights = np.asarray(values(key), np.float64).ravel()
            found[owner] = found.get(owner, 0) + np.bincount(self.numbers[key].ravel(), weights=weights)
        return found

    def left(self, mask: Mask) -> Mask:
        """Which groups have any weight left in a mask."""
        return Mask({owner: count > 0 for owner, count in self.sums(mask.__getitem__).items()})

    def spread(self, chosen: Mask, mask: Mask) -> Mask:
        """The weights of `mask` that are in chosen groups, or in none."""
        kept = {key: chosen[owner][self.numbers[key]] & mask[key] for key, owner in self.owners.items()}
        return Mask({key: kept.get(key, mask[key]) for key in mask}, copy=False)

    def by_owner(self, density: Density) -> dict[str, float]:
        """Owner to density.

        Raises:
            ValueError: for different densities of weights that are pruned together.
        """
        return _by_owner(self.owners.items(), density)


class ChannelGroups(NamedTuple):
    """Channels with all weights that make or read them, as groups; a weight is in one for each axis of channels.

    Attributes:
        along: weight key to where it has entries for channels.
        counts: set of channels to their number.
        sizes: set to the number of weights of each channel, those along two axes twice.
    """

    along: dict[str, tuple[Along, ...]]
    counts: dict[str, int]
    sizes: dict[str, int]

    @classmethod
    def of(cls, layout: Mapping[str, Layout]) -> ChannelGroups:
        """The groups of weights with these layouts.

        Raises:
            ValueError: where there are none.
        """
        along = {key: of_key.channels for key, of_key in layout.items() if of_key.channels}
        if not along:
            raise ValueError(f"Expected weights that have channels to prune. Received: none of {', '.join(layout)}.")
        counts = {one.set: int(one.numbers.max()) + 1 for each in along.values() for one in each}
        sizes = dict.fromkeys(counts, 0)
        for key, each in along.items():
            shape = layout[key].shape
            for one in each:
                entries = int((one.numbers >= 0).sum()) // counts[one.set]
                sizes[one.set] += entries * math.prod(shape) // shape[one.axis]
        return cls(along, counts, sizes)

    def sums(self, values: Callable[[str], Array]) -> dict[str, Array]:
        """See `Groups.sums`."""
        found = {name: np.zeros(count) for name, count in self.counts.items()}
        for key, each in self.along.items():
            array = np.asarray(values(key), np.float64)
            for one in each:
                of_entries = array.sum(tuple(axis for axis in range(array.ndim) if axis != one.axis))
                chosen = one.numbers >= 0
                found[one.set] += np.bincount(one.numbers[chosen], of_entries[chosen], self.counts[one.set])
        return found

    def left(self, mask: Mask) -> Mask:
        """See `Groups.left`."""
        return Mask({name: count > 0 for name, count in self.sums(mask.__getitem__).items()})

    def spread(self, chosen: Mask, mask: Mask) -> Mask:
        """The weights of `mask` all of whose channels are chosen."""
        kept = dict(mask)
        for key, each in self.along.items():
            for one in each:
                bits = np.append(chosen[one.set], True)[one.numbers]  # the last for entries of other sets, -1
                kept[key] = kept[key] & np.expand_dims(bits, [a for a in range(kept[key].ndim) if a != one.axis])
        return Mask(kept, copy=False)

    def by_owner(self, density: Density) -> dict[str, float]:
        """Set to density, that of the weights that make its channels.

        Raises:
            ValueError: for different densities of weights that make the same channels.
        """
        made = [(key, one.set) for key, each in self.along.items() for one in each if one.makes]
        return _by_owner(made, density)


def _by_owner(owners: Iterable[tuple[str, str]], density: Density) -> dict[str, float]:
    """Owner to density, of pairs of a weight's key and its owner."""
    found: dict[str, float] = {}
    for key, owner in owners:
        one = density[key] if isinstance(density, Mapping) else density
        if found.setdefault(owner, one) != one:
            raise ValueError(
                f"Expected one density for all weights of {owner!r}, which are pruned together. "
                f"Received: {found[owner]:.4g} and {one:.4g}."
            )
    return found
