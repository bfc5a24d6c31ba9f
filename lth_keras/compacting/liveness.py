"""Which channels a model needs: those that its outputs depend on, and that are no constants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lth_keras.compacting.graph import Graph, Ids, Part


class Needed(NamedTuple):
    """The result.

    Attributes:
        groups: the group of each channel.
        live: bool, whether each group stays.
        reasons: why each group stays that does, in words.
    """

    groups: np.ndarray
    live: np.ndarray
    reasons: np.ndarray

    def of(self, ids: Ids) -> np.ndarray:
        """Which of these channels stay."""
        return np.asarray(self.live[self.groups[ids]])

    def keep(self, ids: Ids, reason: str) -> bool:
        """Marks channels as staying; whether any of them is new."""
        new = np.unique(self.groups[ids[~self.of(ids)]])
        self.live[new], self.reasons[new] = True, reason
        return len(new) > 0


def needed(graph: Graph, multiple_of: int = 1) -> Needed:
    """Finds the channels that stay.

    A channel stays if it is pinned, or if a channel that stays reads it, through a weight that is not zero, and cannot
    add it to its bias as a constant. A unit that only itself reads does not stay. A layer keeps at least one channel.

    Args:
        graph: of the model.
        multiple_of: layers keep a multiple of this number of channels, or all.
    """
    groups = graph.groups()
    count = groups.max(initial=-1) + 1
    found = Needed(groups, np.zeros(count, bool), np.full(count, "", object))
    for ids, reason in graph.pins:
        found.keep(ids, reason)
    _spread(graph, found)
    makers = [part for part in graph.parts.values() if part.makes]
    revived = 1
    while revived:
        revived = sum(_revived(part, found, multiple_of) for part in makers)
        _spread(graph, found)
    return found


def _spread(graph: Graph, found: Needed) -> None:
    """Marks what the channels that stay read, and what these read, and so on."""
    waiting = [(read, ~read.folds(read.part.constant(read.source)), -1) for read in reversed(graph.reads)]
    changed = True
    while changed:
        changed, waiting, before = False, [], waiting
        for read, varies, seen in before:
            target = found.of(read.part.channels[read.target])
            if (count := int(target.sum())) != seen:  # only what has changed is looked at again
                source = read.part.channels[read.source]
                acts = read.nonzero[:, target].any(1) & varies
                changed |= found.keep(source[acts], read.why)
            waiting.append((read, varies, count))


def _revived(part: Part, found: Needed, multiple_of: int) -> bool:
    """Marks dead channels of a layer until it keeps a multiple; whether there were any to mark."""
    assert part.makes is not None
    ids = part.channels[part.makes]
    live = found.of(ids)
    multiple = multiple_of if part.makes == "out" else 1  # attention keeps any number of heads
    target = min(max(1, -(-int(live.sum()) // multiple)) * multiple, len(ids))
    missing = target - int(live.sum())
    reason = "a layer has at least one" if not live.any() else f"for a multiple of {multiple}"
    return missing > 0 and found.keep(ids[~live][:missing], reason)
