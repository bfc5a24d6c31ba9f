"""Sets of channels that can be pruned one by one, with the weights that go with each."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator
from operator import attrgetter
from typing import NamedTuple

import keras
import numpy as np

from lth_keras.compacting.compact import plain_of
from lth_keras.compacting.graph import Axis, Graph, Ids, Part
from lth_keras.compacting.trace import OUTPUT, traced
from lth_keras.layers import PRUNABLE
from lth_keras.masking import variables, walk


class Along(NamedTuple):
    """Where a weight has entries for the channels of a set.

    Attributes:
        axis: of the weight.
        set: name of the set.
        numbers: int64 `(entries,)`: the number, in the set, of each entry's channel, or -1 for another set's.
        makes: whether the weight makes these channels, as a filter its output; others read them.
    """

    axis: int
    set: str
    numbers: Ids
    makes: bool


def channel_sets(model: keras.Model, keys: Collection[str]) -> dict[str, list[Along]]:
    """The channels of a model that can be removed, and what goes with each.

    Channels that an addition, a product, normalisation or a depthwise convolution ties together are one: all weights
    that make or read it go with it, and nothing then reads its biases and statistics. This is the dependency graph of
    Fang et al. (2023), arXiv:2301.12900. Channels with entries in the same axes of the same weights are one set.

    Not among them are inputs and outputs of the model, other channels that `compact` keeps whatever the weights are,
    and those that a layer without masks makes or reads.

    Args:
        model: a Sequential or Functional model with masked layers.
        keys: of the weights that have masks.

    Returns:
        Key of a weight to its entries; without weights that have none. A set is named by the layers that make its
        channels.

    Raises:
        TypeError: as `compact`.
        ValueError: as `compact`.

    Warns:
        UserWarning: naming layers whose channels stay, and why; not those of the model's outputs.
    """
    plain = plain_of(model)
    graph = traced(plain)
    groups = graph.groups()
    places = {id(layer): place for place, layer in walk(plain)}
    key_of = {id(variable): key for key, variable in variables(plain).items() if key in keys}
    reasons = np.full(groups.max(initial=-1) + 1, "", object)
    for ids, reason in reversed([*_staying(graph, key_of, places)]):  # the first reason for a channel is shown
        reasons[groups[ids]] = reason
    _warn_of(graph, reasons[groups], places)
    entries = [
        (key, axis, np.where(reasons[found] != "", -1, found), part, of.of == part.makes)
        for part, key, axis, of in _axes(graph, key_of)
        for found in (groups[of.spread(part.channels[of.of])],)
    ]
    occurs: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for key, axis, found, _, _ in entries:
        for group in np.unique(found[found >= 0]):
            occurs[int(group)].append((key, axis))
    sets: defaultdict[_Places, list[int]] = defaultdict(list)
    for group, axes in occurs.items():
        sets[tuple(axes)].append(group)
    names = _names(sets, entries, places)
    result: defaultdict[str, list[Along]] = defaultdict(list)
    for where, members in sets.items():
        number = np.full(len(reasons) + 1, -1)
        number[members] = np.arange(len(members))
        for key, axis, found, _, makes in entries:
            if (key, axis) in where:
                result[key].append(Along(axis, names[where], number[found], makes))
    return dict(result)


_Entries = tuple[str, int, Ids, Part, bool]
_Places = tuple[tuple[str, int], ...]


def _staying(graph: Graph, key_of: dict[int, str], places: dict[int, str]) -> Iterator[tuple[Ids, str]]:
    """Channels that stay whatever the weights are, or since a layer without masks makes or reads them, and why."""
    yield from graph.pins
    for part in graph.parts.values():
        if type(part.layer) in PRUNABLE and not any(key for _, key in _weights(part, key_of)):
            for ids in part.channels.values():
                yield ids, f"made or read by {places[id(part.layer)]!r}, which has no masks"


def _warn_of(graph: Graph, reasons: np.ndarray, places: dict[int, str]) -> None:
    """Warns of layers whose channels stay, by the reason of each channel; empty if it can be pruned."""
    shown = []
    for part in graph.parts.values():
        own = reasons[part.channels[part.makes]] if part.makes else reasons[:0]
        others = [reason for reason in own if reason and reason != OUTPUT]
        if others:
            shown.append(f"{len(others):,} of {places[id(part.layer)]} ({others[0]})")
    if shown:
        more = f" and {len(shown) - 5} more layers" if len(shown) > 5 else ""
        warnings.warn(
            f"Channels that cannot be pruned stay: {', '.join(shown[:5])}{more}. Others are pruned to the density.",
            stacklevel=2,
        )


def _axes(graph: Graph, key_of: dict[int, str]) -> Iterator[tuple[Part, str, int, Axis]]:
    """The axes of channels of all weights that have masks."""
    for part in graph.parts.values():
        for name, key in _weights(part, key_of):
            for axis, of in enumerate(part.variables[name]):
                if key is not None and of is not None:
                    yield part, key, axis, of


def _weights(part: Part, key_of: dict[int, str]) -> Iterator[tuple[str, str | None]]:
    for name in part.variables:
        yield name, key_of.get(id(attrgetter(name)(part.layer)))


def _names(sets: dict[_Places, list[int]], entries: list[_Entries], places: dict[int, str]) -> dict[_Places, str]:
    """The layers that make the channels of each set; with a number where sets have the same."""
    names: dict[_Places, str] = {}
    for occurs in sets:
        makers = [places[id(part.layer)] for key, axis, _, part, makes in entries if makes and (key, axis) in occurs]
        first, others = [*dict.fromkeys(makers)][:3], [*dict.fromkeys(makers)][3:]
        name = ", ".join(first) + (f" and {len(others)} more" if others else "")
        taken = sum(known.split(" #")[0] == name for known in names.values())
        names[occurs] = f"{name} #{taken + 1}" if taken else name
    return names
