"""Follows the channels through a model's graph, one node after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.compacting.graph import Channels, Graph, varying
from lth_keras.compacting.rules import attention, kernels, pointwise, recurrent, shapes
from lth_keras.compacting.rules.values import array
from lth_keras.masking import has_graph

OUTPUT = "output of the model"
"""Why the channels of outputs stay."""


def traced(model: keras.Model) -> Graph:
    """The channels of a Sequential or Functional model of plain layers.

    Takes as long as a few forward passes of one example: every node is visited once.
    """
    graph = Graph()
    for outputs in _of_model(graph, model, {}):
        graph.pin(outputs.ids, OUTPUT)
    return graph


def _of_model(graph: Graph, model: Any, known: dict[int, list[Channels]]) -> list[Channels]:
    """The outputs of a model, whose inputs keep their channels."""
    if id(model) in known:
        return known[id(model)]
    functional = model._functional if isinstance(model, keras.Sequential) else model
    found: dict[int, Channels] = {}
    for tensor in functional.inputs:
        found[id(tensor)] = varying(graph, _size(tensor))
        graph.pin(found[id(tensor)].ids, f"input of {model.name!r}")
    for depth in sorted(functional._nodes_by_depth, reverse=True):  # in the order that Keras runs them in
        for node in functional._nodes_by_depth[depth]:
            if not node.is_input:
                inputs = [found[id(tensor)] for tensor in node.input_tensors]
                outputs = _of_node(graph, node, inputs, known)
                found |= {id(tensor): each for tensor, each in zip(node.outputs, outputs, strict=True)}
    known[id(model)] = [found[id(tensor)] for tensor in functional.outputs]
    return known[id(model)]


def _size(tensor: Any) -> int:
    """The number of channels; one for tensors without such an axis, or of unknown size, which are pinned anyway."""
    return int(tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1


def _of_node(graph: Graph, node: Any, inputs: Sequence[Channels], known: dict[int, list[Channels]]) -> list[Channels]:
    operation = node.operation
    if isinstance(operation, keras.Model) and has_graph(operation):
        for each in inputs:
            graph.pin(each.ids, f"input of {operation.name!r}")
        return _of_model(graph, operation, known)
    made = _by_rule(graph, node, operation, inputs)
    if isinstance(made, Channels):
        return [made]
    for each in inputs:
        graph.pin(each.ids, f"{operation.name!r}, a {type(operation).__name__}, {made}")
    outputs = [varying(graph, _size(tensor)) for tensor in node.outputs]
    for each in outputs:
        graph.pin(each.ids, f"{operation.name!r}, a {type(operation).__name__}, {made}")
    return outputs


def _by_rule(graph: Graph, node: Any, layer: Any, inputs: Sequence[Channels]) -> Channels | str:
    """The output of a layer or operation, or why its channels stay."""
    if not isinstance(layer, keras.layers.Layer):
        return _of_operation(graph, node, layer, inputs)
    kind, first = type(layer), inputs[0]
    if kind is keras.layers.TimeDistributed and type(layer.layer) in kernels.RULES:
        return _of_layer(graph, node, layer.layer, inputs)
    if kind is keras.layers.Bidirectional:
        return _of_bidirectional(graph, layer, inputs)
    if kind is keras.layers.MultiHeadAttention:
        return _of_attention(graph, node, layer, inputs)
    return _of_layer(graph, node, layer, inputs) if first.size else "has no channels"


def _of_layer(graph: Graph, node: Any, layer: Any, inputs: Sequence[Channels]) -> Channels | str:
    kind, first = type(layer), inputs[0]
    if kind in kernels.RULES:
        return kernels.refusal(layer) or kernels.RULES[kind](graph, layer, first)
    if kind is keras.layers.Embedding:
        graph.pin(first.ids, f"indices of {layer.name!r}")
        return kernels.refusal(layer) or kernels.embedding(graph, layer)
    if kind in recurrent.GATES:
        return recurrent.refusal(layer, len(inputs) > 1) or recurrent.recurrent(graph, layer, first)
    known = (*pointwise.SAME, *pointwise.PADDED, *pointwise.FUNCTIONS, *pointwise.MERGES)
    if kind in known or kind in (keras.layers.BatchNormalization, keras.layers.PReLU):
        return pointwise.refusal(layer) or _pointwise(graph, layer, inputs)
    return _of_shape(graph, node, layer, inputs)


def _pointwise(graph: Graph, layer: keras.layers.Layer, inputs: Sequence[Channels]) -> Channels:
    if type(layer) in pointwise.MERGES:
        return pointwise.merged(graph, layer.name, inputs, lambda values: array(layer(values)))
    if isinstance(layer, (*pointwise.SAME, *pointwise.PADDED)):
        return pointwise.kept(layer, inputs[0])
    if isinstance(layer, pointwise.FUNCTIONS):
        return pointwise.function(layer, inputs[0])
    return pointwise.normalisation(graph, layer, inputs[0])


def _of_operation(graph: Graph, node: Any, operation: Any, inputs: Sequence[Channels]) -> Channels | str:
    """An operation of `keras.ops`, on tensors and numbers."""
    arguments = keras.tree.flatten([node.arguments.args, node.arguments.kwargs])
    others = [each for each in arguments if not isinstance(each, keras.KerasTensor)]
    if type(operation).__name__ not in pointwise.OPERATIONS:
        return "may mix its channels"
    if any(np.ndim(each) for each in others if not isinstance(each, str) and each is not None):
        return "has arrays among its arguments"

    def apply(values: Sequence[np.ndarray]) -> np.ndarray:
        given = {
            id(tensor): keras.ops.convert_to_tensor(value, "float32")
            for tensor, value in zip(node.input_tensors, values, strict=True)
        }
        args, kwargs = node.arguments.fill_in(given)
        return array(operation(*args, **kwargs))

    return pointwise.merged(graph, operation.name, inputs, apply)


def _of_bidirectional(graph: Graph, layer: Any, inputs: Sequence[Channels]) -> Channels | str:
    pair = (layer.forward_layer, layer.backward_layer)
    if any(type(each) not in recurrent.GATES for each in pair) or type(pair[0]) is not type(pair[1]):
        return "holds layers that are not known"
    if layer.merge_mode is None or pair[0].cell.kernel.shape != pair[1].cell.kernel.shape:
        return "has outputs that cannot be removed in pairs"
    for each in pair:
        if refused := recurrent.refusal(each, len(inputs) > 1):
            return refused
    return recurrent.bidirectional(graph, layer, inputs[0])


def _of_attention(graph: Graph, node: Any, layer: Any, inputs: Sequence[Channels]) -> Channels | str:
    if layer._output_shape is not None and len(layer._output_shape) != 1:
        return "has outputs of several axes"
    if len(node.outputs) != 1:
        return "returns its scores"
    known = dict(zip(map(id, node.input_tensors), inputs, strict=True))
    names = ("query", "value", "key")
    given = dict(zip(names, node.arguments.args, strict=False)) | node.arguments.kwargs
    found = {name: known[id(given[name])] for name in names if given.get(name) is not None}
    masks = [each for name, each in given.items() if name not in names and id(each) in known]
    for mask in masks:
        graph.pin(known[id(mask)].ids, f"mask of {layer.name!r}")
    return attention.attention(graph, layer, found["query"], found["value"], found.get("key", found["value"]))


def _of_shape(graph: Graph, node: Any, layer: Any, inputs: Sequence[Channels]) -> Channels | str:
    kind = type(layer)
    shapes_in = [tensor.shape for tensor in node.input_tensors]
    if kind is keras.layers.Concatenate:
        return shapes.concatenated(graph, layer, inputs, len(shapes_in[0]))
    if kind is keras.layers.Permute and layer.dims[-1] == len(layer.dims):
        return inputs[0]
    if kind in (keras.layers.Flatten, keras.layers.Reshape):
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            return "has its channels first"
        made = shapes.reshaped(inputs[0], shapes_in[0][1:], node.outputs[0].shape[1:])
        if made is None:
            return "arranges channels anew"
        if kind is keras.layers.Reshape:
            shapes.resized(graph, layer, made)
        return made
    return "may mix its channels"
