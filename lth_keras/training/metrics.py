"""The metric of an evaluation: accuracy, micro-F1, mean absolute error or a Keras metric."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends import LossKind, has_several, loss_facts, with_axis_of

ACCURACY, MICRO_F1, MAE = "accuracy", "micro_f1", "mae"


class Metric(NamedTuple):
    """A metric as pure functions, with a state that is passed from batch to batch: a sum over examples.

    Attributes:
        name: an identifier, `M` of `test_M` in files.
        label: a label for figures and tables.
        of_examples: (y, outputs) -> each example's summand, float32 `(n,)`; for a ratio two, `(n, 2)`. None in other
            metrics, whose state is not a sum.
        decision: the decision rule for counts by class; None for tasks without classes.
        ratio: whether the metric is the ratio of two sums of counts, instead of a mean over examples.
        direction: `higher` or `lower` is better; `both` if neither is.
        units: "1" for shares, which are shown in percent.
    """

    name: str
    label: str
    of_examples: Callable[[Any, Any], Any]
    decision: Decision | None = None
    ratio: bool = False
    direction: str = "higher"
    units: str = "1"

    def prepare(self, y: np.ndarray) -> None:
        """Does nothing; other metrics depend on the labels."""

    def start(self) -> Any:
        """The state before the first batch: a tensor, or several."""
        return keras.ops.zeros((2,) if self.ratio else (), "float32")

    def update(self, state: Any, y: Any, outputs: Any) -> Any:
        """The state after a batch."""
        return state + keras.ops.sum(self.of_examples(y, outputs), axis=0)

    def value(self, state: Any, examples: int) -> Any:
        """The metric after this number of examples; a ratio of zeros is 0."""
        return state[0] / keras.ops.maximum(state[1], 1.0) if self.ratio else state / examples


class Decision(NamedTuple):
    """How outputs become predictions: all outputs above `threshold`, or the highest output if it is None."""

    threshold: float | None
    multi_label: bool = False


class Counter(NamedTuple):
    """Counts outcomes of a test by class.

    Attributes:
        field: the field of `Curves` for the counts.
        shape: shape of the counts of one test.
        count_outcomes: (y, outputs) -> integers of that shape.
    """

    field: str
    shape: tuple[int, ...]
    count_outcomes: Callable[[np.ndarray, np.ndarray], np.ndarray]


class MetricByLabels:
    """The metric for the user's own loss. It is chosen by the labels, so it is undefined before `prepare`.

    Args:
        loss: name of the loss for errors.
        output_shape: the model's output shape.
        probabilities: whether the model ends in a sigmoid or softmax.
        wanted: `accuracy` or `micro_f1` if requested; None chooses by labels and outputs.
    """

    def __init__(
        self, loss: str, output_shape: tuple[int | None, ...], probabilities: bool, wanted: str | None = None
    ) -> None:
        self._loss, self._shape, self._probabilities, self._wanted = loss, output_shape, probabilities, wanted
        self._metric: Metric | None = None

    def prepare(self, y: np.ndarray) -> None:
        """Chooses the metric by a trial's labels.

        Raises:
            ValueError: if the labels do not determine a metric, or earlier labels determined another one.
        """
        metric = self._chosen(y)
        if self._metric is not None and metric.name != self._metric.name:
            raise ValueError(
                "Expected labels of the same format in all trials. Received: labels for "
                f"{self._metric.label} and labels for {metric.label}. Pass metric=, such as metric='accuracy'."
            )
        self._metric = self._metric or metric

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self._metric is None:
            raise AttributeError(f"{name}: the metric of the loss {self._loss} depends on the labels; load data first.")
        return getattr(self._metric, name)

    def _chosen(self, y: np.ndarray) -> Metric:
        wanted, several = self._wanted, has_several(self._shape)
        if several and _is_index(y.shape, len(self._shape)):
            if wanted == MICRO_F1 or not (np.equal(np.mod(y, 1), 0).all() and 0 <= y.min() <= y.max() < self._classes):
                self._cannot(y)
            return _accuracy_of(self._shape, Decision(None))
        if y.ndim not in (len(self._shape), len(self._shape) - 1) or not _same_axes(y.shape, self._shape):
            self._cannot(y)
        zeros_and_ones = bool(((y == 0) | (y == 1)).all())
        if several and zeros_and_ones and wanted != MICRO_F1 and bool((y.sum(-1) == 1).all()):
            return _accuracy_of(self._shape, Decision(None))
        signs = bool(((y == -1) | (y == 1)).all()) and not zeros_and_ones
        if zeros_and_ones or signs:
            if zeros_and_ones and not self._probabilities:
                self._cannot(y, "which can be logits or probabilities: pass metric=keras.metrics.BinaryAccuracy with ")
            decision = Decision(0.5 if zeros_and_ones else 0.0, multi_label=several)
            return _micro_f1(decision) if several else _accuracy_of(self._shape, decision)
        if wanted is not None:
            self._cannot(y)
        return _mean_absolute_error()

    @property
    def _classes(self) -> int:
        return int(self._shape[-1] or 0)

    def _cannot(self, y: np.ndarray, why: str = "") -> None:
        more = f"{why}its threshold" if why else "pass metric=, such as 'mae' or any Keras metric"
        raise ValueError(
            f"Expected labels and outputs that determine the metric of the loss {self._loss}"
            f"{f' (requested: {self._wanted})' if self._wanted else ''}. Received: labels of shape {y.shape} with "
            f"values from {y.min()} to {y.max()}, and outputs of shape {self._shape}; {more}."
        )


def make_metric(
    loss: Any, output_shape: tuple[int | None, ...], metric: Any = None, *, probabilities: bool = False
) -> Any:
    """The metric of a model with this loss.

    | loss | outputs | metric |
    | --- | --- | --- |
    | binary cross-entropy, focal | one, or one per position | accuracy at threshold 0.5, or 0 for logits |
    | the same, Dice, Tversky | several | micro-F1, 2 TP / (2 TP + FP + FN), at the same thresholds |
    | hinge, squared hinge | one; several | accuracy; micro-F1, at threshold 0, for labels -1 and 1 or 0 and 1 |
    | (sparse) categorical losses, KL divergence | several | accuracy: the highest output is the class |
    | squared, absolute and percentage errors, Huber, log-cosh, Poisson | any | mean absolute error |
    | cosine similarity | several | cosine similarity |
    | the user's own | any | depends on labels and outputs, see `MetricByLabels` |

    For outputs with positions, accuracy is the mean over positions without those of `ignore_class`. Micro-F1 of empty
    counts is 0.

    Args:
        loss: see Keras' `compile`.
        output_shape: the model's output shape.
        metric: a metric instead of the table's: a name (`accuracy`, `micro_f1`, `mae`, `r2` or Keras'), a Keras metric,
            or a function (y, outputs) -> a number for each example.
        probabilities: whether the model ends in a sigmoid or softmax.

    Raises:
        ValueError: if the loss has no metric, or the metric is unknown.
    """
    if metric is not None:
        return _asked(loss, output_shape, metric, probabilities)
    facts, several = loss_facts(loss), has_several(output_shape)
    if facts.kind == LossKind.OWN:
        return MetricByLabels(facts.name, output_shape, probabilities)
    if facts.kind in (LossKind.BINARY, LossKind.HINGE, LossKind.OVERLAP):
        decision = Decision(facts.threshold, multi_label=several)
        return _micro_f1(decision) if several else _accuracy_of(output_shape, decision)
    if facts.kind == LossKind.CATEGORICAL and not several:
        raise ValueError(
            f"Expected several outputs with {facts.name}, one for each class. Received: outputs of shape "
            f"{output_shape}; for two classes and one output use binary_crossentropy."
        )
    if facts.kind in (LossKind.CATEGORICAL, LossKind.SPARSE):
        return _accuracy_of(output_shape, Decision(None), facts.ignored)
    if facts.kind == LossKind.REGRESSION:
        return _mean_absolute_error()
    if facts.kind == LossKind.DIRECTION:
        return _cosine_similarity()
    raise ValueError(
        f"Expected metric= with the loss {facts.name}, whose labels and outputs cannot be compared. "
        "Received: none; pass a Keras metric or a function (y, outputs) -> a number for each example."
    )


def make_counter(loss: Any, output_shape: tuple[int | None, ...], metric: Any = None) -> Counter:
    """Counts confusion matrices; for multi-label tasks true positives, false positives and false negatives.

    Args:
        loss: see Keras' `compile`.
        output_shape: the model's output shape.
        metric: the result of `make_metric` without its argument `metric`; None makes it.

    Raises:
        ValueError: for tasks without classes, and with a class for every position of an example.
    """
    metric = make_metric(loss, output_shape) if metric is None else metric
    decision = metric.decision
    if decision is None:
        raise ValueError(
            f"Expected confusion=False with the loss {loss_facts(loss).name}, whose metric is {metric.label}, since "
            "there are no classes to count. Received: confusion=True."
        )
    if decision.multi_label:
        classes, threshold = output_shape[-1], decision.threshold
        assert classes is not None and threshold is not None
        return Counter("test_counts", (classes, 3), lambda y, outputs: class_counts(y, outputs, threshold))
    if len(output_shape) > 2:
        raise ValueError(
            "Expected confusion=False if every position of an example has a label. Received: confusion=True and "
            f"outputs of shape {output_shape}."
        )
    classes = 2 if decision.threshold is not None else output_shape[-1]
    assert classes is not None
    options = {"ignored": loss_facts(loss).ignored, "threshold": decision.threshold}
    return Counter("test_confusion", (classes, classes), partial(confusion_matrix, classes=classes, **options))


def confusion_matrix(
    y: np.ndarray, outputs: np.ndarray, classes: int, ignored: int | None = None, threshold: float | None = None
) -> np.ndarray:
    """The confusion matrix, true classes as rows and predicted ones as columns: integers `(classes, classes)`.

    Args:
        y: class indices, `(n,)` or `(n, 1)`, or probabilities of classes, `(n, classes)`; with a threshold 0 and 1, or
            -1 and 1.
        outputs: `(n, classes)`; the highest is the prediction, the first of several. With a threshold `(n, 1)` or
            `(n,)`.
        classes: number of classes; two with a threshold.
        ignored: a label of examples to leave out.
        threshold: outputs above it are positive.
    """
    if threshold is not None:
        true, predicted = np.reshape(y, -1) > 0.5, np.reshape(outputs, -1) > threshold
    else:
        true = y.argmax(axis=-1) if y.ndim == 2 and y.shape[1] == classes > 1 else np.reshape(y, -1)
        predicted = outputs.argmax(axis=-1)
    pairs = true.astype(np.int64) * classes + predicted
    pairs = pairs if ignored is None else pairs[true != ignored]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_counts(y: np.ndarray, outputs: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """True positives, false positives and false negatives of each class: integers `(classes, 3)`.

    Args:
        y: `(..., classes)`, 1 for an example's classes and 0 for the others.
        outputs: outputs of the same shape.
        threshold: outputs above it are predictions.
    """
    true, predicted = (np.reshape(array, (-1, array.shape[-1])) for array in (y > 0.5, outputs > threshold))
    return np.stack([(true & predicted).sum(0), (~true & predicted).sum(0), (true & ~predicted).sum(0)], axis=-1)


def _accuracy_of(output_shape: tuple[int | None, ...], decision: Decision, ignored: int | None = None) -> Metric:
    threshold = decision.threshold

    def right(y: Any, outputs: Any) -> Any:
        if threshold is not None:
            correct = keras.ops.cast(_is_yes(with_axis_of(outputs, y)) == (outputs > threshold), "float32")
            return keras.ops.squeeze(correct, -1) if len(correct.shape) > 1 and correct.shape[-1] == 1 else correct
        by_index = _is_index(y.shape, len(output_shape))
        metrics = keras.metrics
        function = metrics.sparse_categorical_accuracy if by_index else metrics.categorical_accuracy
        return keras.ops.cast(function(y, outputs), "float32")

    def of_counted(y: Any, outputs: Any) -> Any:
        ops, correct = keras.ops, right(y, outputs)
        counts = ops.cast(ops.reshape(y, ops.shape(correct)) != ignored, "float32")
        positions = tuple(range(1, len(correct.shape)))
        return ops.stack([ops.sum(part, axis=positions) for part in (correct * counts, counts)], axis=-1)

    if ignored is not None:
        return Metric(ACCURACY, ACCURACY, of_counted, decision, ratio=True)
    return Metric(ACCURACY, ACCURACY, lambda y, outputs: _mean_of_example(right(y, outputs)), decision)


def _micro_f1(decision: Decision) -> Metric:
    def found_and_due(y: Any, outputs: Any) -> Any:
        """2 TP and 2 TP + FP + FN of each example."""
        ops = keras.ops
        true, predicted = (ops.cast(part, "float32") for part in (_is_yes(y), outputs > decision.threshold))
        places = tuple(range(1, len(outputs.shape)))
        return ops.stack([ops.sum(2 * true * predicted, axis=places), ops.sum(true + predicted, axis=places)], axis=-1)

    return Metric(MICRO_F1, "micro-F1", found_and_due, decision, ratio=True)


def _is_yes(y: Any) -> Any:
    return keras.ops.cast(y, "float32") > 0.5


def _mean_absolute_error() -> Metric:
    def of_examples(y: Any, outputs: Any) -> Any:
        y, outputs = (keras.ops.cast(part, "float32") for part in (with_axis_of(outputs, y), outputs))
        return _mean_of_example(keras.ops.abs(y - outputs))

    return Metric(MAE, "mean absolute error", of_examples, direction="lower", units="label unit")


def _cosine_similarity() -> Metric:
    def of_examples(y: Any, outputs: Any) -> Any:
        ops = keras.ops
        y, outputs = (ops.normalize(ops.cast(part, "float32"), axis=-1) for part in (with_axis_of(outputs, y), outputs))
        return _mean_of_example(ops.sum(y * outputs, axis=-1))

    return Metric("cosine_similarity", "cosine similarity", of_examples, units="value")


def _mean_of_example(values: Any) -> Any:
    places = tuple(range(1, len(values.shape)))
    return keras.ops.mean(values, axis=places) if places else values


def _is_index(shape: tuple[int, ...], output_axes: int) -> bool:
    """Whether labels of this shape are class indices for several outputs with this number of axes."""
    return len(shape) == output_axes - 1 or (len(shape) == output_axes and shape[-1] == 1)


def _same_axes(shape: tuple[int, ...], output_shape: tuple[int | None, ...]) -> bool:
    """Whether labels have the outputs' shape, except for a last axis of one entry."""
    wanted = output_shape[:-1] if len(shape) < len(output_shape) and output_shape[-1] == 1 else output_shape
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape[1:], wanted[1:], strict=True))


def _asked(loss: Any, output_shape: tuple[int | None, ...], metric: Any, probabilities: bool) -> Any:
    """The requested metric."""
    if isinstance(metric, str) and metric in ("accuracy", "acc", MICRO_F1):
        wanted = MICRO_F1 if metric == MICRO_F1 else ACCURACY
        if loss_facts(loss).kind not in (LossKind.REGRESSION, LossKind.DIRECTION, LossKind.OWN):
            found = make_metric(loss, output_shape)
            if found.name == wanted:
                return found
        return MetricByLabels(loss_facts(loss).name, output_shape, probabilities, wanted)
    if metric == MAE:
        return _mean_absolute_error()
    from lth_keras.training.keras_metrics import StatefulMetric

    return StatefulMetric(metric, output_shape)
