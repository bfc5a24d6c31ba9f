"""What the tests ask of Keras' active backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

BACKEND = keras.backend.backend()
EAGER = BACKEND == "torch"
"""Whether it runs functions at every call, and traces nothing."""
JIT = BACKEND == "jax"
"""What most tests give as `jit_compile`: on TensorFlow XLA compiles for longer than they train."""


def gradients(function: Callable[[], tuple[Any, Any]], variables: Sequence[Any]) -> tuple[Any, list[np.ndarray]]:
    """Calls a function once, and differentiates the loss that it returns.

    Args:
        function: returns (loss, anything else), computed of the variables as they read while it runs.
        variables: Keras variables.

    Returns:
        What else the function returned; the loss' gradients.
    """
    if BACKEND == "jax":
        import jax

        def loss(values: list[Any]) -> tuple[Any, Any]:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
                return function()

        found, others = jax.grad(loss, has_aux=True)([variable.value for variable in variables])
        return others, [np.array(gradient) for gradient in found]
    if BACKEND == "torch":
        import torch

        loss, others = function()
        found = torch.autograd.grad(loss, [variable.value for variable in variables], materialize_grads=True)
        return others, [keras.ops.convert_to_numpy(gradient) for gradient in found]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss, others = function()
    found = tape.gradient(loss, [variable.value for variable in variables])
    return others, [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def aligned(arrays: Any) -> Any:
    """Inputs to compare bits with: on PyTorch in its own memory, as its products round by the alignment of memory."""
    return keras.tree.map_structure(keras.ops.copy, arrays) if BACKEND == "torch" else arrays


def shapes_computed(function: Callable[[Any], Any], x: np.ndarray) -> set[tuple[int, ...]]:
    """The shapes of all that operations compute within a function of one tensor, as the backend computes it."""
    if BACKEND == "jax":
        import jax

        return set(_shapes(jax.make_jaxpr(function)(x).jaxpr))
    if BACKEND == "torch":
        return _computed_by_torch(function, x)
    import tensorflow as tf

    graph = tf.function(function).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)).graph
    computing = (operation for operation in graph.get_operations() if operation.type != "ReadVariableOp")
    return {tuple(out.shape.as_list()) for operation in computing for out in operation.outputs if out.shape.rank}


def _computed_by_torch(function: Callable[[Any], Any], x: np.ndarray) -> set[tuple[int, ...]]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: set[tuple[int, ...]] = set()

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = op(*args, **(kwargs or {}))
            views = any(returned.alias_info for returned in op._schema.returns)  # as of the table: nothing is computed
            parts = [] if views else keras.tree.flatten(out)
            found.update(tuple(part.shape) for part in parts if isinstance(part, torch.Tensor) and part.ndim)
            return out

    with Recorded():
        function(keras.ops.convert_to_tensor(x))
    return found


def _shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from _shapes(getattr(inner, "jaxpr", inner))
