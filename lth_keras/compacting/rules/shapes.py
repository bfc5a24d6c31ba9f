"""Rules of layers that move channels: flatten, reshape, permute, concatenate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lth_keras.compacting.graph import Channels, Graph, Part


def concatenated(graph: Graph, layer: Any, inputs: Sequence[Channels], rank: int) -> Channels:
    """Tensors side by side: along the channels, or along another axis."""
    if layer.axis in (-1, rank - 1):
        return Channels(*(np.concatenate([each[i] for each in inputs]) for i in range(2)))
    first, *others = inputs
    for other in others:
        graph.join(first.ids, other.ids)
    same = np.logical_and.reduce([other.constant == first.constant for other in others])
    return Channels(first.ids, np.where(same, first.constant, np.nan))


def reshaped(inputs: Channels, shape: Sequence[int | None], target: Sequence[int | None]) -> Channels | None:
    """The channels after a reshape between shapes without batch axis.

    Returns:
        None where a channel of the output would hold values of several channels.
    """
    if None in shape or None in target:
        if len(shape) and len(target) and shape[-1] == target[-1]:
            return inputs  # positions alone are arranged anew
        return None
    sizes = [int(size or 0) for size in target]
    ids = np.broadcast_to(inputs.ids, [int(size or 0) for size in shape]).reshape(-1, sizes[-1])
    if not (ids == ids[:1]).all():
        return None
    constant = np.broadcast_to(inputs.constant, [int(size or 0) for size in shape]).reshape(-1, sizes[-1])
    return Channels(ids[0], constant[0])


def resized(graph: Graph, layer: Any, outputs: Channels) -> None:
    """Notes that a layer's argument `target_shape` ends with the number of its output channels."""
    part = graph.parts.setdefault(id(layer), Part(layer, {"out": outputs.ids}, {}, {"target_shape": "out"}))
    graph.call(part, out=outputs)
