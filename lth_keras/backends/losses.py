"""The label format and prediction threshold that a loss implies."""

from __future__ import annotations

import re
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import keras


class LossKind(Enum):
    """Formats of labels and outputs, each with the Keras losses that compare them."""

    BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
    HINGE = ("Hinge", "SquaredHinge")
    OVERLAP = ("Dice", "Tversky")
    """As the two before: a binary label for each output."""
    CATEGORICAL = ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "KLDivergence")
    """A probability for each class."""
    SPARSE = ("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy")
    """A class index."""
    REGRESSION = (
        *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError"),
        *("Huber", "LogCosh", "Poisson"),
    )
    DIRECTION = ("CosineSimilarity",)
    """A vector."""
    INCOMPARABLE = ("CTC", "Circle")
    """Labels and outputs cannot be compared."""
    OWN = ()
    """Not a loss of Keras."""


_CLASSES = {name: kind for kind in LossKind for name in kind.value}
_FUNCTIONS = {re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower(): name for name in _CLASSES}
"""The name of Keras' function of a loss -> the name of its class."""


class LossFacts(NamedTuple):
    """Properties of a loss.

    Attributes:
        name: name of Keras' class, or of the user's own function or class.
        kind: format of its labels and outputs.
        threshold: threshold of outputs for binary labels.
        ignored: the class index that a `SPARSE` loss ignores, or None.
    """

    name: str
    kind: LossKind
    threshold: float = 0.5
    ignored: int | None = None


def loss_facts(loss: Any) -> LossFacts:
    """The properties of a loss, given as to Keras' `compile`."""
    function = keras.losses.get(loss)
    options: dict[str, Any] = {}
    while isinstance(function, partial):
        options = {**function.keywords, **options}
        function = function.func
    name = _keras_name(function)
    if name is None:
        own = str(getattr(function, "name", None) or getattr(function, "__name__", None) or type(function).__name__)
        return LossFacts(own, LossKind.SPARSE if "sparse_categorical" in own else LossKind.OWN)
    kind = _CLASSES[name]
    logits = options.get("from_logits", getattr(function, "from_logits", False))
    ignored = options.get("ignore_class", getattr(function, "ignore_class", None))
    return LossFacts(
        name, kind, 0.0 if logits or kind == LossKind.HINGE else 0.5, ignored if kind == LossKind.SPARSE else None
    )


class Losses(NamedTuple):
    """The losses of several outputs; a model is trained on their weighted sum, as by Keras' `fit`.

    Attributes:
        of_outputs: a loss, given as to Keras' `compile`, for each output, in their order; None for one that has none.
        weights: of the losses.
    """

    of_outputs: tuple[Any, ...]
    weights: tuple[float, ...]


def has_several(output_shape: tuple[int | None, ...]) -> bool:
    """Whether a model has several outputs for each example, or for each position of an example."""
    return len(output_shape) > 1 and (output_shape[-1] or 0) > 1


def _keras_name(function: Any) -> str | None:
    """The name of the Keras class that a loss belongs or corresponds to; None for others."""
    for name, class_name in _FUNCTIONS.items():
        if function is getattr(keras.losses, name, None):
            return class_name
    for base in type(function).__mro__:
        if base.__module__.startswith("keras.") and base.__name__ in _CLASSES:
            return base.__name__
    return None


def with_axis_of(outputs: Any, y: Any) -> Any:
    """Labels of shape (n,) as (n, 1) if the outputs have that shape, as Keras' `fit` does."""
    if len(y.shape) == len(outputs.shape) - 1 and outputs.shape[-1] == 1:
        return keras.ops.expand_dims(y, -1)
    return y


def loss_function(loss: Any) -> Any:
    """A loss as a function (y, outputs, weights of examples) -> scalar mean.

    As in Keras' `fit`, weights multiply the losses of their examples before the mean over the number of examples.
    Floating labels for the user's own loss are converted to the type of the outputs, as Keras' losses do.

    Args:
        loss: given as to Keras' `compile`; or `Losses`, whose function takes labels and outputs as tuples.
    """
    if isinstance(loss, Losses):
        return _weighted_sum(loss)
    function = keras.losses.get(loss)
    own = loss_facts(loss).kind == LossKind.OWN

    def mean_loss(y: Any, outputs: Any, weight: Any = None) -> Any:
        y = with_axis_of(outputs, y)
        if own and "float" in keras.backend.standardize_dtype(y.dtype):
            y = keras.ops.cast(y, outputs.dtype)
        if weight is None:
            return keras.ops.mean(function(y, outputs))
        if isinstance(function, keras.losses.Loss):
            return keras.ops.mean(function(y, outputs, sample_weight=weight))
        losses = keras.ops.convert_to_tensor(function(y, outputs))
        if not losses.shape:
            raise ValueError(
                "Expected a loss that gives a number for each example, to weight them. Received: one number for all."
            )
        weight = keras.ops.reshape(keras.ops.cast(weight, losses.dtype), (-1, *[1] * (len(losses.shape) - 1)))
        return keras.ops.mean(losses * weight)

    return mean_loss


def _weighted_sum(losses: Losses) -> Any:
    functions = [None if loss is None else loss_function(loss) for loss in losses.of_outputs]

    def total(y: Any, outputs: Any, weight: Any = None) -> Any:
        parts = zip(functions, losses.weights, y, outputs, strict=True)
        of_parts = ((loss(*pair, weight), share) for loss, share, *pair in parts if loss is not None)
        return sum(keras.ops.cast(loss, "float32") * share for loss, share in of_parts)

    return total
