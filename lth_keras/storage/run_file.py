"""run.h5: all levels of all trials and branches as one xarray Dataset, readable by any HDF5 tool."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray

from lth_keras.analysis import (
    BRANCH_ORDER,
    COMMENTS,
    COUNT_AXES,
    DENSE,
    MEANING,
    NO_VALIDATION,
    OUTCOMES,
    curves_of,
    metric_attributes,
    metric_of,
    scalars_of,
    version_of,
)
from lth_keras.storage import atomic, checksum, unsealed
from lth_keras.storage.arrays import Variable, gathered
from lth_keras.storage.containment import contained
from lth_keras.storage.counts import count_variables, gathered_counts
from lth_keras.storage.distribution_files import distribution_variables
from lth_keras.storage.facts import Facts, document_variables
from lth_keras.storage.levels import DamagedFile, LevelResult, LevelSummary
from lth_keras.storage.older import check_version, newest

RUN_FILE = "run.h5"
NO_FACTS = Facts()
_AXES = ("trial", "branch", "level")


def assemble(
    results: Iterable[LevelResult | LevelSummary],
    *,
    experiment: str,
    config: Mapping[str, Any],
    versions: Mapping[str, str],
    created: str,
    facts: Facts = NO_FACTS,
) -> xarray.Dataset:
    """One Dataset from finished levels in any order. docs/results.md lists variables and units.

    The dense level 0 is copied into every branch that has none of its own; if there is no branch, into
    "winning_ticket". Unfinished levels are NaN. `results` may be a generator: one level is in memory at a time.

    Args:
        results: Finished levels of one experiment.
        experiment: Its name.
        config: Its parameters, JSON values.
        versions: Version of each package.
        created: ISO 8601 time.
        facts: Optional content beside the levels.

    Returns:
        Variables of `scalars_of(metric)` (trial, branch, level) float64, of `curves_of(metric)` (trial, branch, level,
        step) float32, and `weight_density` (trial, branch, level, weight) float64. Where a level has confusion
        matrices, `test_confusion` (trial, branch, level, step, true, predicted) int32, -1 where not evaluated, or for
        multi-label tasks `test_counts` (trial, branch, level, step, label, outcome); and precision, recall and F1
        (trial, branch, level, step) float32.

    Raises:
        ValueError: There are no results, or results of different models.
    """
    rows = [result if isinstance(result, LevelSummary) else result.summary() for result in results]
    if not rows:
        raise ValueError("Expected: at least one finished level. Received: none; train one first")
    weights = list(rows[0].densities)
    for row in rows:
        if set(row.densities) != set(weights):
            raise ValueError(
                f"Expected: levels of one model, with weights {sorted(weights)}. Received: "
                f"{sorted(row.densities)} at seed {row.seed}, {row.branch!r}, level {row.level}"
            )
    metrics = {row.metric for row in rows}
    if len(metrics) > 1:
        raise ValueError(f"Expected: levels with one metric. Received: {sorted(metric.label for metric in metrics)}")
    metric = metrics.pop()
    trials = sorted({row.seed for row in rows})
    found = {row.branch for row in rows} - {DENSE} or {BRANCH_ORDER[0]}
    branches = [branch for branch in BRANCH_ORDER if branch in found] + sorted(found - set(BRANCH_ORDER))
    own = {row.branch for row in rows if row.level == 0} - {DENSE}
    levels = range(max(row.level for row in rows) + 1)
    steps = np.unique(np.concatenate([row.step for row in rows])).astype(np.int64)

    shape = (len(trials), len(branches), len(levels))
    of_scalars, of_curves = scalars_of(metric), curves_of(metric)
    in_steps = (*shape, len(steps))
    at = [
        [
            (trials.index(row.seed), branches.index(branch), row.level)
            for branch in branches
            if (branch not in own if row.branch == DENSE else branch == row.branch)
        ]
        for row in rows
    ]
    at_steps = [
        [(*index, np.searchsorted(steps, row.step)) for index in indices] for row, indices in zip(rows, at, strict=True)
    ]
    densities = gathered([[row.densities[key] for key in weights] for row in rows], at, (*shape, len(weights)))
    counts = gathered_counts(rows, at_steps, in_steps)
    variables: dict[str, Variable] = {}
    for name, meaning in of_scalars.items():
        variables[name] = _AXES, gathered([row.scalars[name] for row in rows], at, shape), meaning
    for name, meaning in of_curves.items():
        values = gathered([row.curves[name] for row in rows], at_steps, in_steps, np.float32)
        variables[name] = (*_AXES, "step"), values, meaning
    variables["weight_density"] = (*_AXES, "weight"), densities, MEANING["weight_density"]
    if np.isnan(variables["validation_loss"][1]).all():
        for name in ("early_stop_step", f"test_{metric.name}_at_early_stop"):
            variables[name][2]["comment"] = NO_VALIDATION
    coordinates = {
        "trial": np.asarray(trials, np.int64),
        "branch": np.asarray(branches, object),  # objects become variable-length UTF-8
        "level": np.asarray(levels, np.int64),
        "step": steps,
        "weight": np.asarray(weights, object),
    }
    for name, of_all in counts.items():
        variables |= count_variables(name, of_all, (*_AXES, "step"))
        classes = np.arange(of_all.shape[-2], dtype=np.int64)
        outcomes = np.asarray(OUTCOMES, object)
        coordinates |= {axis: outcomes if axis == "outcome" else classes for axis in COUNT_AXES[name]}
    if metric.name in COMMENTS:
        for name in [name for name in (*of_scalars, *of_curves) if metric.name in name]:
            attributes = variables[name][2]
            attributes["comment"] = "; ".join([COMMENTS[metric.name], *filter(None, [attributes.get("comment")])])
    dataset = xarray.Dataset(
        variables,
        {name: (name, values, MEANING[name]) for name, values in coordinates.items()},
        {
            "schema_version": version_of(metric),
            **metric_attributes(metric),
            "experiment": experiment,
            "config": json.dumps(dict(config), sort_keys=True, ensure_ascii=False),
            "versions": json.dumps(dict(versions), sort_keys=True, ensure_ascii=False),
            "created": created,
            "own_dense": json.dumps(sorted(own)),
        },
    )
    dataset = dataset.merge(distribution_variables(rows, dataset, at), combine_attrs="override")
    return _with_facts(dataset, rows, facts)


def _with_facts(dataset: xarray.Dataset, rows: list[LevelSummary], facts: Facts) -> xarray.Dataset:
    """Adds facts that figures need: those that levels recorded, else `facts`."""
    weights = [str(weight) for weight in dataset.weight.values]
    sizes = np.array([rows[0].sizes[weight] for weight in weights], np.int64)
    dataset = dataset.assign_coords(size=("weight", sizes, MEANING["size"]))
    kinds = {**facts.kinds, **{key: kind for row in rows for key, kind in row.kinds.items()}}
    if set(weights) <= set(kinds):
        along = np.asarray([kinds[weight] for weight in weights], object)
        dataset = dataset.assign_coords(kind=("weight", along, MEANING["kind"]))
    recorded = {row.steps_per_epoch for row in rows} - {None} or {facts.steps_per_epoch}
    if recorded != {None} and len(recorded) == 1:  # variants may differ in it
        dataset.attrs["steps_per_epoch"] = recorded.pop()
    if facts.documents is not None:
        dataset = dataset.merge(document_variables(facts.documents), combine_attrs="override")
    return dataset


def write_run(path: str | os.PathLike[str], dataset: xarray.Dataset) -> None:
    """Write `dataset` to `path` atomically, as HDF5 (netCDF 4).

    Raises:
        OSError: It could not be written; an earlier file at `path` is intact.
    """
    packed = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding = dict.fromkeys(dataset.data_vars, packed)
    image = dataset.assign_attrs({checksum.MARK: "sha256"}).to_netcdf(engine="h5netcdf", encoding=encoding)
    atomic.write_bytes(Path(path), image, checksum.trailer(image))


def open_run(path: str | os.PathLike[str]) -> xarray.Dataset:
    """The Dataset of a run, read into memory.

    Args:
        path: A run.h5, or the run directory that holds one.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It is truncated, changed, or not a run file.
        ValueError: Written by a newer version of lth_keras.
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        path = path / RUN_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"Expected: a {RUN_FILE} or a run directory that holds one. Received: {str(path)!r}, "
            "which does not exist; the command that makes the run writes it"
        )
    try:
        content = path.read_bytes()
        if not checksum.verify_bytes(content):
            unsealed.check(path)
        with h5py.File(io.BytesIO(content), "r") as file:
            for _ in contained(file):
                pass
        dataset = xarray.load_dataset(io.BytesIO(content), engine="h5netcdf")
        version = int(dataset.attrs["schema_version"])
    except (PermissionError, unsealed.NotExaminedError):
        raise
    except Exception as error:  # the reader raises many kinds of errors for a damaged file
        raise DamagedFile(
            f"Expected: a run file of lth_keras. Received: {str(path)!r}, truncated, damaged or "
            f"foreign ({type(error).__name__}: {error}); the command that made the run writes it anew, from level files"
        ) from error
    check_version(version, path)
    dataset.attrs.pop(checksum.MARK, None)  # an attribute of the file, not of the run
    dataset = newest(dataset, str(path))
    metric = metric_of(dataset)
    missing = [name for name in (*scalars_of(metric), *curves_of(metric)) if name not in dataset]
    if missing:
        raise DamagedFile(f"Expected: a run file of lth_keras. Received: {path}, without {missing}")
    return dataset
