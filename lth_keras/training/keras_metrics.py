"""Any Keras metric as what an evaluation measures: its state goes from batch to batch as values."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from lth_keras.backends.losses import has_several, with_axis_of
from lth_keras.training.metrics import Judged

_SHORT = {"mean_absolute_error": "mae", "r2_score": "r2"}
_LABELS = {"mae": "mean absolute error", "r2": "R2", "auc": "AUC"}
_AVERAGES = [f"{what}_{over}" for what in ("precision", "recall", "f1") for over in ("macro", "micro")]
_TAKEN = ("loss", "confusion", "counts", "micro_f1", *_AVERAGES)


class StatefulMetric:
    """A Keras metric, its variables' values being the state.

    It is built by the labels that `tell` is given, and never again: programs compute with values.

    Args:
        metric: a name as Keras' `compile` takes it or `r2`, a Keras metric, or a function (y, outputs) -> numbers, one
            for each example.
        output_shape: of the model.

    Attributes:
        name, label, direction, units: as of `Metric`, like the functions.

    Raises:
        ValueError: for an unknown name, one that stands for something else in files, and `keras.metrics.Accuracy`.
        TypeError: for what is no metric.
    """

    of_examples = None
    judged: Judged | None = None

    def __init__(self, metric: Any, output_shape: tuple[int | None, ...]) -> None:
        self._metric = _resolved(metric)
        self._shape = output_shape
        self.name = identifier(self._metric)
        self.label = _LABELS.get(self.name, self.name.replace("_", " "))
        direction = getattr(self._metric, "_direction", None)
        self.direction = {"up": "higher", "down": "lower"}.get(str(direction), "both")
        self.units = "1" if _is_share(self._metric) else "label unit" if self.name == "mae" else "value"
        self._start: list[np.ndarray] = []
        self._told = False

    def tell(self, y: np.ndarray) -> None:
        """Labels that it will meet, which build it.

        Raises:
            ValueError: where it does not take such labels and outputs.
        """
        if self._told:
            return
        outputs = np.zeros((1, *(size or 1 for size in self._sizes(y))), np.float32)
        try:
            if has_several(self._shape):
                outputs[..., 0] = 1.0  # probabilities, too
            self._metric.update_state(*self._pair(*map(keras.ops.convert_to_tensor, (y[:1], outputs))))
            self._metric.result()
        except Exception as error:  # Keras raises errors of many kinds
            raise ValueError(
                f"Expected a metric that takes labels of shape {y.shape} and outputs of shape {self._shape}. "
                f"Received: {self.name}, which says: {error}"
            ) from error
        self._metric.reset_state()
        self._start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in self._metric.variables]
        self._told = True

    def start(self) -> tuple[Any, ...]:
        """The state before the first batch."""
        if not self._told:
            raise RuntimeError(f"Expected labels before {self.name} is computed. Received: none; load data first.")
        return tuple(keras.ops.convert_to_tensor(value) for value in self._start)

    def update(self, state: Any, y: Any, outputs: Any) -> tuple[Any, ...]:
        """The state after a batch."""
        return tuple(self._metric.stateless_update_state(list(state), *self._pair(y, outputs)))

    def value(self, state: Any, examples: int) -> Any:
        """The metric, float32: the mean of those of classes or targets, where it has one for each."""
        result = keras.ops.cast(self._metric.stateless_result(list(state)), "float32")
        return keras.ops.mean(result) if len(result.shape) else result

    def _pair(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        return with_axis_of(outputs, y), outputs

    def _sizes(self, y: np.ndarray) -> list[int | None]:
        known = list(self._shape[1:])
        return [size if size is not None else (y.shape[i + 1] if i + 1 < y.ndim else 1) for i, size in enumerate(known)]


def identifier(metric: keras.Metric) -> str:
    """A metric's name in snake case, without the count that Keras adds where it made the name up.

    Raises:
        ValueError: for a name that stands for something else in files.
    """
    own = re.sub(r"[^0-9a-zA-Z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric.name)).strip("_").lower()
    plain = re.sub(r"_\d+$", "", own)
    made_up = plain.replace("_", "") == type(metric).__name__.lower()
    name = _SHORT.get(plain if made_up else own, plain if made_up else own)
    named_wrongly = name == "accuracy" and "Accuracy" not in type(metric).__name__
    if not name or name[0].isdigit() or name in _TAKEN or named_wrongly or type(metric) is keras.metrics.Accuracy:
        raise ValueError(
            "Expected a metric whose name stands for nothing else in files, and not keras.metrics.Accuracy, which asks "
            f"whether outputs equal labels: metric='accuracy' is the share of right predictions. Received: {metric}."
        )
    return name


def _resolved(metric: Any) -> keras.Metric:
    try:
        found = keras.metrics.get("r2_score" if metric == "r2" else metric)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected metric as 'accuracy', 'micro_f1', 'mae', 'r2', a name of Keras', a Keras metric or a function. "
            f"Received: {metric!r}."
        ) from error
    if isinstance(found, type):
        found = found()
    if isinstance(found, keras.Metric):
        return found
    if callable(found):
        return keras.metrics.MeanMetricWrapper(found, name=getattr(found, "__name__", "metric").strip("<>"))
    raise TypeError(f"Expected metric as a name, a Keras metric or a function. Received: {type(metric).__name__}.")


def _is_share(metric: keras.Metric) -> bool:
    """Whether its values are shares: of Keras' metrics those for which higher is better, but for correlations."""
    name = type(metric).__name__
    ours = any(base.__module__.startswith("keras.") and base is not keras.Metric for base in type(metric).__mro__)
    correlation = any(word in name for word in ("Similarity", "Correlation"))
    return ours and getattr(metric, "_direction", None) == "up" and not correlation
