"""Keras metrics as pure functions whose state is passed from batch to batch."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from lth_keras.backends import has_several, with_axis_of
from lth_keras.training.metrics import Decision

_SHORT = {"mean_absolute_error": "mae", "r2_score": "r2"}
_LABELS = {"mae": "mean absolute error", "r2": "R2", "auc": "AUC"}
_AVERAGES = [f"{what}_{over}" for what in ("precision", "recall", "f1") for over in ("macro", "micro")]
_TAKEN = ("loss", "confusion", "counts", "micro_f1", *_AVERAGES)


class StatefulMetric:
    """A Keras metric as pure functions; its state is the values of its variables.

    `prepare` builds it once for the labels.

    Args:
        metric: a name known to Keras' `compile` or `r2`, a Keras metric, or a function (y, outputs) -> a number for
            each example.
        output_shape: the model's output shape.

    Attributes:
        name, label, direction, units: see `Metric`, also for the methods.

    Raises:
        ValueError: for an unknown name, a name with another meaning in files, and `keras.metrics.Accuracy`.
        TypeError: for a value of another type.
    """

    of_examples = None
    decision: Decision | None = None

    def __init__(self, metric: Any, output_shape: tuple[int | None, ...]) -> None:
        self._metric = _resolved(metric)
        self._shape = output_shape
        self.name = identifier(self._metric)
        self.label = _LABELS.get(self.name, self.name.replace("_", " "))
        direction = getattr(self._metric, "_direction", None)
        self.direction = {"up": "higher", "down": "lower"}.get(str(direction), "both")
        self.units = "1" if _is_share(self._metric) else "label unit" if self.name == "mae" else "value"
        self._start: list[np.ndarray] = []
        self._prepared = False

    def prepare(self, y: np.ndarray) -> None:
        """Builds the metric for these labels.

        Raises:
            ValueError: if it does not support such labels and outputs.
        """
        if self._prepared:
            return
        of_labels = [*y.shape[1:], *[1] * len(self._shape)]  # for sizes that the model leaves open
        sizes = [own or known for own, known in zip(self._shape[1:], of_labels, strict=False)]
        outputs = np.zeros((1, *(size or 1 for size in sizes)), np.float32)
        try:
            if has_several(self._shape):
                outputs[..., 0] = 1.0  # valid as probabilities, too
            self._metric.update_state(*self._pair(*map(keras.ops.convert_to_tensor, (y[:1], outputs))))
            self._metric.result()
        except Exception as error:  # Keras raises errors of many kinds
            raise ValueError(
                f"Expected a metric for labels of shape {y.shape} and outputs of shape {self._shape}. "
                f"Received: {self.name}, which raises: {error}"
            ) from error
        self._metric.reset_state()
        self._start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in self._metric.variables]
        self._prepared = True

    def start(self) -> tuple[Any, ...]:
        """The state before the first batch."""
        if not self._prepared:
            raise RuntimeError(f"Expected labels before {self.name} is computed. Received: none; load data first.")
        return tuple(keras.ops.convert_to_tensor(value) for value in self._start)

    def update(self, state: Any, y: Any, outputs: Any) -> tuple[Any, ...]:
        """The state after a batch."""
        return tuple(self._metric.stateless_update_state(list(state), *self._pair(y, outputs)))

    def value(self, state: Any, examples: int) -> Any:
        """The metric, float32; the mean over classes or targets if it has a value for each."""
        result = keras.ops.cast(self._metric.stateless_result(list(state)), "float32")
        return keras.ops.mean(result) if len(result.shape) else result

    def _pair(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        return with_axis_of(outputs, y), outputs


def identifier(metric: keras.Metric) -> str:
    """A metric's name in snake case, without the count of a name that Keras generated.

    Raises:
        ValueError: for a name with another meaning in files.
    """
    own = re.sub(r"[^0-9a-zA-Z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric.name)).strip("_").lower()
    plain = re.sub(r"_\d+$", "", own)
    made_up = plain.replace("_", "") == type(metric).__name__.lower()
    name = _SHORT.get(plain if made_up else own, plain if made_up else own)
    named_wrongly = name == "accuracy" and "Accuracy" not in type(metric).__name__
    if not name or name[0].isdigit() or name in _TAKEN or named_wrongly or type(metric) is keras.metrics.Accuracy:
        raise ValueError(
            "Expected a metric whose name has no other meaning in files, and not keras.metrics.Accuracy, which tests "
            f"whether outputs equal labels (metric='accuracy' is the share of right predictions). Received: {metric}."
        )
    return name


def _resolved(metric: Any) -> keras.Metric:
    try:
        found = keras.metrics.get("r2_score" if metric == "r2" else metric)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected metric to be 'accuracy', 'micro_f1', 'mae', 'r2', a Keras metric or its name, or a function. "
            f"Received: {metric!r}."
        ) from error
    if isinstance(found, type):
        found = found()
    if isinstance(found, keras.Metric):
        return found
    if callable(found):
        return keras.metrics.MeanMetricWrapper(found, name=getattr(found, "__name__", "metric").strip("<>"))
    raise TypeError(f"Expected metric to be a name, a Keras metric or a function. Received: {type(metric).__name__}.")


def _is_share(metric: keras.Metric) -> bool:
    """Whether its values are shares: Keras metrics whose higher values are better, except correlations."""
    name = type(metric).__name__
    ours = any(base.__module__.startswith("keras.") and base is not keras.Metric for base in type(metric).__mro__)
    correlation = any(word in name for word in ("Similarity", "Correlation"))
    return ours and getattr(metric, "_direction", None) == "up" and not correlation
