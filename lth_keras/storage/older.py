"""Converts files of older schemas to the newest. No other module knows older names and layouts."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray

from lth_keras.analysis import ACCURACY, MICRO_F1, READABLE, MetricName, metric_attributes, metric_of_attributes

_OLD_MICRO_F1 = "micro-F1"
"""The metric's name in files of the first schema, whose variables were all named accuracy."""
_ROW = re.compile(r"(?P<name>.+)_(?P<when>u|i)(?P<many>s|m)s(?P<drawn>_drawn)?")
_CRITERION = "magnitude|snip|grasp_magnitude|grasp|synflow|random"
_COMPOSITE = re.compile(rf"(?P<kind>stacked|weights|bimodal)_(?P<first>{_CRITERION})_(?P<second>{_CRITERION})")
_ALONG_BRANCHES = ("branch_criterion", "schedule", "shots", "initialise", "masks_of_drawn")


class NewerSchema(ValueError):
    """The file has a schema that this version of lth_keras does not know."""


def check_version(version: int, path: str | os.PathLike[str]) -> None:
    """Raises NewerSchema if this version of lth_keras cannot read files of the schema `version`."""
    if version not in READABLE:
        raise NewerSchema(
            f"Expected: schema_version of {READABLE}. Received: {version} in {os.fspath(path)!r}; "
            "read it with the version of lth_keras that wrote it, or a newer one"
        )


def names_of_level(attributes: Mapping[str, Any]) -> tuple[MetricName, Callable[[str], str]]:
    """The metric of a level file, and (name of a scalar or curve) -> its name in the file."""
    if str(attributes.get("metric")) != _OLD_MICRO_F1:
        return metric_of_attributes(attributes), lambda name: name
    return MICRO_F1, lambda name: name.replace(MICRO_F1.name, ACCURACY.name)


def newest(dataset: xarray.Dataset, where: str) -> xarray.Dataset:
    """Converts a run of any schema, read from the file `where`, to the newest.

    The result names the metric correctly, states which branches have their own dense network, and has the parameters
    that differ by branch as coordinates.
    """
    dataset = dataset.assign_attrs({"own_dense": "[]", **dataset.attrs})
    return _with_coordinates(_with_true_names(dataset, where))


def _with_true_names(dataset: xarray.Dataset, where: str) -> xarray.Dataset:
    """Renames variables that are called accuracy but hold another metric; their old names stay as aliases."""
    if "metric" in dataset.attrs:
        return dataset
    said = str(dataset["test_accuracy"].attrs.get("long_name", "")) if "test_accuracy" in dataset else ""
    metric = MICRO_F1 if _OLD_MICRO_F1 in said else ACCURACY
    dataset = dataset.assign_attrs(metric_attributes(metric))
    if metric == ACCURACY:
        return dataset
    old = [str(name) for name in dataset.data_vars if ACCURACY.name in str(name)]
    renamed = {name: name.replace(ACCURACY.name, metric.name) for name in old}
    warnings.warn(
        f"{where} names its {metric.label} accuracy. It is read as {', '.join(renamed.values())}; the aliases "
        f"{', '.join(old)} will be removed in the next version.",
        FutureWarning,
        stacklevel=4,
    )
    aliases = {name: dataset[name].assign_attrs(alias_of=new) for name, new in renamed.items()}
    return dataset.rename(renamed).assign(aliases)


def _with_coordinates(dataset: xarray.Dataset) -> xarray.Dataset:
    """Coordinates from names of branches with criterion and schedule, such as `weights_snip_synflow_ums_drawn`.

    In these names `u` is before training, `i` iterative, `ss` a single shot and `ms` multiple shots.
    """
    branches = [str(branch) for branch in dataset.branch.values] if "branch" in dataset.coords else []
    if "schedule" in dataset.coords or not any(map(_ROW.fullmatch, branches)):
        return dataset
    shots = float(json.loads(dataset.attrs.get("config", "{}")).get("shots", np.inf))  # unknown, but more than one
    columns = zip(*(_row(branch, shots) for branch in branches), strict=True)
    arrays = [np.asarray(column, object if isinstance(column[0], str) else float) for column in columns]
    return dataset.assign_coords(
        {name: ("branch", values) for name, values in zip(_ALONG_BRANCHES, arrays, strict=True)}
    )


def _row(branch: str, shots: float) -> tuple[str, str, float, str, float]:
    """The coordinates of a branch; those of iterative magnitude pruning for any other name."""
    match = _ROW.fullmatch(branch)
    if match is None:
        return "magnitude", "iterative", 1.0, "", 0.0
    criterion, initialise = re.sub("^learned_(.+)$", r"learned(\1.npz)", match["name"]), ""
    if composite := _COMPOSITE.fullmatch(match["name"]):
        kind, first, criterion = composite.groups()
        if kind == "stacked":
            criterion = f"stacked({first},{criterion})"
        else:
            initialise = f"{'scores_as_weights' if kind == 'weights' else kind}({first})"
    schedule = "before_training" if match["when"] == "u" else "iterative"
    return criterion, schedule, shots if match["many"] == "m" else 1.0, initialise, float(bool(match["drawn"]))
