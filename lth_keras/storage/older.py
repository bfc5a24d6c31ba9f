"""What files say they measure, those of older schemas included: the one place that knows how they named it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import xarray

from lth_keras.analysis.schema import ACCURACY, MICRO_F1, OLD_MICRO_F1, MetricName, metric_of_attributes


def metric_attributes(metric: MetricName) -> dict[str, str]:
    """A metric as attributes of a file."""
    return {
        "metric": metric.name,
        "metric_label": metric.label,
        "metric_direction": metric.direction,
        "metric_units": metric.units,
    }


def names_of_level(attributes: Mapping[str, Any]) -> tuple[MetricName, Callable[[str], str]]:
    """The metric of a level file, and (name of a number or curve) -> the name that the file has it under."""
    metric = metric_of_attributes(attributes)
    if str(attributes.get("metric", ACCURACY.name)) != OLD_MICRO_F1:
        return metric, lambda name: name
    return metric, lambda name: name.replace(metric.name, ACCURACY.name)


def with_true_names(dataset: xarray.Dataset, where: str) -> xarray.Dataset:
    """A run as `open_run` gives it: what is called accuracy and is something else has its true name.

    The old names stay, as aliases of the same numbers, and a warning says so.

    Args:
        dataset: as it is in the file.
        where: the file, for the warning.
    """
    if "metric" in dataset.attrs:
        return dataset
    said = str(dataset["test_accuracy"].attrs.get("long_name", "")) if "test_accuracy" in dataset else ""
    metric = MICRO_F1 if OLD_MICRO_F1 in said else ACCURACY
    attributes = metric_attributes(metric)
    if metric == ACCURACY:
        return dataset.assign_attrs(attributes)
    old = [str(name) for name in dataset.data_vars if ACCURACY.name in str(name)]
    renamed = {name: name.replace(ACCURACY.name, metric.name) for name in old}
    warnings.warn(
        f"{where} calls its {metric.label} accuracy. It is {', '.join(renamed.values())} here; {', '.join(old)} are "
        "aliases that go with the next version.",
        FutureWarning,
        stacklevel=3,
    )
    aliases = {name: dataset[name].assign_attrs(alias_of=new) for name, new in renamed.items()}
    return dataset.rename(renamed).assign(aliases).assign_attrs(attributes)
