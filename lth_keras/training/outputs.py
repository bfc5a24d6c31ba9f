"""What is measured of a model's outputs: the metric and the counts by class of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from lth_keras.backends import Losses, output_names
from lth_keras.masking import has_graph
from lth_keras.training.metrics import Counter, make_counter, make_metric


class MetricOfOutput:
    """A metric of one of several outputs; labels and outputs are tuples.

    Args:
        metric: a result of `make_metric`, whose other attributes it has.
        place: index of the output.
    """

    def __init__(self, metric: Any, place: int) -> None:
        self._metric, self._place = metric, place

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._metric, name)

    def prepare(self, y: tuple[np.ndarray, ...]) -> None:
        """See `Metric.prepare`."""
        self._metric.prepare(y[self._place])

    def update(self, state: Any, y: tuple[Any, ...], outputs: tuple[Any, ...]) -> Any:
        """The state after a batch."""
        return self._metric.update(state, y[self._place], outputs[self._place])


def measure(model: keras.Model, loss: Any, metric: Any) -> tuple[Any, Callable[[], Counter]]:
    """The metric of a model, and a function that makes a counter of its outcomes by class.

    Args:
        model: built.
        loss: see `lth_keras.data.losses_of`.
        metric: see `make_metric`; for several outputs a dict with the name of one of them and its metric.

    Raises:
        ValueError: see `make_metric`; for several outputs if `metric` does not name one of them.
    """
    if not isinstance(loss, Losses):
        measured = _metric_of(loss, model.outputs[0], metric)
        return measured, _counting(loss, model.outputs[0], measured if metric is None else None)
    place, asked = _named(output_names(model), metric)
    own, output = loss.of_outputs[place], model.outputs[place]
    measured = _metric_of(own, output, asked)
    make = _counting(own, output, measured if asked is None else None)

    def counter() -> Counter:
        of_output = make()
        return of_output._replace(count_outcomes=lambda y, outputs: of_output.count_outcomes(y[place], outputs[place]))

    return MetricOfOutput(measured, place), counter


def _metric_of(loss: Any, output: Any, metric: Any) -> Any:
    return make_metric(loss, output.shape, metric, probabilities=_is_probability(output))


def _counting(loss: Any, output: Any, metric: Any) -> Callable[[], Counter]:
    return lambda: make_counter(loss, output.shape, metric)


def _named(names: tuple[str, ...], metric: Any) -> tuple[int, Any]:
    if isinstance(metric, Mapping) and len(metric) == 1:
        ((name, asked),) = metric.items()
        if names.count(name) == 1:
            return names.index(name), asked
    raise ValueError(
        f"Expected metric={{output: metric}} for a model with several outputs, with the name of the output to measure, "
        f"one of {', '.join(map(repr, names))}, and a metric, or None for that of the output's loss. "
        f"Received: {metric!r}."
    )


def _is_probability(output: Any) -> bool:
    """Whether an output comes from a sigmoid or softmax."""
    layer, _, place = output._keras_history
    if isinstance(layer, keras.Model) and has_graph(layer):
        return _is_probability(layer.outputs[place])
    if isinstance(layer, keras.layers.Softmax):
        return True
    named = (keras.activations.sigmoid, keras.activations.hard_sigmoid, keras.activations.softmax)
    return getattr(layer, "activation", None) in named
