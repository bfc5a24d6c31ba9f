"""The input of a criterion, and the type of criteria."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from lth_keras.arrays import Array, LazyArrays, Weights
from lth_keras.mask import Mask


class NetworkDerivatives(Protocol):
    """Differentiates a network on a sample of its data, at given weights and under a given mask.

    Each method takes weights by key (those of the network where a key is missing) and returns one array per prunable
    weight: zero where the weight is pruned, finite, and not all zero.

    Raises:
        ValueError: without the data, labels or loss that a method needs, or for results not finite or all zero.
    """

    def gradients(self, weights: Weights, mask: Mask) -> Weights:
        """The gradient of the mean loss."""

    def hessian_gradients(self, weights: Weights, mask: Mask, temperature: float = 1.0) -> Weights:
        """The product Hg of the mean loss' Hessian and its gradient, with the softmax' logits over a temperature."""

    def synaptic_flow(self, weights: Weights, mask: Mask) -> Weights:
        """The gradient, by the magnitude of each weight, of the linearised network's output for inputs of ones."""

    def input_norms(self, weights: Weights, mask: Mask) -> Weights:
        """The L2 norm, over examples and positions, of the inputs that each weight is multiplied with.

        Needs no loss. Arrays broadcast to the weights' shapes, and may be zero where the weight is kept.
        """


@dataclass(frozen=True)
class State:
    """A network at the end of a level's training, the input of a criterion.

    Weights may be lazy: each access makes the array anew, so access each weight once. `gradients`, `hessian_gradients`,
    `input_norms` and `synaptic_flow` are computed at first access, at the weights `final` under `mask`, and kept.

    Attributes:
        final: weight key to its values at the end of training. May hold weights that the mask
            does not have (biases); those are not scored.
        mask: the mask of this level. Its keys are the prunable weights.
        generator: random stream of the level, for criteria that draw.
        initial: weight key to its values before any training, or None if unknown.
        derivatives: differentiates the network; None without one.
        criterion: name of the criterion, for messages.
        updates: of weights with LoRA: weight key to `(a, b, scale)`, where `scale * weights[a] @ weights[b]` is added.

    Raises:
        ValueError: a prunable weight without values, or with values of another shape.
    """

    final: Weights
    mask: Mask
    generator: np.random.Generator
    initial: Weights | None = None
    derivatives: NetworkDerivatives | None = None
    criterion: str = "own"
    updates: Mapping[str, tuple[str, str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for weights in (self.final, self.initial):
            if weights is not None:
                known = weights.shapes if isinstance(weights, LazyArrays) else weights
                self.mask.check_same_weights({key: known[key] for key in self.mask if key in known})

    def value(self, key: str) -> Array:
        """A prunable weight at the end of training, with the update of LoRA."""
        return self._with_update(key, self.final)

    def initial_value(self, key: str) -> Array:
        """As `value`, before training.

        Raises:
            ValueError: as `initial_weights`.
        """
        return self._with_update(key, self.initial_weights())

    @cached_property
    def gradients(self) -> Weights:
        """The gradient of the mean loss by each prunable weight, zero where it is pruned.

        Raises:
            ValueError: without data, labels or a loss, or where a gradient is not finite or all are zero.
        """
        return self._derived(lambda derivatives: derivatives.gradients(self.final, self.mask))

    @cached_property
    def hessian_gradients(self) -> Weights:
        """The product Hg of the mean loss' Hessian and its gradient, zero where pruned; raises as `gradients`."""
        return self.hessian_gradients_at(1.0)

    def hessian_gradients_at(self, temperature: float) -> Weights:
        """As `hessian_gradients`, with the softmax' logits divided by a temperature; computed at each call."""
        return self._derived(lambda derivatives: derivatives.hessian_gradients(self.final, self.mask, temperature))

    @cached_property
    def input_norms(self) -> Weights:
        """The L2 norm of the inputs that each weight is multiplied with; broadcasts to the weight's shape.

        Raises:
            ValueError: without data, or for weights whose inputs are not known.
        """
        return self._derived(lambda derivatives: derivatives.input_norms(self.final, self.mask))

    @cached_property
    def synaptic_flow(self) -> Weights:
        """The gradient, by each |w|, of the linearised network's output for inputs of ones; takes no data.

        All values are scaled by one positive factor, so that none overflows.

        Raises:
            ValueError: where it is not finite or all zero.
        """
        return self._derived(lambda derivatives: derivatives.synaptic_flow(self.final, self.mask))

    def initial_weights(self) -> Weights:
        """The initial weights.

        Raises:
            ValueError: the state has none.
        """
        if self.initial is None:
            raise ValueError(
                f"Expected the initial weights for the criterion {self.criterion!r}: prune(..., initial=weights) with "
                "what model.get_weights() gave before training, or State(initial=...). Received: none. "
                "A search has them; of a trained model alone, 'magnitude' needs none."
            )
        return self.initial

    def _with_update(self, key: str, weights: Weights) -> Array:
        value = weights[key]
        if key not in self.updates:
            return value
        a, b, scale = self.updates[key]
        return (value + scale * np.matmul(weights[a], weights[b])).astype(value.dtype)

    def _derived(self, derive: Callable[[NetworkDerivatives], Weights]) -> Weights:
        if self.derivatives is None:
            raise ValueError(
                f"Expected a network to differentiate for the criterion {self.criterion!r}. Received: "
                "State(derivatives=None)."
            )
        try:
            return derive(self.derivatives)
        except ValueError as error:
            raise type(error)(f"Criterion {self.criterion!r}: {error}") from error


Criterion = Callable[[State], Mapping[str, Array]]
"""Scores the prunable weights: weight key to an array of the weight's shape; higher is kept.

Scores must be finite where the mask is True and are ignored where it is False. A criterion that scores each weight on
its own returns `LazyArrays`: a large model's scores then exist one weight at a time.
"""


def name_of(name_or_function: str | Criterion) -> str:
    """The name of a criterion in messages."""
    if isinstance(name_or_function, str):
        return name_or_function
    return str(getattr(name_or_function, "__name__", type(name_or_function).__name__))
