"""What patterns need to know of a model's prunable weights: their outputs, heads and layers."""

from __future__ import annotations

from typing import NamedTuple

import keras

from lth_keras.compacting import Along, channel_sets
from lth_keras.masking import PrunableWeight, prunable_weights, walk


class Layout(NamedTuple):
    """What patterns need to know of a prunable weight.

    Attributes:
        shape: of the weight.
        outputs: the axes that count its outputs, from the end.
        layer: the place of its layer.
        heads: the axis that counts attention heads, or None.
        units: whether single outputs can be pruned; those of a recurrent kernel are gates that belong together.
        is_output: whether the layer leads to the model's outputs, whose units are not pruned.
        is_table: whether it is an embedding table.
        channels: where it has entries for channels that are pruned with all weights around them; only for patterns of
            these.
    """

    shape: tuple[int, ...]
    outputs: tuple[int, ...] = (-1,)
    layer: str = ""
    heads: int | None = None
    units: bool = True
    is_output: bool = False
    is_table: bool = False
    channels: tuple[Along, ...] = ()


def layouts(model: keras.Model, *, channels: bool = False) -> dict[str, Layout]:
    """The layout of each prunable weight of a model with masked layers.

    Args:
        model: the model.
        channels: whether to find `Layout.channels`.

    Raises:
        ValueError: with `channels`, for a subclassed model.
    """
    places = {id(layer): place for place, layer in walk(model)}
    found = {weight.key: _layout(weight, places[id(weight.layer)]) for weight in prunable_weights(model)}
    sets = channel_sets(model, found) if channels else {}
    return {key: layout._replace(channels=tuple(sets.get(key, ()))) for key, layout in found.items()}


def _layout(weight: PrunableWeight, place: str) -> Layout:
    layer, name = weight.layer, weight.name
    heads = None
    if isinstance(layer, keras.layers.MultiHeadAttention):
        heads = 0 if name == "output_kernel" else -2
    cells = keras.layers.RNN | keras.layers.LSTMCell | keras.layers.GRUCell | keras.layers.SimpleRNNCell
    units = not isinstance(layer, cells | keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention)
    outputs = tuple(layer.outputs.get(name, (-1,)))
    table = weight.kind == "embedding"
    return Layout(tuple(weight.mask.shape), outputs, place, heads, units, weight.kind == "output", table)
