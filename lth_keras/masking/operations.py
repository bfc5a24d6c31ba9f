"""How often a forward pass uses each weight of a kernel, from the shapes of what its layer is called on."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras

from lth_keras.masking.prunable import PrunableWeight

Shape = tuple[int, ...]


class Call(NamedTuple):
    """The shapes of one call of a layer, with the batch axis.

    Attributes:
        inputs: of its arguments that hold tensors, by name, in the order of the layer's `call`; of several tensors in
            one argument that of the first.
        output: of its first output.
    """

    inputs: dict[str, Shape]
    output: Shape

    @property
    def first(self) -> Shape:
        """The shape of the first argument."""
        return next(iter(self.inputs.values()))


def calls_on_one_example(model: keras.Model, layers: Sequence[Any], inputs: Any = None) -> dict[int, list[Call]] | None:
    """The calls of layers in a forward pass on one example, by id of the layer; None where no input shape is known.

    Args:
        model: built; the forward pass is in inference mode, and changes no state, as that of a stateful LSTM.
        layers: layers of the model, also inside of others.
        inputs: a batch for the model, whose first example is taken; None makes one where the model says its shape.
    """
    example = _example(model) if inputs is None else keras.tree.map_structure(lambda one: one[:1], inputs)
    if example is None:
        return None
    with _recorded(layers) as calls, keras.StatelessScope():
        model(example, training=False)
    return calls


def uses(weight: PrunableWeight, call: Call) -> int | None:
    """How many multiplications by each weight of a kernel a call makes; None for types of layers that are not known.

    Embeddings make none. Attention counts its projections alone, not the products of queries, keys and values.
    """
    layer, name = weight.layer, weight.name
    if isinstance(layer, keras.layers.RNN):
        steps = call.first[1]
        spatial = (
            math.prod(_spatial(call.output, layer, skipped=int(layer.return_sequences))) if _convolves(layer) else 1
        )
        return steps * spatial
    if isinstance(layer, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
        query, value = call.inputs["query"], call.inputs["value"]
        sequence = {"key_kernel": call.inputs.get("key", value), "value_kernel": value}.get(name, query)
        return math.prod(sequence[1:-1])
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_uses(layer.equation, call, tuple(weight.mask.shape))
    if isinstance(layer, keras.layers.Embedding):
        reverse = call.output[-1] == layer.input_dim and len(call.output) == len(call.first)
        multiplies = reverse and (name == "reverse_embeddings" or getattr(layer, "tie_weights", False))
        return math.prod(call.first[1:-1]) if multiplies else 0
    if isinstance(layer, keras.layers.Dense):
        return math.prod(call.output[1:-1])
    if "Conv" in type(layer).__name__ and type(layer).__module__.startswith(("keras.", "lth_keras.")):
        transposed = "Transpose" in type(layer).__name__
        return math.prod(_spatial(call.first if transposed else call.output, layer))
    return None


def _convolves(layer: Any) -> bool:
    return "Conv" in type(layer).__name__


def _spatial(shape: Shape, layer: Any, skipped: int = 0) -> Shape:
    """The sizes of an image, without batch, time steps and channels."""
    data_format = getattr(layer, "data_format", None) or layer.cell.data_format
    image = shape[1 + skipped :]
    return image[:-1] if data_format == "channels_last" else image[1:]


def _einsum_uses(equation: str, call: Call, kernel: Shape) -> int | None:
    """The product of the sizes of all indices that the kernel does not have, but the batch's."""
    operands, _, output = equation.replace(" ", "").partition("->")
    inputs, _, weights = operands.partition(",")
    if "..." in equation:
        return None
    sizes = dict(zip(inputs, call.first, strict=True)) | dict(zip(weights, kernel, strict=True))
    others = {*inputs, *output} - {*weights, inputs[0]}
    return math.prod(sizes[index] for index in others)


@contextmanager
def _recorded(layers: Sequence[Any]) -> Iterator[dict[int, list[Call]]]:
    calls: dict[int, list[Call]] = {id(layer): [] for layer in layers}

    def recording(layer: Any) -> Any:
        call = layer.call
        signature = inspect.signature(call)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            tensors = {
                name: [one for one in keras.tree.flatten(value) if hasattr(one, "shape")]
                for name, value in signature.bind(*args, **kwargs).arguments.items()
            }
            inputs = {name: tuple(found[0].shape) for name, found in tensors.items() if found}
            calls[id(layer)].append(Call(inputs, tuple(keras.tree.flatten(output)[0].shape)))
            return output

        return recorded

    try:
        for layer in layers:
            vars(layer)["call"] = recording(layer)
        yield calls
    finally:
        for layer in layers:
            del vars(layer)["call"]


def _example(model: Any) -> Any:
    """Zeros in the shape of the model's inputs, or None where a size is not fixed."""
    inputs = None
    if isinstance(model, keras.Sequential):  # `input` is that of a layer: of the model's own call in another
        inputs = model.inputs[0] if model.inputs else None
    elif isinstance(model, keras.src.models.Functional):
        inputs = model.input
    shapes = keras.tree.flatten(inputs) if inputs is not None else []
    if not shapes or any(size is None for tensor in shapes for size in tensor.shape[1:]):
        return None
    batch = next((tensor.shape[0] for tensor in shapes if tensor.shape[0]), 1)  # fixed in a stateful model
    return keras.tree.map_structure(lambda tensor: keras.ops.zeros((batch, *tensor.shape[1:]), tensor.dtype), inputs)
