"""What the tests ask of Keras' active backend, TensorFlow or JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

BACKEND = keras.backend.backend()


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
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss, others = function()
    found = tape.gradient(loss, [variable.value for variable in variables])
    return others, [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def shapes_computed(function: Callable[[Any], Any], x: np.ndarray) -> set[tuple[int, ...]]:
    """The shapes of all that operations compute within a function of one tensor, as the backend traces it."""
    if BACKEND == "jax":
        import jax

        return set(_shapes(jax.make_jaxpr(function)(x).jaxpr))
    import tensorflow as tf

    graph = tf.function(function).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)).graph
    computing = (operation for operation in graph.get_operations() if operation.type != "ReadVariableOp")
    return {tuple(out.shape.as_list()) for operation in computing for out in operation.outputs if out.shape.rank}


def _shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from _shapes(getattr(inner, "jaxpr", inner))
