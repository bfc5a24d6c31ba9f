"""The variables of a run that hold its metric, and how to show their values."""

from __future__ import annotations

import numpy as np
import xarray

from lth_keras.analysis.schema import MetricName, metric_of_attributes


def metric_of(dataset: xarray.Dataset) -> MetricName:
    """The metric of a run beside the loss: its name in variables, label, better direction and unit."""
    return metric_of_attributes(dataset.attrs)


def metric_name(dataset: xarray.Dataset) -> str:
    """The name of a run's metric in its variables: `accuracy`, `micro_f1`, `mae`, ..."""
    return metric_of(dataset).name


def at_early_stop(dataset: xarray.Dataset) -> str:
    """The variable of the metric at the step of least validation loss: `test_accuracy_at_early_stop`, or the like."""
    return f"test_{metric_of(dataset).name}_at_early_stop"


def at_the_end(dataset: xarray.Dataset) -> str:
    """The variable of the metric after the last step: `test_accuracy_final`, or the like."""
    return f"test_{metric_of(dataset).name}_final"


def on_split(dataset: xarray.Dataset, split: str) -> str:
    """The curve of the metric on the split `validation` or `test`."""
    return f"{split}_{metric_of(dataset).name}"


def scale_of(units: str) -> float:
    """The factor to multiply values of a unit by before showing them: 100 for shares, shown in percent, else 1."""
    return 100.0 if units == "1" else 1.0


def shown_factor(variable: xarray.DataArray) -> float:
    """`scale_of` a variable's unit."""
    return scale_of(variable.attrs.get("units", "1"))


def validated(dataset: xarray.Dataset) -> bool:
    """Whether a run has a validation split, which determines its early-stop steps."""
    return bool(np.isfinite(dataset.validation_loss.values).any())
