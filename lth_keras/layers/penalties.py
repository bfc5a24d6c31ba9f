"""Regularisers and constraints of masked weights: a pruned weight counts in neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope


class OnMasked:
    """A regulariser or constraint that is given the masked weight."""

    def __init__(self, function: Callable[[Any], Any], mask: Any) -> None:
        self.function = function
        self.mask = mask

    def __call__(self, value: Any) -> Any:
        """The Keras function of the masked weight."""
        return self.function(ops.multiply(value, ops.cast(self.current_mask(), value.dtype)))

    def current_mask(self) -> Any:
        """The mask to use."""
        return self.mask


class RegularizerOnMasked(OnMasked, keras.regularizers.Regularizer):
    """A regulariser that is given the masked weight. Keras before 3.15 takes objects of its own class only."""


class ConstraintOnMasked(OnMasked, keras.constraints.Constraint):
    """A constraint that is given the weight under the mask of the training step that it is part of.

    On JAX a step is a pure function, and where Keras calls constraints it passes that function the variables of the
    optimiser and the trained ones only: the mask's own value would be compiled in. The layer's forward pass, in the
    same step, has read the mask that the step was given, and notes it here.
    """

    def __init__(self, function: Callable[[Any], Any], mask: Any) -> None:
        super().__init__(function, mask)
        self._noted: Any = None

    def note(self) -> None:
        """Notes the mask of the running forward pass, for the update that follows."""
        scope = get_stateless_scope()
        self._noted = None if scope is None else scope.get_current_value(self.mask)

    def current_mask(self) -> Any:
        """The mask of the running step.

        Raises:
            RuntimeError: in a pure function that was not given the mask, and has not run the layer.
        """
        scope = get_stateless_scope()
        if scope is None or scope.get_current_value(self.mask) is not None:
            return self.mask
        noted, self._noted = self._noted, None  # a traced value must not outlive its function
        if noted is None:
            raise RuntimeError(
                "Expected a constraint to be called in a step that has run its layer before. Received: no mask for "
                f"{self.mask.path!r}. Compute the gradients and apply them in one function, or give its StatelessScope "
                "the masks too."
            )
        return noted
