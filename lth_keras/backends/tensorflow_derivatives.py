"""Derivatives of functions on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def gradients(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.gradients`."""
    return _compiled(lambda weights, *rest: _gradients(lambda: function(weights, *rest), weights))


def hessian_products(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.hessian_products`: the gradient of the gradient's product with the directions."""

    def products(weights: list[tf.Tensor], directions: list[tf.Tensor], *rest: Any) -> list[tf.Tensor]:
        def product() -> tf.Tensor:
            found = _gradients(lambda: function(weights, *rest), weights)
            return tf.add_n([tf.reduce_sum(g * d) for g, d in zip(found, directions, strict=True)])

        return _gradients(product, weights)

    return _compiled(products)


def _gradients(function: Callable[[], tf.Tensor], weights: list[tf.Tensor]) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = function()
    found = tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(gradient) for gradient in found]  # an embedding's gradient is sparse


def _compiled(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    compiled = tf.function(function, autograph=False)
    # TensorFlow counts all functions made here as one, and would warn about retracing when several models are pruned.
    compiled._omit_frequent_tracing_warning = True

    def call(*args: Any) -> list[np.ndarray]:
        # A copy, since arrays from TensorFlow share its memory, which can be read-only.
        return [np.array(tensor) for tensor in compiled(*tf.nest.map_structure(tf.convert_to_tensor, args))]

    return call
