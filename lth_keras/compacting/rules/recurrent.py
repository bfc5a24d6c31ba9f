"""Rules of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lth_keras.compacting.graph import Axis, Channels, Graph, Part, Read, all_fold, zeros_fold
from lth_keras.compacting.rules.activations import mixes
from lth_keras.compacting.rules.values import array

_GATES = {keras.layers.SimpleRNN: (1, 0), keras.layers.GRU: (3, 2), keras.layers.LSTM: (4, 2)}
_CONVOLVED = {getattr(keras.layers, f"ConvLSTM{n}D"): (4, 2) for n in (1, 2, 3)}
GATES = {**_GATES, **_CONVOLVED}
"""Layer type to its number of gates, and which of them is the candidate: a unit whose candidate is zero stays zero."""


def refusal(layer: Any, calls_with_state: bool) -> str | None:
    """Why the channels of a recurrent layer stay; None if its rule knows them."""
    if layer.return_state or layer.stateful or calls_with_state:
        return "has states that others read or give"
    if mixes(layer.cell.activation) or mixes(layer.cell.recurrent_activation if _is_gated(layer) else None):
        return "has an activation that mixes its units"
    if getattr(layer.cell, "data_format", "channels_last") != "channels_last":
        return "has its channels first"
    return None


def _is_gated(layer: Any) -> bool:
    return type(layer) is not keras.layers.SimpleRNN


def recurrent(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """A recurrent layer: a unit that nothing leads into is zero at every step, one that only itself reads is dead."""
    gates, candidate = GATES[type(layer)]
    cell = layer.cell
    kernel, inner = array(cell.kernel), array(cell.recurrent_kernel)
    spatial = [None] * (kernel.ndim - 2)
    units = kernel.shape[-1] // gates
    part = graph.parts.get(id(layer))
    acts, within = ((each != 0).reshape(-1, each.shape[-2], gates, units).any(0) for each in (kernel, inner))
    if part is None:
        channels = {"in": inputs.ids, "out": graph.new(units)}
        out = Axis("out", before=gates)
        variables: dict[str, tuple[Axis | None, ...]] = {
            "cell.kernel": (*spatial, Axis("in"), out),
            "cell.recurrent_kernel": (*spatial, Axis("out"), out),
            "cell.bias": (None, out) if getattr(cell, "reset_after", False) else (out,),
        }
        setting = "filters" if type(layer) in _CONVOLVED else "units"
        part = graph.parts[id(layer)] = Part(layer, channels, variables, {setting: "out"}, "out")
        pads = bool(spatial) and cell.padding != "valid"
        if not pads:
            part.fold = ("cell.bias", _adding_to_bias(cell, kernel.reshape(-1, *kernel.shape[-2:]).sum(0)))
        why = f"read by {layer.name!r}" + (", where padding differs from the constant" if pads else "")
        graph.reads.append(Read(part, "in", "out", acts.any(1), zeros_fold if pads else all_fold, why))
        graph.reads.append(Read(part, "out", "out", within.any(1), zeros_fold, f"read by {layer.name!r} itself"))
    led = acts[inputs.constant != 0][:, candidate].any(0) | within[:, candidate].any(0)
    bias = array(cell.bias).reshape(-1, gates, units)[:, candidate] if cell.use_bias else np.zeros((1, units))
    at_zero = float(array(cell.activation(keras.ops.zeros((1,))))[0])
    dead = ~led & (bias == 0).all(0) & (at_zero == 0)
    outputs = Channels(part.channels["out"], np.where(dead, 0.0, np.nan))
    graph.call(part, **{"in": inputs, "out": outputs})
    return outputs


def _adding_to_bias(cell: Any, sums: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What constant inputs add to the bias of a cell; a GRU may have a second one, of its recurrent kernel."""
    two = bool(getattr(cell, "reset_after", False))
    return lambda values: np.stack([values @ sums, np.zeros(sums.shape[-1])]) if two else values @ sums


def bidirectional(graph: Graph, layer: Any, inputs: Channels) -> Channels:
    """Two recurrent layers on one input, with as many units each."""
    forward, backward = (recurrent(graph, each, inputs) for each in (layer.forward_layer, layer.backward_layer))
    graph.join(forward.ids, backward.ids)
    if layer.merge_mode == "concat":
        return Channels(*(np.concatenate(pair) for pair in zip(forward, backward, strict=True)))
    zero = (forward.constant == 0) & (backward.constant == 0)
    return Channels(forward.ids, np.where(zero, 0.0, np.nan))
