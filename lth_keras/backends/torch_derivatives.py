"""Derivatives of functions on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch


def gradients(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.gradients`."""

    def call(weights: Sequence[np.ndarray], *rest: Any) -> list[np.ndarray]:
        leaves = _leaves(weights)
        return _arrays(_gradients(function(leaves, *_tensors(rest)), leaves))

    return call


def hessian_products(function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """See `derivatives.Derivatives.hessian_products`: the gradient of the gradient's product with the directions."""

    def call(weights: Sequence[np.ndarray], directions: Sequence[np.ndarray], *rest: Any) -> list[np.ndarray]:
        leaves = _leaves(weights)
        found = _gradients(function(leaves, *_tensors(rest)), leaves, differentiable=True)
        products = [torch.sum(g * d) for g, d in zip(found, _tensors(directions), strict=True)]
        return _arrays(_gradients(torch.stack(products).sum(), leaves))

    return call


def _gradients(value: Any, weights: list[Any], *, differentiable: bool = False) -> Sequence[Any]:
    """The gradient of a scalar by each weight; zeros for those that it does not depend on."""
    if not value.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    return torch.autograd.grad(value, weights, create_graph=differentiable, allow_unused=True, materialize_grads=True)


def _leaves(weights: Sequence[np.ndarray]) -> list[Any]:
    return [keras.ops.convert_to_tensor(weight).requires_grad_() for weight in weights]


def _tensors(structure: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, structure)


def _arrays(tensors: Sequence[Any]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]  # copies
