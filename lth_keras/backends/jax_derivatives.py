"""Derivatives of functions on JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lth_keras.backends.jax_pure import exactly
from lth_keras.system import uninterrupted


def gradients(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.gradients`."""
    return _compiled(jax.grad(function))


def hessian_products(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.hessian_products`; uses forward over reverse mode."""

    def products(weights: list[Any], directions: list[Any], *rest: Any) -> list[Any]:
        _, found = jax.jvp(lambda weights: jax.grad(function)(weights, *rest), (weights,), (directions,))
        return list(found)

    return _compiled(products)


def _compiled(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    compiled = jax.jit(exactly(function))

    def call(*args: Any) -> list[np.ndarray]:
        with uninterrupted():
            return [np.array(array) for array in compiled(*args)]

    return call
