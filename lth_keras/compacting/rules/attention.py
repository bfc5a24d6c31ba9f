"""The rule of multi-head attention: a head without a way in or out is dead."""

from __future__ import annotations

from typing import Any

import numpy as np

from lth_keras.compacting.graph import Axis, Channels, Graph, Part, Read, zeros_fold
from lth_keras.compacting.rules.values import array


def attention(graph: Graph, layer: Any, query: Channels, value: Channels, key: Channels) -> Channels:
    """A MultiHeadAttention; with one call, heads without a way in or out are dead."""
    part, called = graph.parts.get(id(layer)), {"query": query, "value": value, "key": key}
    if part is not None:
        for each in called.values():
            graph.pin(each.ids, f"{layer.name!r} is called more than once")
        graph.call(part, **called)
        return Channels(part.channels["out"], np.full(len(part.channels["out"]), np.nan))
    kernels = {name: array(getattr(layer, f"_{name}_dense").kernel) for name in (*called, "output")}
    heads, outputs = graph.new(kernels["query"].shape[1]), kernels["output"].shape[-1]
    own = layer._output_shape is not None  # otherwise as many outputs as the query has channels
    channels = {name: each.ids for name, each in called.items()}
    channels |= {"heads": heads, "out": graph.new(outputs) if own else query.ids}
    settings = {"num_heads": "heads"} | ({"output_shape": "out"} if own else {})
    part = graph.parts[id(layer)] = Part(layer, channels, _variables(), settings, "heads")
    for name in called:
        graph.reads.append(
            Read(part, name, "heads", (kernels[name] != 0).any(-1), zeros_fold, f"read by {layer.name!r}")
        )
    bias = array(layer._value_dense.bias) if layer._use_bias else np.zeros((len(heads), 1))
    silent = ~(kernels["value"] != 0).any(-1)[value.constant != 0].any(0) & (bias == 0).all(-1)
    graph.call(part, **called, heads=Channels(heads, np.where(silent, 0.0, np.nan)))
    acts = (kernels["output"] != 0).any(1)
    graph.reads.append(Read(part, "heads", "out", acts, zeros_fold, f"read by {layer.name!r}"))
    base = array(layer._output_dense.bias) if layer._use_bias else np.zeros(outputs)
    return Channels(channels["out"], np.where(acts[~silent].any(0), np.nan, base))


def _variables() -> dict[str, tuple[Axis | None, ...]]:
    head, out = Axis("heads"), Axis("out")
    variables: dict[str, tuple[Axis | None, ...]] = {
        "_output_dense._kernel": (head, None, out),
        "_output_dense.bias": (out,),
    }
    for name in ("query", "value", "key"):
        variables |= {f"_{name}_dense._kernel": (Axis(name), head, None), f"_{name}_dense.bias": (head, None)}
    return variables
