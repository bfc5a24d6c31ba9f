"""Distributions in level files and in run.h5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import xarray

from lth_keras.analysis import MEANING, QUANTILES, SIGNS, Distribution, Distributions
from lth_keras.storage.arrays import gathered, ordered, write_array

_GROUP = "distributions"
WEIGHTS = ("initial", "final")


def write_distributions(file: h5py.File, found: Distributions) -> None:
    """Write `found` into a level file, unless it is empty."""
    if not found.weights and not found.scores:
        return
    group = file.create_group(_GROUP)
    for name, by_weight in found.weights.items():
        _write(group.create_group(f"weights/{name}"), by_weight)
    for position, (name, by_weight) in enumerate(found.scores.items()):  # a name may hold a path
        of_one = group.create_group(f"scores/{position}")
        of_one.attrs["criterion"] = name
        _write(of_one, by_weight)
    if found.correlations is not None:
        write_array(group, "correlations", np.asarray(found.correlations, np.float64))


def read_distributions(file: h5py.File) -> Distributions:
    """What `write_distributions` wrote; empty for older files.

    Raises:
        KeyError, ValueError: The file has another layout.
    """
    if _GROUP not in file:
        return Distributions()
    group = file[_GROUP]
    scores = [group[f"scores/{position}"] for position in range(len(group.get("scores", ())))]
    return Distributions(
        {name: _read(group[f"weights/{name}"]) for name in WEIGHTS if f"weights/{name}" in group},
        {str(of_one.attrs["criterion"]): _read(of_one) for of_one in scores},
        group["correlations"][()] if "correlations" in group else None,
    )


def distribution_variables(
    rows: Sequence[Any], dataset: xarray.Dataset, places: Sequence[Iterable[tuple[Any, ...]]]
) -> xarray.Dataset:
    """Variables of run.h5 for the distributions of levels, which have `places` along trial, branch and level."""
    weights, seeds = [str(weight) for weight in dataset.weight.values], dataset.trial.values.tolist()
    criteria = list(dict.fromkeys(name for row in rows for name in row.distributions.scores))
    sizes = dict(dataset.sizes) | {"criterion": len(criteria), "sign": len(SIGNS), "quantile": len(QUANTILES)}
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}

    def add(name: str, axes: tuple[str, ...], of_levels: list[Any], at: Sequence[Iterable[tuple[Any, ...]]]) -> None:
        for what, of_one, dtype in (("quantile", ("sign", "quantile"), np.float32), ("share", ("sign",), np.float64)):
            values = [
                [getattr(by_weight[weight], f"{what}s") for weight in weights] if by_weight else None
                for by_weight in of_levels
            ]
            along = (*axes, "weight", *of_one)
            found[f"{name}_{what}"] = along, gathered(values, at, tuple(sizes[axis] for axis in along), dtype)

    for name in WEIGHTS:
        of_levels = [row.distributions.weights.get(name) for row in rows]
        if any(by_weight is not None for by_weight in of_levels):
            add(f"{name}_weight", ("trial", "branch", "level"), of_levels, places)
    if criteria:
        scored = [(seeds.index(row.seed), row.distributions) for row in rows if row.distributions.scores]
        at = [[(trial, criteria.index(name))] for trial, of_level in scored for name in of_level.scores]
        add("score", ("trial", "criterion"), [one for _, of_level in scored for one in of_level.scores.values()], at)
        correlations = np.full((len(seeds), len(criteria), len(criteria)), np.nan)
        for trial, of_level in scored:
            along = [criteria.index(name) for name in of_level.scores]
            correlations[trial][np.ix_(along, along)] = of_level.correlations
        found["score_correlation"] = ("trial", "criterion", "other_criterion"), correlations
    values: dict[str, Any] = {
        "sign": np.asarray(SIGNS, object),
        "quantile": np.asarray(QUANTILES),
        "criterion": np.asarray(criteria, object),
        "other_criterion": np.asarray(criteria, object),
    }
    used = {axis for of_one, _ in found.values() for axis in of_one}
    return xarray.Dataset(
        {name: (*variable, MEANING[name]) for name, variable in found.items()},
        {name: (name, values[name], MEANING[name]) for name in values if name in used},
    )


def _write(group: h5py.Group, by_weight: Mapping[str, Distribution]) -> None:
    for position, (key, found) in enumerate(by_weight.items()):
        dataset = write_array(group, key, np.asarray(found.quantiles, np.float32))
        dataset.attrs["shares"] = np.asarray(found.shares, np.float64)
        dataset.attrs["position"] = position


def _read(group: h5py.Group) -> dict[str, Distribution]:
    found = {}
    for key, dataset in ordered(group):
        shares, quantiles = np.asarray(dataset.attrs["shares"]), dataset[()]
        if shares.shape != (len(SIGNS),) or quantiles.shape != (len(SIGNS), len(QUANTILES)):
            raise ValueError(f"a distribution of shapes {shares.shape} and {quantiles.shape} at {dataset.name}")
        found[key] = Distribution(shares, quantiles)
    return found
