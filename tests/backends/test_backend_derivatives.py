"""What every backend's derivatives must do: `lth_keras.backends.derivatives.Derivatives`, on the active backend."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from lth_keras.backends.derivatives import Derivatives, Function
from tests.backend import BACKEND, EAGER

DERIVATIVES: Derivatives = importlib.import_module(f"lth_keras.backends.{BACKEND}_derivatives")  # type: ignore[assignment]
GENERATOR = np.random.default_rng(0)
WEIGHTS = [GENERATOR.normal(size=shape).astype("float32") for shape in ((4,), (3, 2), (5, 2), (2, 2))]
DIRECTIONS = [GENERATOR.normal(size=weight.shape).astype("float32") for weight in WEIGHTS]
FACTORS = GENERATOR.normal(size=4).astype("float32")
X = GENERATOR.normal(size=(6, 3)).astype("float32")
ROWS = np.array([1, 4, 1], "int32")
TWICE = np.array([0, 2, 0, 0, 1], "float32")[:, None]
"""How often each row of the third weight is looked up."""


def function(weights: list[Any], others: list[Any], x: Any, rows: Any) -> Any:
    """A cubic, a square and looked-up rows to the third; the last weight takes no part."""
    cubic = ops.sum(others[0] * weights[0] ** 3)
    return cubic + ops.sum(ops.matmul(x, weights[1]) ** 2) + ops.sum(ops.take(weights[2], rows, axis=0) ** 3)


GRADIENTS = [3 * FACTORS * WEIGHTS[0] ** 2, 2 * X.T @ X @ WEIGHTS[1], TWICE * 3 * WEIGHTS[2] ** 2, 0 * WEIGHTS[3]]
PRODUCTS = [
    6 * FACTORS * WEIGHTS[0] * DIRECTIONS[0],
    2 * X.T @ X @ DIRECTIONS[1],
    TWICE * 6 * WEIGHTS[2] * DIRECTIONS[2],
    0 * WEIGHTS[3],
]
METHODS: dict[str, tuple[Callable[[Function], Callable[..., list[np.ndarray]]], list[Any], list[np.ndarray]]] = {
    "gradients": (DERIVATIVES.gradients, [WEIGHTS], GRADIENTS),
    "hessian_products": (DERIVATIVES.hessian_products, [WEIGHTS, DIRECTIONS], PRODUCTS),
}


@pytest.mark.parametrize("name", METHODS)
def test_derivatives_are_those_found_by_hand(name: str) -> None:
    method, arguments, expected = METHODS[name]
    before = [array.copy() for array in WEIGHTS]
    found = method(function)(*arguments, [FACTORS], X, ROWS)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours) is np.ndarray and ours.dtype == theirs.dtype and ours.flags.writeable
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        ours += 1  # no array is shared with the next call
    for ours, theirs in zip(method(function)(*arguments, [FACTORS], X, ROWS), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    for array, old in zip(WEIGHTS, before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.skipif(EAGER, reason="it runs eagerly, and traces nothing")
@pytest.mark.parametrize("name", METHODS)
def test_a_function_is_traced_again_for_other_shapes_alone(name: str) -> None:
    method, arguments, _ = METHODS[name]
    traces = []

    def counted(*given: Any) -> Any:
        traces.append(given)
        return function(*given)

    compiled = method(counted)
    assert not traces
    compiled(*arguments, [FACTORS], X, ROWS)
    once = len(traces)
    compiled(*([2 * array for array in part] for part in arguments), [FACTORS + 1], X + 1, ROWS[::-1].copy())
    assert len(traces) == once >= 1
    compiled(*arguments, [FACTORS], X[:4], ROWS)
    assert len(traces) == 2 * once
