"""Derivatives of models for criteria: gradients, Hessian products and synaptic flow, as functions of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import keras
import numpy as np

from lth_keras.backends.backend import backend
from lth_keras.backends.inputs import squares_of_inputs
from lth_keras.backends.linearised import linearised, ones_for
from lth_keras.backends.losses import Losses, loss_function
from lth_keras.backends.several import as_called, count, each, in_order, rows

EXAMPLES = 250
"""The most examples in one forward and backward pass; larger batches are computed in parts."""
LEAST_PROBABILITY = 1e-18
"""Lower bound of probabilities before their logarithm, whose second derivative must be finite in float32."""

Arrays = list[np.ndarray]


Function = Callable[..., Any]
"""`(weights, others, *data) -> scalar tensor`; weights and others are lists of the backend's tensors."""


class Derivatives(Protocol):
    """The protocol of a backend's module `<backend>_derivatives`, which differentiates functions.

    Each method takes a function written in `keras.ops` and returns a compiled one, which is traced at its first call
    and for arguments of new shapes or dtypes; on PyTorch it runs at every call. The compiled function takes numpy
    arrays, does not change them, and returns a new writeable array of each weight's shape and dtype; zeros for weights
    that the function does not read.
    """

    def gradients(self, function: Function) -> Callable[..., Arrays]:
        """Differentiates a function by its weights.

        Args:
            function: see `Function`.

        Returns:
            `(weights, others, *data) -> ` the gradient by each weight.
        """

    def hessian_products(self, function: Function) -> Callable[..., Arrays]:
        """Differentiates a function by its weights twice.

        Args:
            function: see `Function`.

        Returns:
            `(weights, directions, others, *data) -> ` the product of the Hessian and the directions, by weight; the
            directions are arrays of the weights' shapes.
        """


class Differentiator:
    """Derivatives of one model as compiled functions of the values of all its variables, including masks.

    Calls do not change the model. Each function is compiled at its first call, once for each batch size, for all masks.
    The model runs in inference mode, without dropout and with moving statistics in batch normalisation, and without
    regularisation terms. Layers in float16 or bfloat16 run in float32, since gradients and their products would
    underflow.

    Args:
        model: a built Keras model with masked layers.
        prunable: its prunable weights, with the attributes `layer`, `variable` and `mask`.
        loss: see `loss_function`; None if only synaptic flow is needed.

    Attributes:
        others: the model's variables that are not prunable, including masks, in the order of the arguments `others`.
        traces: number of compilations; on PyTorch, which runs eagerly, of calls.
    """

    def __init__(self, model: keras.Model, prunable: Sequence[Any], loss: Any = None) -> None:
        self._backend, self._model, self._loss = backend().derivatives, model, loss
        self._prunable = list(prunable)
        self._weights = [weight.variable for weight in prunable]
        own = {id(variable) for variable in self._weights}
        self.others = [variable for variable in model.variables if id(variable) not in own]
        self._compiled: dict[Any, Callable[..., Arrays]] = {}
        self.traces = 0

    def gradients(self, weights: Arrays, others: Arrays, x: Any, y: Any, temperature: float = 1.0) -> Arrays:
        """The gradient of the mean loss with respect to each prunable weight; zero for pruned weights.

        Args:
            weights: values of the prunable weights, in their order.
            others: values of `self.others`.
            x: examples, `(n, ...)`, or a tuple of several inputs.
            y: their labels.
            temperature: divisor of the softmax' logits; ignored for losses other than categorical cross-entropy.
        """
        compiled = self._function(("gradient", temperature), self._backend.gradients, self._mean_loss(temperature))
        return _mean(lambda *part: compiled(list(map(_wide, weights)), others, *part), x, y)

    def hessian_gradients(self, weights: Arrays, others: Arrays, x: Any, y: Any, temperature: float = 1.0) -> Arrays:
        """The product Hg of the Hessian and gradient of the mean loss; arguments as `gradients`."""
        gradient = self.gradients(weights, others, x, y, temperature)
        compiled = self._function(
            ("product", temperature), self._backend.hessian_products, self._mean_loss(temperature)
        )
        return _mean(lambda *part: compiled(list(map(_wide, weights)), gradient, others, *part), x, y)

    def synaptic_flow(self, weights: Arrays, others: Arrays, shapes: Sequence[tuple[int, ...]]) -> Arrays:
        """The gradient of the linearised network's total output for inputs of ones, with respect to weight magnitudes.

        Times |w| it is the synaptic flow of Tanaka et al. (2020), arXiv:2006.05467. `linearised` explains the
        linearisation. All gradients are scaled by one positive factor, so that none overflows.

        Args:
            weights: see `gradients`.
            others: values of `self.others`.
            shapes: shape of one example for each of the model's inputs.
        """

        def flow(weights: list[Any], others: list[Any]) -> Any:
            self.traces += 1
            values = [_linear_value(variable, value) for variable, value in zip(self.others, others, strict=True)]
            with self._with(weights, values), in_float32(self._model), linearised(self._model, self._prunable):
                outputs = self._model(as_called(self._model, ones_for(self._model, shapes)), training=False)
                return sum(keras.ops.sum(keras.ops.cast(part, "float32")) for part in keras.tree.flatten(outputs))

        compiled = self._function(("flow", tuple(shapes)), self._backend.gradients, flow)
        return compiled([np.abs(weight) for weight in map(_wide, weights)], others)

    def input_squares(self, weights: Arrays, others: Arrays, x: Any) -> Arrays:
        """The sum of squares of the inputs of each weight over all examples and positions; see `squares_of_inputs`."""
        wide, total = list(map(_wide, weights)), None
        for start in range(0, count(x), EXAMPLES):
            with self._with(wide, others), in_float32(self._model):
                part = each(keras.ops.convert_to_tensor, rows(x, slice(start, start + EXAMPLES)))
                part = as_called(self._model, part)
                found = squares_of_inputs(self._prunable, lambda part=part: self._model(part, training=False))  # type: ignore[misc]
            total = found if total is None else [one + other for one, other in zip(total, found, strict=True)]
        assert total is not None
        return total

    def _mean_loss(self, temperature: float) -> Callable[..., Any]:
        loss = loss_function(self._loss)

        def mean_loss(weights: list[Any], others: list[Any], x: Any, y: Any) -> Any:
            self.traces += 1
            with self._with(weights, others), in_float32(self._model):
                outputs = in_order(self._model(as_called(self._model, x), training=False))
                return keras.ops.cast(loss(y, tempered(self._loss, outputs, temperature)), "float32")

        return mean_loss

    def _function(
        self, key: Any, compile_derivative: Callable[[Function], Callable[..., Arrays]], function: Function
    ) -> Callable[..., Arrays]:
        if key not in self._compiled:
            self._compiled[key] = compile_derivative(function)
        return self._compiled[key]

    def _with(self, weights: list[Any], others: list[Any]) -> keras.StatelessScope:
        """A context in which the model's variables have these values."""
        pairs = [*zip(self._weights, weights, strict=True), *zip(self.others, others, strict=True)]
        scope = keras.StatelessScope(state_mapping=pairs)
        for variable, value in pairs:
            if variable.dtype in NARROW:  # a scope would round values and gradients to this type
                scope.state_mapping[id(variable)] = keras.ops.cast(value, "float32")
        return scope


NARROW = ("float16", "bfloat16")
"""Types whose range or precision is too small for derivatives."""


@contextmanager
def in_float32(model: keras.Model) -> Iterator[None]:
    """A context in which the model's layers in float16 or bfloat16 compute in float32.

    Quantised layers stay unchanged, since the type is part of their quantisation.
    """
    changed: list[tuple[Any, Any]] = []
    try:
        for layer in model._flatten_layers():
            if layer.quantization_mode is None and layer.compute_dtype in NARROW:
                changed.append((layer, vars(layer)["_dtype_policy"]))
                policy = keras.DTypePolicy("float32")
                policy._variable_dtype = layer.variable_dtype  # so that Keras casts narrow values
                vars(layer)["_dtype_policy"] = policy
        yield
    finally:
        for layer, policy in changed:
            vars(layer)["_dtype_policy"] = policy


def _wide(weight: np.ndarray) -> np.ndarray:
    """The weight in float32 if its type is narrower."""
    return weight.astype(np.float32) if weight.dtype.name in NARROW else weight


def tempered(loss: Any, outputs: Any, temperature: float) -> Any:
    """The outputs with the softmax' logits divided by a temperature; unchanged if the loss has no softmax.

    For probabilities p this is `softmax(log(p) / temperature)`, since the logits are log(p) plus a constant.
    """
    if isinstance(loss, Losses):
        return each(lambda one, of_one: tempered(one, of_one, temperature), loss.of_outputs, outputs)
    function = keras.losses.get(loss)
    name = str(getattr(function, "name", None) or getattr(function, "__name__", ""))
    if temperature == 1 or "categorical_crossentropy" not in name:
        return outputs
    if getattr(function, "from_logits", False):
        return outputs / temperature
    logarithm = keras.ops.log(keras.ops.maximum(outputs, LEAST_PROBABILITY))
    return keras.ops.softmax(logarithm / temperature, axis=-1)


def _linear_value(variable: Any, value: Any) -> Any:
    """The value of a variable that is not prunable in the linearised network: zero offsets, positive factors."""
    if not np.issubdtype(keras.backend.standardize_dtype(variable.dtype), np.floating):
        return value  # masks and states of random generators
    if variable.name in ("bias", "beta", "moving_mean", "mean"):
        return keras.ops.zeros_like(value)
    return keras.ops.abs(value)


def _mean(function: Callable[[Any, Any], Arrays], x: Any, y: Any) -> Arrays:
    """The mean over all examples of a function that returns means over a part."""
    examples = count(x)
    if examples <= EXAMPLES:
        return function(x, y)
    total: Arrays = []
    for start in range(0, examples, EXAMPLES):
        part = slice(start, min(start + EXAMPLES, examples))
        share = (part.stop - start) / examples
        found = function(rows(x, part), rows(y, part))
        total = [np.zeros_like(array) for array in found] if not total else total
        for sum_so_far, array in zip(total, found, strict=True):
            sum_so_far += share * array
    return total
