"""Turns a model into a linear function of its input, for synaptic flow, while its forward pass is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

ACTIVATIONS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)
NORMALISATIONS = (
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Normalization,
    keras.layers.Rescaling,
)
"""Normalisation by statistics of the input, or by constants with an offset; neither is linear."""
OPERATIONS = frozenset(
    "Relu Relu6 LeakyRelu Elu Selu Celu Gelu Silu Sigmoid LogSigmoid HardSigmoid HardSilu Tanh HardTanh Softplus "
    "Softsign Softmax LogSoftmax".split()
)
"""Activations that are operations of a graph, such as `keras.ops.relu(x)`, by the names of Keras' classes."""
REVERSIBLE = getattr(keras.layers, "ReversibleEmbedding", ())
"""Embeddings that are also called in reverse, as projections, so that a sum over rows cannot replace them."""
LINEAR = frozenset(
    "Activation ActivityRegularization Add AlphaDropout Average BatchNormalization Concatenate Dense Dropout "
    "EinsumDense Embedding Flatten GaussianDropout GaussianNoise Identity InputLayer Masking Maximum Minimum Permute "
    "RepeatVector Reshape Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D "
    "DepthwiseConv2D SeparableConv1D SeparableConv2D".split()
    + [f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling", "SpatialDropout") for n in (1, 2, 3)]
    + [f"{size}{kind}Pooling{n}D" for size in ("", "Global") for kind in ("Max", "Average") for n in (1, 2, 3)]
)
"""Keras layers that, once linearised, are linear for non-negative inputs or preserve a positive factor."""
LINEAR_OPERATIONS = frozenset(
    "Absolute Add AveragePool BroadcastTo Cast Concatenate ExpandDims Flatten GetItem Identity Max Maximum MaxPool "
    "Mean Minimum Moveaxis Pad Permute Repeat Reshape Squeeze Stack Sum Swapaxes Tile Transpose".split()
)


@contextmanager
def linearised(model: keras.Model, prunable: Sequence[Any]) -> Iterator[None]:
    """A context in which a model computes the linearised network of Tanaka et al. (2020), arXiv:2006.05467.

    Activations (of layers, as layers and as operations) and normalisations by the input's statistics become the
    identity. An embedding becomes the sum over its rows, as for a one for every word at every position. Other layers
    stay unchanged, such as pooling, which preserves a positive factor, and batch normalisation, which is linear in
    inference mode. The caller replaces values of variables: weights by magnitudes, offsets by zero.

    Each output that lies on all paths from inputs to outputs is divided by its largest value, treated as a constant.
    This scales the network's output and all derivatives by one factor, and avoids overflow in deep networks.

    Args:
        model: a built model.
        prunable: its prunable weights, with the attributes `layer`, `variable` and `mask`.
    """
    masked = {id(weight.layer): weight for weight in prunable}
    changed: list[tuple[Any, str, Any]] = []

    def change(item: Any, name: str, value: Any) -> None:
        # Writes to the instance's dict, since Keras tracks assignments and rejects layers after build.
        changed.append((item, name, vars(item).get(name)))
        vars(item)[name] = value

    try:
        for operation in _operations(model):
            if isinstance(operation, ACTIVATIONS + NORMALISATIONS) or _is_operation(operation, OPERATIONS):
                change(operation, "call", _identity)
            elif isinstance(operation, keras.layers.Embedding) and not isinstance(operation, REVERSIBLE):
                change(operation, "call", _sum_of_rows(operation, masked.get(id(operation))))
            elif callable(getattr(operation, "activation", None)) and not isinstance(operation, keras.layers.RNN):
                change(operation, "activation", _identity)
        for operation in _on_every_path(model):
            change(operation, "call", _scaled(operation.call))
        yield
    finally:
        for item, name, value in reversed(changed):
            if value is None:
                del vars(item)[name]
            else:
                vars(item)[name] = value


def not_followed(model: keras.Model) -> list[str]:
    """The layers and operations of a model that are not known to be linear, with their types.

    Synaptic flow passes through them unchanged; the flow is zero behind a gate or softmax that ones saturate.
    """
    known = ACTIVATIONS + NORMALISATIONS + tuple(getattr(keras.layers, name) for name in LINEAR)
    return [
        f"{operation.name} ({type(operation).__name__})"
        for operation in _operations(model)
        if isinstance(operation, REVERSIBLE)
        or not (isinstance(operation, known) or _is_operation(operation, OPERATIONS | LINEAR_OPERATIONS))
    ]


def ones_for(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> Any:
    """A batch with one example of ones; a tuple for several inputs."""
    ones = [keras.ops.ones((1, *shape), tensor.dtype) for shape, tensor in zip(shapes, model.inputs, strict=True)]
    return tuple(ones) if len(ones) > 1 else ones[0]


def _operations(parent: Any) -> list[Any]:
    """The layers and operations of a model's graph, including those of inner models and wrappers.

    Sublayers of other layers are not included: attention without its softmax would not be linear either.
    """
    if isinstance(parent, keras.layers.Wrapper):
        inside = [parent.layer]
    elif isinstance(parent, keras.Model):
        inside = [*parent.layers, *(op for op in getattr(parent, "operations", ()) if not isinstance(op, keras.Layer))]
    else:
        return [parent]
    found = [operation for item in inside for operation in _operations(item)]
    return list({id(operation): operation for operation in found}.values())


def _is_operation(operation: Any, names: frozenset[str]) -> bool:
    return not isinstance(operation, keras.layers.Layer) and type(operation).__name__ in names


def _identity(inputs: Any, *_: Any, **__: Any) -> Any:
    return inputs


def _sum_of_rows(layer: keras.layers.Embedding, masked: Any) -> Callable[..., Any]:
    def call(inputs: Any, **_: Any) -> Any:
        table = (layer._embeddings if masked is None else masked.variable).value
        if masked is not None:
            table = table * keras.ops.cast(masked.mask.value, table.dtype)
        return keras.ops.broadcast_to(keras.ops.sum(table, axis=0), (*inputs.shape, table.shape[-1]))

    return call


def _scaled(call: Callable[..., Any]) -> Callable[..., Any]:
    def scaled(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        largest = keras.ops.stop_gradient(keras.ops.max(outputs))
        return outputs / keras.ops.where(largest > 0, largest, keras.ops.ones_like(largest))

    return scaled


def _on_every_path(model: Any) -> list[Any]:
    """The operations of a model's graph and of inner models that lie on all paths from inputs to outputs.

    In a graph with P paths, these are the operations with P = (paths to them) x (paths from them).
    """
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):  # a subclassed model has no graph
        return []
    nodes = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
    before: dict[int, int] = {}
    after = {id(tensor): 0 for node in nodes for tensor in node.outputs}
    for node in nodes:
        paths = 1 if node.is_input else sum(before[id(tensor)] for tensor in node.input_tensors)
        before |= {id(tensor): paths for tensor in node.outputs}
    for tensor in graph.outputs:
        after[id(tensor)] += 1
    for node in reversed(nodes):
        if not node.is_input:
            paths = sum(after[id(tensor)] for tensor in node.outputs)
            for tensor in node.input_tensors:
                after[id(tensor)] += paths
    total = sum(before[id(tensor)] for tensor in graph.outputs)
    every: dict[int, tuple[Any, bool]] = {}
    for node in nodes:
        lies = len(node.outputs) == 1 and before[id(node.outputs[0])] * after[id(node.outputs[0])] == total
        operation, so_far = node.operation, every.get(id(node.operation), (None, True))[1]
        every[id(operation)] = operation, so_far and lies and not node.is_input
    found = [operation for operation, lies in every.values() if lies]
    inside = [inner for operation in found if isinstance(operation, keras.Model) for inner in _on_every_path(operation)]
    return inside + [operation for operation in found if not isinstance(operation, keras.Model)]
