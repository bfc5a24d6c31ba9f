"""A model's gradients, Hessian products and synaptic flow by weight key, for criteria."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.arrays import Weights
from lth_keras.backends import Differentiator, not_followed
from lth_keras.mask import Mask
from lth_keras.masking import prunable_weights, variables

Sample = Callable[[], tuple[Any, Any]]
"""() -> examples and their labels, each an array, or a tuple of arrays for several inputs or outputs."""


class NothingPassesError(ValueError):
    """A derivative that is zero for every weight: nothing passes through the network."""


class ModelDerivatives:
    """Differentiates a masked model on a sample of data, at given weights and under a given mask.

    The model is not changed. Each derivative is compiled at its first use, once for all weights and masks. The model
    runs in inference mode, without regularisation terms (see `backends.Differentiator`).

    Args:
        model: built, with masked layers.
        loss: see `lth_keras.data.losses_of`.

    Example:
        >>> derivatives = ModelDerivatives(model, "sparse_categorical_crossentropy").on(lambda: (x, y))
        >>> State(weights, mask, generator, derivatives=derivatives).gradients["dense/kernel"]
    """

    def __init__(self, model: keras.Model, loss: Any = None) -> None:
        self._model, self._loss = model, loss
        self._prunable = prunable_weights(model)
        self._keys = {id(variable): key for key, variable in variables(model).items()}
        self._masks = {id(weight.mask): weight.key for weight in self._prunable}
        self._differentiator = Differentiator(model, self._prunable, loss)
        self._sample: Sample | None = None

    def on(self, sample: Sample) -> ModelDerivatives:
        """A copy that takes examples and their labels from `sample()`. Both share compiled functions."""
        bound = copy.copy(self)
        bound._sample = sample
        return bound

    @property
    def traces(self) -> int:
        """How often a function was traced, and so compiled."""
        return self._differentiator.traces

    def gradients(self, weights: Weights, mask: Mask) -> Weights:
        """The gradient of the mean loss by each prunable weight.

        Args:
            weights: weights by key; missing ones are those of the model.
            mask: the mask to apply.

        Raises:
            ValueError: without data or loss, or where a gradient is not finite, or all of those kept are zero.

        Warns:
            UserWarning: naming layers whose gradient is zero, others' not.
        """
        x, y = self._examples()
        return self._checked(self._differentiator.gradients(*self._values(weights, mask), x, y), mask, "gradient")

    def hessian_gradients(self, weights: Weights, mask: Mask, temperature: float = 1.0) -> Weights:
        """The product of the mean loss' Hessian and its gradient; arguments and errors as `gradients`.

        Args:
            weights: as `gradients`.
            mask: as `gradients`.
            temperature: what the softmax' logits are divided by; losses other than categorical cross-entropy have none.
        """
        x, y = self._examples()
        found = self._differentiator.hessian_gradients(*self._values(weights, mask), x, y, temperature)
        return self._checked(found, mask, "Hessian-gradient product")

    def synaptic_flow(self, weights: Weights, mask: Mask) -> Weights:
        """The gradient of the linearised model's total output, for inputs of ones, by each weight's magnitude.

        Arguments and errors as `gradients`. Data is needed only for inputs whose shape is not fixed. Errors and the
        warning name layers that are not known to be linear.
        """
        shapes = self._input_shapes()
        found = self._differentiator.synaptic_flow(*self._values(weights, mask), shapes)
        return self._checked(found, mask, "synaptic flow", not_followed(self._model))

    def input_norms(self, weights: Weights, mask: Mask) -> Weights:
        """The L2 norm of the inputs that each prunable weight is multiplied with, over examples and positions.

        Args:
            weights: as `gradients`.
            mask: as `gradients`.

        Raises:
            ValueError: without data, naming weights whose inputs are not known, or where a norm is not finite.
        """
        if self._sample is None:
            raise ValueError("Expected data=(x, y), as this criterion takes activations. Received: no data.")
        squares = self._differentiator.input_squares(*self._values(weights, mask), self._sample()[0])
        norms = {w.key: np.sqrt(array).astype(np.float32) for w, array in zip(self._prunable, squares, strict=True)}
        broken = [key for key, array in norms.items() if not np.isfinite(array).all()]
        if broken:
            raise ValueError(f"Expected finite activations. Received: NaN or infinity at {', '.join(broken)}.")
        return norms

    def _examples(self) -> tuple[Any, Any]:
        if self._sample is None or self._loss is None:
            missing = " and ".join(
                name for name, value in (("data", self._sample), ("loss", self._loss)) if value is None
            )
            raise ValueError(
                "Expected data=(x, y), examples and their labels, and a loss, as this criterion takes gradients. "
                f"Received: no {missing}."
            )
        return self._sample()

    def _values(self, weights: Weights, mask: Mask) -> tuple[list[np.ndarray], list[Any]]:
        """The values of the prunable weights, and of the model's other variables."""
        return [weights[weight.key] for weight in self._prunable], [
            self._value(variable, weights, mask) for variable in self._differentiator.others
        ]

    def _value(self, variable: Any, weights: Weights, mask: Mask) -> Any:
        if id(variable) in self._masks:
            return mask[self._masks[id(variable)]]
        key = self._keys.get(id(variable), "")
        return weights[key] if key in weights else keras.ops.convert_to_numpy(variable)

    def _input_shapes(self) -> list[tuple[int, ...]]:
        inputs = getattr(self._model, "inputs", None)
        if inputs is None:
            raise ValueError(
                "Expected a Sequential or Functional model, whose inputs are known. Received: "
                f"{type(self._model).__name__} {self._model.name!r}."
            )
        shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
        if not any(size is None for shape in shapes for size in shape):
            return shapes
        if self._sample is None:
            raise ValueError(
                f"Expected inputs of fixed shape, or data that show one. Received: a model with inputs {shapes}."
            )
        x = self._sample()[0]
        return [tuple(array.shape[1:]) for array in (x if isinstance(x, tuple) else (x,))]

    def _checked(self, arrays: list[np.ndarray], mask: Mask, what: str, not_followed: Sequence[str] = ()) -> Weights:
        found = dict(zip((weight.key for weight in self._prunable), arrays, strict=True))
        broken = [key for key, array in found.items() if not np.isfinite(array).all()]
        through = f"; it cannot be followed through {', '.join(not_followed)}" if not_followed else ""
        if broken:
            cause = through or "; are the weights and the data finite, and of a size that the loss takes?"
            raise ValueError(f"Expected a finite {what}. Received: NaN or infinity in {', '.join(broken)}{cause}")
        left = [key for key, array in mask.items() if array.any()]
        zero = [key for key in left if not found[key].any()]
        expected = (
            f"Expected a {what} that differs between weights. Received: zero for all weights of {', '.join(zero)}"
        )
        if zero == left and not_followed:
            raise ValueError(f"{expected}{through}. Use another criterion for such a model.")
        if zero == left:
            raise NothingPassesError(
                f"{expected}; nothing passes through the network: its units are dead or saturated, or it is cut "
                "through."
            )
        if zero:
            warnings.warn(
                f"The {what} is zero for all weights of {', '.join(zero)}: they are ranked at random{through}.",
                stacklevel=2,
            )
        return found
