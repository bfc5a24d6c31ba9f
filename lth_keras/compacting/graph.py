"""What is known of the channels of a model's tensors: which belong together, which are constant, who reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Ids = np.ndarray
"""int64 `(channels,)`: the number of each channel. Channels with one number are removed together."""


class Channels(NamedTuple):
    """The channels of a tensor: the entries of its last axis.

    Attributes:
        ids: the number of each.
        constant: float64, the value of each that has the same value for every input and at every position, else NaN.
    """

    ids: Ids
    constant: np.ndarray

    @property
    def size(self) -> int:
        """The number of channels."""
        return len(self.ids)


class Axis(NamedTuple):
    """An axis of a variable that has an entry for each channel of a list, or several.

    Attributes:
        of: name of the list of channels in `Part.channels`.
        before: how many times the whole list follows itself, as the gates of a recurrent kernel.
        each: how many entries in a row every channel has, as the outputs of a depthwise convolution.
    """

    of: str
    before: int = 1
    each: int = 1

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The value of each entry's channel."""
        return np.tile(np.repeat(values, self.each), self.before)

    def entries(self, kept: np.ndarray) -> np.ndarray:
        """Indices of the entries of the channels that are kept, a boolean array."""
        return np.flatnonzero(self.spread(kept))


@dataclass
class Part:
    """A layer whose variables have axes of channels.

    Attributes:
        layer: the Keras layer.
        channels: the numbers of lists of channels, by name: of its inputs, units, filters or heads.
        variables: the attribute that holds each such variable (dots lead to layers inside), or None in place of a
            bias, to its axes, None for an axis that stays.
        settings: the argument of the layer that says how many entries a list has, and the list.
        makes: the list that the layer itself decides, if it does.
        fold: the variable to which constant channels of the list `in` are added, and what they add to it:
            `(inputs,)` -> an array of its shape.
        called: name of a list to the channels of each call.
    """

    layer: Any
    channels: dict[str, Ids]
    variables: Mapping[str, tuple[Axis | None, ...]]
    settings: Mapping[str, str]
    makes: str | None = None
    fold: tuple[str, Callable[[np.ndarray], np.ndarray]] | None = None
    called: dict[str, list[Channels]] = field(default_factory=dict)

    def constant(self, name: str) -> np.ndarray:
        """The value of each channel of a list that is the same in all calls, else NaN."""
        calls = [each.constant for each in self.called.get(name, ())]
        if not calls:
            return np.full(len(self.channels[name]), np.nan)
        same = np.logical_and.reduce([calls[0] == other for other in calls])
        return np.where(same, calls[0], np.nan)


class Read(NamedTuple):
    """A kernel through which channels act on others.

    Attributes:
        part: of the kernel.
        source: name of the list of channels that it reads.
        target: name of the list of channels that it acts on.
        nonzero: bool `(source, target)`: whether the first acts on the second.
        folds: constants -> which of them need not be read, as they can be added to a bias or are zero.
        why: why others are read, in words.
    """

    part: Part
    source: str
    target: str
    nonzero: np.ndarray
    folds: Callable[[np.ndarray], np.ndarray]
    why: str


class Graph:
    """The channels of a model, filled by the rules of its layers in the order of a forward pass.

    Attributes:
        parts: by the layer's `id`.
        reads: all of them.
        pins: channels that stay, and why.
    """

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.reads: list[Read] = []
        self.pins: list[tuple[Ids, str]] = []
        self._joined: list[tuple[Ids, Ids]] = []
        self._count = 0

    def new(self, size: int) -> Ids:
        """Numbers for new channels."""
        self._count += size
        return np.arange(self._count - size, self._count)

    def call(self, part: Part, **lists: Channels) -> None:
        """Notes a call of a layer: its variables have the same channels in all calls."""
        for name, each in lists.items():
            self.join(part.channels[name], each.ids)
            part.called.setdefault(name, []).append(each)

    def join(self, one: Ids, other: Ids) -> None:
        """Notes that channels are removed together, each with that in the same place."""
        if one is not other:
            self._joined.append((one, other))

    def pin(self, ids: Ids, reason: str) -> None:
        """Notes that channels stay."""
        self.pins.append((ids, reason))

    def groups(self) -> np.ndarray:
        """The group of each channel, int `(channels,)`: channels that are removed together have the same."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate([np.stack(pair, 1) for pair in self._joined] or [np.zeros((0, 2), np.int64)])
        ones = np.ones(len(pairs), bool)
        edges = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(self._count, self._count))
        return connected_components(edges, directed=False)[1]


def varying(graph: Graph, size: int) -> Channels:
    """New channels of which nothing is known."""
    return Channels(graph.new(size), np.full(size, np.nan))


def zeros_fold(constant: np.ndarray) -> np.ndarray:
    """Which constants need not be read by a layer that cannot add them to a bias."""
    return constant == 0


def all_fold(constant: np.ndarray) -> np.ndarray:
    """Which constants need not be read by a layer that adds them to its bias."""
    return ~np.isnan(constant)
