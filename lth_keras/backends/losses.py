"""The label format and prediction threshold that a loss implies."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import keras

BINARY, HINGE, OVERLAP = "binary", "hinge", "overlap"
CATEGORICAL, SPARSE = "categorical", "sparse"
REGRESSION, DIRECTION = "regression", "direction"
INCOMPARABLE, OWN = "incomparable", "own"

_CLASSES = {
    "BinaryCrossentropy": BINARY,
    "BinaryFocalCrossentropy": BINARY,
    "Hinge": HINGE,
    "SquaredHinge": HINGE,
    "Dice": OVERLAP,
    "Tversky": OVERLAP,
    "CategoricalCrossentropy": CATEGORICAL,
    "CategoricalFocalCrossentropy": CATEGORICAL,
    "CategoricalHinge": CATEGORICAL,
    "KLDivergence": CATEGORICAL,
    "SparseCategoricalCrossentropy": SPARSE,
    "CategoricalGeneralizedCrossEntropy": SPARSE,
    "MeanSquaredError": REGRESSION,
    "MeanAbsoluteError": REGRESSION,
    "MeanAbsolutePercentageError": REGRESSION,
    "MeanSquaredLogarithmicError": REGRESSION,
    "Huber": REGRESSION,
    "LogCosh": REGRESSION,
    "Poisson": REGRESSION,
    "CosineSimilarity": DIRECTION,
    "CTC": INCOMPARABLE,
    "Circle": INCOMPARABLE,
}
_FUNCTIONS = {
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "dice": "Dice",
    "tversky": "Tversky",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "categorical_hinge": "CategoricalHinge",
    "kl_divergence": "KLDivergence",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_generalized_cross_entropy": "CategoricalGeneralizedCrossEntropy",
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "poisson": "Poisson",
    "cosine_similarity": "CosineSimilarity",
    "ctc": "CTC",
    "circle": "Circle",
}


class LossFacts(NamedTuple):
    """Properties of a loss.

    Attributes:
        name: name of Keras' class, or of the user's own function or class.
        kind: format of labels and outputs: `BINARY`, `HINGE`, `OVERLAP` (a binary label for each output),
            `CATEGORICAL` (a probability for each class), `SPARSE` (a class index), `REGRESSION`, `DIRECTION` (a
            vector), `INCOMPARABLE` (Keras losses whose labels and outputs cannot be compared) or `OWN` (not Keras').
        threshold: threshold of outputs for binary labels.
        ignored: the class index that a `SPARSE` loss ignores, or None.
    """

    name: str
    kind: str
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
        return LossFacts(own, SPARSE if "sparse_categorical" in own else OWN)
    kind = _CLASSES[name]
    logits = options.get("from_logits", getattr(function, "from_logits", False))
    ignored = options.get("ignore_class", getattr(function, "ignore_class", None))
    return LossFacts(name, kind, 0.0 if logits or kind == HINGE else 0.5, ignored if kind == SPARSE else None)


def has_several(output_shape: tuple[int | None, ...]) -> bool:
    """Whether a model has several outputs for each example, or for each position of an example."""
    return len(output_shape) > 1 and (output_shape[-1] or 0) > 1


def is_multi_label(loss: Any, output_shape: tuple[int | None, ...]) -> bool:
    """Whether an example can have any number of classes: several outputs with binary labels.

    Args:
        loss: see Keras' `compile`.
        output_shape: the model's output shape, classes last.
    """
    return has_several(output_shape) and loss_facts(loss).kind in (BINARY, HINGE, OVERLAP)


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
