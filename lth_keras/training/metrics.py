"""What an evaluation measures beside the loss: accuracy, micro-F1, mean absolute error, or a Keras metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends.losses import (
    BINARY,
    CATEGORICAL,
    DIRECTION,
    HINGE,
    OVERLAP,
    OWN,
    REGRESSION,
    SPARSE,
    has_several,
    told_by,
    with_axis_of,
)

ACCURACY, MICRO_F1, MAE, COSINE = "accuracy", "micro_f1", "mae", "cosine_similarity"
BOTH = "both"


class Metric(NamedTuple):
    """What is measured of outputs and labels, batch by batch, with a state that goes from one to the next.

    Attributes:
        name: an identifier, `M` of `test_M` in files.
        label: for people.
        direction: `higher` or `lower` is better; `both` where neither is.
        units: "1" for shares, which are shown in percent.
        start: () -> the state before the first batch: a tensor, or several.
        update: (state, y, outputs) -> the state after a batch.
        value: (state, number of examples) -> the metric.
        of_examples: (y, outputs) -> what each example adds to the state, float32 `(n, *parts)`, where that is all there
            is to an update; else None.
        judged: how outcomes are counted by class; None where nothing is classified.
    """

    name: str
    label: str
    direction: str
    units: str
    start: Callable[[], Any]
    update: Callable[[Any, Any, Any], Any]
    value: Callable[[Any, int], Any]
    of_examples: Callable[[Any, Any], Any] | None = None
    judged: Judged | None = None

    def tell(self, y: np.ndarray) -> None:
        """Labels that it will meet: nothing depends on them."""


class Judged(NamedTuple):
    """How outputs are predictions: each above `threshold` (None: the highest of all); of how many classes each."""

    threshold: float | None
    multi_label: bool = False


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


class ToldByLabels:
    """The metric of a loss that is the user's own: labels tell what it is, so there is none before `tell`.

    Args:
        loss: what it is called in errors.
        output_shape: of the model.
        probabilities: whether the outputs are: the model ends in a sigmoid or softmax.
        wanted: `accuracy` or `micro_f1`, where that is asked for; None goes by labels and outputs.
    """

    def __init__(
        self, loss: str, output_shape: tuple[int | None, ...], probabilities: bool, wanted: str | None = None
    ) -> None:
        self._loss, self._shape, self._probabilities, self._wanted = loss, output_shape, probabilities, wanted
        self._metric: Metric | None = None

    def tell(self, y: np.ndarray) -> None:
        """Labels of a trial, from which it is told.

        Raises:
            ValueError: where it cannot be, or is another than for labels before.
        """
        metric = self._told(y)
        if self._metric is not None and metric.name != self._metric.name:
            raise ValueError(
                f"Expected labels of one form in all trials. Received: some whose metric is {self._metric.label}, and "
                f"some whose metric is {metric.label}. Give metric=, such as metric='accuracy'."
            )
        self._metric = self._metric or metric

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self._metric is None:
            raise AttributeError(f"{name}: the metric of the loss {self._loss} is told by labels; load data first.")
        return getattr(self._metric, name)

    def _told(self, y: np.ndarray) -> Metric:
        wanted, several = self._wanted, has_several(self._shape)
        if several and _is_index(y.shape, len(self._shape)):
            if wanted == MICRO_F1 or not (np.equal(np.mod(y, 1), 0).all() and 0 <= y.min() <= y.max() < self._classes):
                self._cannot(y)
            return _accuracy_of(self._shape, Judged(None))
        if y.ndim not in (len(self._shape), len(self._shape) - 1) or not _same_axes(y.shape, self._shape):
            self._cannot(y)
        zeros_and_ones = bool(((y == 0) | (y == 1)).all())
        if several and zeros_and_ones and wanted != MICRO_F1 and bool((y.sum(-1) == 1).all()):
            return _accuracy_of(self._shape, Judged(None))
        signs = bool(((y == -1) | (y == 1)).all()) and not zeros_and_ones
        if zeros_and_ones or signs:
            if zeros_and_ones and not self._probabilities:
                self._cannot(y, "which can be logits or probabilities: give metric=keras.metrics.BinaryAccuracy with ")
            judged = Judged(0.5 if zeros_and_ones else 0.0, multi_label=several)
            return _micro_f1(judged) if several else _accuracy_of(self._shape, judged)
        if wanted is not None:
            self._cannot(y)
        return _mean_absolute_error()

    @property
    def _classes(self) -> int:
        return int(self._shape[-1] or 0)

    def _cannot(self, y: np.ndarray, why: str = "") -> None:
        more = f"{why}the threshold that is meant" if why else "give metric=, such as 'mae' or any Keras metric"
        raise ValueError(
            f"Expected labels and outputs that tell what to measure beside the loss {self._loss}"
            f"{f' ({self._wanted} is asked for)' if self._wanted else ''}. Received: labels of shape {y.shape} with "
            f"values from {y.min()} to {y.max()}, and outputs of shape {self._shape}; {more}."
        )


def make_metric(
    loss: Any, output_shape: tuple[int | None, ...], metric: Any = None, *, probabilities: bool = False
) -> Any:
    """The metric of a model with this loss.

    | loss | outputs | metric |
    | --- | --- | --- |
    | binary cross-entropy, focal | one, or one a position | accuracy: above 0.5, of logits above 0 |
    | the same, Dice, Tversky | several | micro-F1, 2 TP / (2 TP + FP + FN), at the same thresholds |
    | hinge, squared hinge | one; several | accuracy; micro-F1: above 0, for labels -1 and 1 or 0 and 1 |
    | (sparse) categorical losses, KL divergence | several | accuracy: the highest output is the class |
    | squared, absolute and percentage errors, Huber, log-cosh, Poisson | any | mean absolute error |
    | cosine similarity | several | cosine similarity |
    | the user's own | any | told by labels and outputs, see `ToldByLabels` |

    Where the outputs have positions, accuracy is the mean over them; `ignore_class` leaves positions out. Micro-F1 is 0
    where there is nothing to count.

    Args:
        loss: as Keras' `compile` takes it.
        output_shape: of the model.
        metric: another one, by name (`accuracy`, `micro_f1`, `mae`, `r2` or as Keras' `compile` takes it), a Keras
            metric, or a function (y, outputs) -> a number for each example; None for the table.
        probabilities: whether the model ends in a sigmoid or softmax.

    Raises:
        ValueError: where nothing can be measured, or the metric is not known.
    """
    if metric is not None:
        return _asked(loss, output_shape, metric, probabilities)
    told, several = told_by(loss), has_several(output_shape)
    if told.kind == OWN:
        return ToldByLabels(told.name, output_shape, probabilities)
    if told.kind in (BINARY, HINGE, OVERLAP):
        judged = Judged(told.threshold, multi_label=several)
        return _micro_f1(judged) if several else _accuracy_of(output_shape, judged)
    if told.kind == CATEGORICAL and not several:
        raise ValueError(
            f"Expected several outputs with {told.name}, one for each class. Received: outputs of shape "
            f"{output_shape}; for two classes and one output use binary_crossentropy."
        )
    if told.kind in (CATEGORICAL, SPARSE):
        return _accuracy_of(output_shape, Judged(None), told.ignored)
    if told.kind == REGRESSION:
        return _mean_absolute_error()
    if told.kind == DIRECTION:
        return _cosine_similarity()
    raise ValueError(
        f"Expected metric=, what to measure beside the loss {told.name}, as labels and outputs cannot be compared. "
        "Received: none; give a Keras metric or a function (y, outputs) -> a number for each example."
    )


def make_counter(loss: Any, output_shape: tuple[int | None, ...], metric: Any = None) -> Counter:
    """Counts confusion matrices; for multi-label tasks true positives, false positives and false negatives.

    Args:
        loss: as Keras' `compile` takes it.
        output_shape: of the model.
        metric: as `make_metric` gives it without another one being asked for; None makes it.

    Raises:
        ValueError: where nothing is classified, or every position of an example.
    """
    metric = make_metric(loss, output_shape) if metric is None else metric
    judged = metric.judged
    if judged is None:
        raise ValueError(
            f"Expected confusion=False with the loss {told_by(loss).name}, whose metric is {metric.label}: nothing is "
            "classified that outcomes could be counted of. Received: confusion=True."
        )
    if judged.multi_label:
        classes, threshold = output_shape[-1], judged.threshold
        assert classes is not None and threshold is not None
        return Counter("test_counts", (classes, 3), lambda y, outputs: class_counts(y, outputs, threshold))
    if len(output_shape) > 2:
        raise ValueError(
            "Expected confusion=False where every position of an example has a label. Received: confusion=True, and "
            f"outputs of shape {output_shape}."
        )
    if judged.threshold is not None:
        threshold = judged.threshold
        return Counter("test_confusion", (2, 2), lambda y, outputs: binary_confusion(y, outputs, threshold))
    classes, ignored = output_shape[-1], told_by(loss).ignored
    assert classes is not None
    return Counter(
        "test_confusion", (classes, classes), lambda y, outputs: confusion_matrix(y, outputs, classes, ignored)
    )


def binary_confusion(y: np.ndarray, outputs: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """How often no (0) and yes (1), rows, were taken for no and yes, columns: integers `(2, 2)`.

    Args:
        y: `(n,)` or `(n, 1)`; above 0.5 means yes, so 0 and 1 or -1 and 1.
        outputs: `(n, 1)` or `(n,)`; above `threshold` means yes.
        threshold: see `outputs`.
    """
    pairs = 2 * (np.reshape(y, -1) > 0.5).astype(np.int64) + (np.reshape(outputs, -1) > threshold)
    return np.bincount(pairs, minlength=4).reshape(2, 2)


def confusion_matrix(y: np.ndarray, outputs: np.ndarray, classes: int, ignored: int | None = None) -> np.ndarray:
    """How often each class (row) was taken for each class (column): integers `(classes, classes)`.

    Args:
        y: class indices, `(n,)` or `(n, 1)`; or of each class its share, `(n, classes)`.
        outputs: `(n, classes)`; the highest is the prediction, the first of several.
        classes: number of classes.
        ignored: an index that stands for none of them: examples that have it do not count.
    """
    true = y.argmax(axis=-1) if y.ndim == 2 and y.shape[1] == classes > 1 else np.reshape(y, -1)
    pairs = true.astype(np.int64) * classes + outputs.argmax(axis=-1)
    pairs = pairs if ignored is None else pairs[true != ignored]
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


def _summed(
    name: str,
    label: str,
    of_examples: Callable[[Any, Any], Any],
    value: Callable[[Any, int], Any],
    parts: tuple[int, ...] = (),
    *,
    direction: str = "higher",
    units: str = "1",
    judged: Judged | None = None,
) -> Metric:
    """A metric whose state is the sum of what examples add, float32 of shape `parts`."""

    def update(state: Any, y: Any, outputs: Any) -> Any:
        return state + keras.ops.sum(of_examples(y, outputs), axis=0)

    def start() -> Any:
        return keras.ops.zeros(parts, "float32")

    return Metric(name, label, direction, units, start, update, value, of_examples, judged)


def _mean(sums: Any, examples: int) -> Any:
    return sums / examples


def _accuracy_of(output_shape: tuple[int | None, ...], judged: Judged, ignored: int | None = None) -> Metric:
    def right(y: Any, outputs: Any) -> Any:
        if judged.threshold is not None:
            return _decided_right(with_axis_of(outputs, y), outputs, judged.threshold)
        by_index = _is_index(y.shape, len(output_shape))
        metrics = keras.metrics
        function = metrics.sparse_categorical_accuracy if by_index else metrics.categorical_accuracy
        return keras.ops.cast(function(y, outputs), "float32")

    def of_examples(y: Any, outputs: Any) -> Any:
        correct = right(y, outputs)
        positions = tuple(range(1, len(correct.shape)))
        return keras.ops.mean(correct, axis=positions) if positions else correct

    def of_counted(y: Any, outputs: Any) -> Any:
        ops, correct = keras.ops, right(y, outputs)
        counts = ops.cast(ops.reshape(y, ops.shape(correct)) != ignored, "float32")
        positions = tuple(range(1, len(correct.shape)))
        return ops.stack([ops.sum(part, axis=positions) for part in (correct * counts, counts)], axis=-1)

    if ignored is not None:
        return _summed(ACCURACY, ACCURACY, of_counted, _share, (2,), judged=judged)
    return _summed(ACCURACY, ACCURACY, of_examples, _mean, judged=judged)


def _decided_right(y: Any, outputs: Any, threshold: float) -> Any:
    """Whether yes or no is right, float32, without the last axis, which has one entry."""
    right = keras.ops.cast(_is_yes(y) == (outputs > threshold), "float32")
    return keras.ops.squeeze(right, -1) if len(right.shape) > 1 and right.shape[-1] == 1 else right


def _micro_f1(judged: Judged) -> Metric:
    threshold = judged.threshold
    assert threshold is not None
    return _summed(
        MICRO_F1, "micro-F1", lambda y, outputs: _found_and_due(y, outputs, threshold), _share, (2,), judged=judged
    )


def _found_and_due(y: Any, outputs: Any, threshold: float) -> Any:
    """2 TP, and 2 TP + FP + FN, of each example: twice what is right, and what is predicted or true."""
    ops = keras.ops
    true, predicted = (ops.cast(part, "float32") for part in (_is_yes(y), outputs > threshold))
    places = tuple(range(1, len(outputs.shape)))
    return ops.stack([ops.sum(2 * true * predicted, axis=places), ops.sum(true + predicted, axis=places)], axis=-1)


def _is_yes(y: Any) -> Any:
    return keras.ops.cast(y, "float32") > 0.5


def _share(sums: Any, examples: int) -> Any:
    """The first of two sums in the second, of numbers of things: where the second is 0, the first is too."""
    return sums[0] / keras.ops.maximum(sums[1], 1.0)


def _mean_absolute_error() -> Metric:
    def of_examples(y: Any, outputs: Any) -> Any:
        y, outputs = (keras.ops.cast(part, "float32") for part in (with_axis_of(outputs, y), outputs))
        return _mean_of_example(keras.ops.abs(y - outputs))

    return _summed(MAE, "mean absolute error", of_examples, _mean, direction="lower", units="label unit")


def _cosine_similarity() -> Metric:
    def of_examples(y: Any, outputs: Any) -> Any:
        ops = keras.ops
        y, outputs = (ops.normalize(ops.cast(part, "float32"), axis=-1) for part in (with_axis_of(outputs, y), outputs))
        return _mean_of_example(ops.sum(y * outputs, axis=-1))

    return _summed(COSINE, "cosine similarity", of_examples, _mean, units="value")


def _mean_of_example(values: Any) -> Any:
    places = tuple(range(1, len(values.shape)))
    return keras.ops.mean(values, axis=places) if places else values


def _is_index(shape: tuple[int, ...], output_axes: int) -> bool:
    """Whether labels of this shape are class indices, beside several outputs with so many axes."""
    return len(shape) == output_axes - 1 or (len(shape) == output_axes and shape[-1] == 1)


def _same_axes(shape: tuple[int, ...], output_shape: tuple[int | None, ...]) -> bool:
    """Whether labels have the outputs' shape, but for a last axis of one entry."""
    wanted = output_shape[:-1] if len(shape) < len(output_shape) and output_shape[-1] == 1 else output_shape
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape[1:], wanted[1:], strict=True))


def _asked(loss: Any, output_shape: tuple[int | None, ...], metric: Any, probabilities: bool) -> Any:
    """The metric that is asked for."""
    if isinstance(metric, str) and metric in ("accuracy", "acc", MICRO_F1):
        wanted = MICRO_F1 if metric == MICRO_F1 else ACCURACY
        if told_by(loss).kind not in (REGRESSION, DIRECTION, OWN):
            found = make_metric(loss, output_shape)
            if found.name == wanted:
                return found
        return ToldByLabels(told_by(loss).name, output_shape, probabilities, wanted)
    if metric == MAE:
        return _mean_absolute_error()
    from lth_keras.training.keras_metrics import StatefulMetric

    return StatefulMetric(metric, output_shape)
