"""Converts files of older schemas to the newest. No other module knows older names and layouts."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray

from lth_keras.analysis import ACCURACY, MICRO_F1, MetricName, metric_of_attributes

_OLD_MICRO_F1 = "micro-F1"
"""The metric's name in files of the first schema, whose variables were all named accuracy."""
_ROW = re.compile(r"(?P<name>.+)_(?P<when>u|i)(?P<many>s|m)s(?P<drawn>_drawn)?")
_CRITERION = "magnitude|snip|grasp_magnitude|grasp|synflow|random"
_COMPOSITE = re.compile(rf"(?P<kind>stacked|weights|bimodal)_(?P<first>{_CRITERION})_(?P<second>{_CRITERION})")
_INITIALISERS = {"weights": "scores_as_weights({first})", "bimodal": "bimodal({first})"}


def metric_attributes(metric: MetricName) -> dict[str, str]:
    """The attributes that describe a metric in a file."""
    return {
        "metric": metric.name,
        "metric_label": metric.label,
        "metric_direction": metric.direction,
        "metric_units": metric.units,
    }


def names_of_level(attributes: Mapping[str, Any]) -> tuple[MetricName, Callable[[str], str]]:
    """The metric of a level file, and (name of a scalar or curve) -> its name in the file."""
    if str(attributes.get("metric")) != _OLD_MICRO_F1:
        return metric_of_attributes(attributes), lambda name: name
    return MICRO_F1, lambda name: name.replace(MICRO_F1.name, ACCURACY.name)


def newest(dataset: xarray.Dataset, where: str) -> xarray.Dataset:
    """Converts a run of any schema to the newest.

    The result names the metric correctly, states which branches have their own dense network, and has the parameters
    that differ by branch as coordinates.

    Args:
        dataset: as read from the file.
        where: the file, for the warning about aliases.
    """
    dataset = dataset.assign_attrs({"own_dense": "[]", **dataset.attrs})
    return _with_coordinates(_with_true_names(dataset, where))


def _with_true_names(dataset: xarray.Dataset, where: str) -> xarray.Dataset:
    """Renames variables that are called accuracy but hold another metric.

    The old names stay as aliases, with a warning.
    """
    if "metric" in dataset.attrs:
        return dataset
    said = str(dataset["test_accuracy"].attrs.get("long_name", "")) if "test_accuracy" in dataset else ""
    metric = MICRO_F1 if _OLD_MICRO_F1 in said else ACCURACY
    attributes = metric_attributes(metric)
    if metric == ACCURACY:
        return dataset.assign_attrs(attributes)
    old = [str(name) for name in dataset.data_vars if ACCURACY.name in str(name)]
    renamed = {name: name.replace(ACCURACY.name, metric.name) for name in old}
    warnings.warn(
        f"{where} names its {metric.label} accuracy. It is read as {', '.join(renamed.values())}; the aliases "
        f"{', '.join(old)} will be removed in the next version.",
        FutureWarning,
        stacklevel=4,
    )
    aliases = {name: dataset[name].assign_attrs(alias_of=new) for name, new in renamed.items()}
    return dataset.rename(renamed).assign(aliases).assign_attrs(attributes)


def _with_coordinates(dataset: xarray.Dataset) -> xarray.Dataset:
    """Coordinates from names of branches with criterion and schedule, such as `weights_snip_synflow_ums_drawn`.

    In these names `u` is before training, `i` iterative, `ss` a single shot and `ms` multiple shots.
    """
    branches = [str(branch) for branch in dataset.branch.values] if "branch" in dataset.coords else []
    if "schedule" in dataset.coords or not any(map(_ROW.fullmatch, branches)):
        return dataset
    shots = float(json.loads(dataset.attrs.get("config", "{}")).get("shots", np.inf))  # unknown, but more than one
    rows = [_row(branch, shots) for branch in branches]
    along = {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
    texts = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in along.items()}
    return dataset.assign_coords({name: ("branch", values) for name, values in texts.items()})


def _row(branch: str, shots: float) -> dict[str, str | float]:
    """The coordinates of a branch; those of iterative magnitude pruning for any other name."""
    match = _ROW.fullmatch(branch)
    if match is None:
        return _coordinates("magnitude", "iterative", 1.0)
    schedule = "before_training" if match["when"] == "u" else "iterative"
    many, drawn = shots if match["many"] == "m" else 1.0, float(bool(match["drawn"]))
    composite = _COMPOSITE.fullmatch(match["name"])
    if composite is None:
        name = re.sub("^learned_(.+)$", r"learned(\1.npz)", match["name"])
        return _coordinates(name, schedule, many, drawn=drawn)
    if composite["kind"] == "stacked":
        return _coordinates("stacked({first},{second})".format(**composite.groupdict()), schedule, many, drawn=drawn)
    made = _INITIALISERS[composite["kind"]].format(**composite.groupdict())
    return _coordinates(composite["second"], schedule, many, made, drawn)


def _coordinates(
    criterion: str, schedule: str, shots: float, initialise: str = "", drawn: float = 0.0
) -> dict[str, str | float]:
    return {
        "branch_criterion": criterion,
        "schedule": schedule,
        "shots": shots,
        "initialise": initialise,
        "masks_of_drawn": drawn,
    }
