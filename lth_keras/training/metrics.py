"""What an evaluation measures beside the loss: accuracy; micro-F1 where an example is of any number of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

ACCURACY, MICRO_F1 = "accuracy", "micro-F1"


class Metric(NamedTuple):
    """A share of something in something that adds up over examples, so over batches too.

    Attributes:
        name: `ACCURACY` or `MICRO_F1`.
        of_examples: (y, outputs) -> what each example adds, float32 `(n, *parts)`.
        value: (sum over examples, their number) -> the metric, in [0, 1].
        parts: the shape of what one example adds.
    """

    name: str
    of_examples: Callable[[Any, Any], Any]
    value: Callable[[Any, int], Any]
    parts: tuple[int, ...]


class Counter(NamedTuple):
    """How outcomes of a test are counted by class.

    Attributes:
        field: of `Curves`, that takes the counts.
        shape: of the counts of one test.
        count_outcomes: (y, outputs) -> integers of that shape.
    """

    field: str
    shape: tuple[int, ...]
    count_outcomes: Callable[[np.ndarray, np.ndarray], np.ndarray]


def is_multi_label(loss: Any, output_shape: tuple[int | None, ...]) -> bool:
    """Whether an example is of any number of classes: several outputs, each with a binary cross-entropy of its own.

    Args:
        loss: as Keras' `compile` takes it.
        output_shape: of the model, classes last.
    """
    losses = keras.losses
    function, several = losses.get(loss), (output_shape[-1] or 0) > 1
    binary = isinstance(function, losses.BinaryCrossentropy | losses.BinaryFocalCrossentropy)
    return several and (binary or function in (losses.binary_crossentropy, losses.binary_focal_crossentropy))


def make_metric(loss: Any, output_shape: tuple[int | None, ...]) -> Metric:
    """The metric of a model with this loss.

    Accuracy is the one that Keras' `metrics=["accuracy"]` stands for, per example, mean over its positions where the
    outputs have positions. Micro-F1, of multi-label tasks, is 2 TP / (2 TP + FP + FN), counted over all examples and
    classes, where outputs above 0.5 (logits above 0) are predictions; 0 where there is nothing to count.
    """
    if not is_multi_label(loss, output_shape):
        return Metric(ACCURACY, lambda y, outputs: _accuracy(y, outputs, output_shape), lambda sums, n: sums / n, ())
    threshold = _threshold(loss)
    return Metric(MICRO_F1, lambda y, outputs: _found_and_due(y, outputs, threshold), _f1, (2,))


def make_counter(loss: Any, output_shape: tuple[int | None, ...]) -> Counter:
    """Counts confusion matrices; for multi-label tasks true positives, false positives and false negatives."""
    classes = output_shape[-1]
    assert classes is not None
    if not is_multi_label(loss, output_shape):
        return Counter("test_confusion", (classes, classes), lambda y, out: confusion_matrix(y, out, classes))
    threshold = _threshold(loss)
    return Counter("test_counts", (classes, 3), lambda y, outputs: class_counts(y, outputs, threshold))


def confusion_matrix(y: np.ndarray, outputs: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (row) was taken for each class (column): integers `(classes, classes)`.

    Args:
        y: class indices, `(n,)` or `(n, 1)`.
        outputs: `(n, classes)`; the highest is the prediction, the first of several.
        classes: number of classes.
    """
    pairs = np.reshape(y, -1).astype(np.int64) * classes + outputs.argmax(axis=-1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_counts(y: np.ndarray, outputs: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """True positives, false positives and false negatives of each class: integers `(classes, 3)`.

    Args:
        y: `(..., classes)`, 1 for an example's classes and 0 for the others.
        outputs: of the same shape.
        threshold: outputs above it are predictions.
    """
    true, predicted = (np.reshape(array, (-1, array.shape[-1])) for array in (y > 0.5, outputs > threshold))
    return np.stack([(true & predicted).sum(0), (~true & predicted).sum(0), (true & ~predicted).sum(0)], axis=-1)


def _accuracy(y: Any, outputs: Any, output_shape: tuple[int | None, ...]) -> Any:
    correct = keras.ops.cast(_accuracy_function(y, output_shape)(y, outputs), "float32")
    positions = tuple(range(1, len(correct.shape)))
    return keras.ops.mean(correct, axis=positions) if positions else correct


def _accuracy_function(y: Any, output_shape: tuple[int | None, ...]) -> Any:
    if output_shape[-1] == 1:
        return lambda y, outputs: keras.metrics.binary_accuracy(with_axis_of(outputs, y), outputs)
    if len(y.shape) < len(output_shape) or y.shape[-1] == 1:
        return keras.metrics.sparse_categorical_accuracy
    return keras.metrics.categorical_accuracy


def _found_and_due(y: Any, outputs: Any, threshold: float) -> Any:
    """2 TP, and 2 TP + FP + FN, of each example: twice what is right, and what is predicted or true."""
    ops = keras.ops
    true, predicted = (ops.cast(part, "float32") for part in (y > 0.5, outputs > threshold))
    places = tuple(range(1, len(outputs.shape)))
    return ops.stack([ops.sum(2 * true * predicted, axis=places), ops.sum(true + predicted, axis=places)], axis=-1)


def _f1(sums: Any, examples: int) -> Any:
    """From numbers of classes: where none is true or predicted, the numerator is 0 too."""
    return sums[0] / keras.ops.maximum(sums[1], 1.0)


def _threshold(loss: Any) -> float:
    return 0.0 if getattr(keras.losses.get(loss), "from_logits", False) else 0.5


def with_axis_of(outputs: Any, y: Any) -> Any:
    """Labels of shape (n,) as (n, 1), where the outputs have that shape: as Keras' `fit` takes them."""
    if len(y.shape) == len(outputs.shape) - 1 and outputs.shape[-1] == 1:
        return keras.ops.expand_dims(y, -1)
    return y
