"""The size of what each weight of a model's kernels is multiplied with, for criteria."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

LAYERS = ("Dense", "EinsumDense", "Embedding")
"""Layers besides convolutions whose inputs are known to belong to their weights."""


def squares_of_inputs(prunable: Sequence[Any], forward: Callable[[], Any]) -> list[np.ndarray]:
    """For each weight, the sum of squares of the inputs that it is multiplied with in a forward pass.

    Args:
        prunable: prunable weights, with the attributes `key`, `name`, `layer`, `holder` and `mask`.
        forward: runs the model, eagerly.

    Returns:
        Arrays that broadcast to the weights' shapes, over all examples and positions.

    Raises:
        ValueError: naming weights whose inputs are not known.
    """
    callers = {id(weight.mask): _caller(weight) for weight in prunable}
    unknown = [f"{weight.key} ({type(weight.layer).__name__})" for weight in prunable if not _is_known(weight)]
    if unknown:
        raise ValueError(
            f"Expected weights whose inputs can be observed: those of dense, convolutional, attention and embedding "
            f"layers, and the input kernels of recurrent ones. Received: {', '.join(unknown)}. Leave their layers out "
            "with exclude=[...], or use another criterion."
        )
    with _observed({id(layer): layer for layer in callers.values()}) as inputs:
        forward()
    return [sum(_squares(w, np.asarray(x)) for x in inputs[id(callers[id(w.mask)])]) for w in prunable]  # type: ignore[misc]


def _caller(weight: Any) -> Any:
    """The layer whose input the weight is multiplied with."""
    return weight.layer if isinstance(weight.layer, keras.layers.RNN) else weight.holder


def _is_known(weight: Any) -> bool:
    layer, name = weight.holder, weight.name
    if isinstance(weight.layer, keras.layers.RNN):
        return name == "kernel" and not hasattr(weight.layer, "data_format")
    if name in ("pointwise_kernel", "reverse_embeddings", "recurrent_kernel"):
        return False
    known = tuple(getattr(keras.layers, one) for one in LAYERS)
    return isinstance(layer, known) or _convolves(layer)


def _convolves(layer: Any) -> bool:
    return "Conv" in type(layer).__name__ and "LSTM" not in type(layer).__name__ and hasattr(layer, "data_format")


def _squares(weight: Any, x: np.ndarray) -> np.ndarray:
    layer, shape = weight.holder, tuple(weight.mask.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_squares(layer.equation, np.asarray(x, np.float64), shape)
    if isinstance(layer, keras.layers.Embedding):
        return np.bincount(np.asarray(x).astype(int).ravel(), minlength=shape[0])[:, None].astype(np.float64)
    channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    x = np.moveaxis(x, 1, -1) if channels_first else x
    squares = np.square(np.asarray(x, np.float64)).reshape(-1, x.shape[-1]).sum(0)
    name = type(layer).__name__
    if "Transpose" in name:
        return squares
    if "Depthwise" in name or weight.name == "depthwise_kernel":
        return squares[:, None]
    groups = getattr(layer, "groups", 1)
    by_group = squares.reshape(groups, -1)  # each group of filters reads its own channels
    return by_group.T.repeat(shape[-1] // groups, axis=-1)


def _einsum_squares(equation: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sums over the indices of the input that the kernel does not have; axes of 1 for those that only it has."""
    inputs, _, rest = equation.replace(" ", "").partition(",")
    kernel = rest.partition("->")[0]
    if "..." in inputs:
        inputs = inputs.replace("...", "".join(chr(ord("A") + i) for i in range(x.ndim - len(inputs) + 3)))
    shared = [index for index in kernel if index in inputs]
    summed = np.einsum(f"{inputs}->{''.join(shared)}", np.square(x))
    return summed.reshape([size if index in shared else 1 for index, size in zip(kernel, shape, strict=True)])


@contextmanager
def _observed(layers: dict[int, Any]) -> Iterator[dict[int, list[Any]]]:
    inputs: dict[int, list[Any]] = {key: [] for key in layers}

    def observing(key: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def observed(x: Any, *args: Any, **kwargs: Any) -> Any:
            inputs[key].append(keras.ops.convert_to_numpy(keras.tree.flatten(x)[0]))
            return call(x, *args, **kwargs)

        return observed

    try:
        for key, layer in layers.items():
            vars(layer)["call"] = observing(key, layer.call)
        yield inputs
    finally:
        for layer in layers.values():
            del vars(layer)["call"]
