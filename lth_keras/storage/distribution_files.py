"""Distributions in level files and in run.h5."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import xarray

from lth_keras.analysis import COORDINATE_MEANING, DISTRIBUTION_MEANING, QUANTILES, SIGNS, Distribution, Distributions
from lth_keras.storage.arrays import ordered, write_array

_GROUP = "distributions"
_OF_ONE = {"quantile": ("sign", "quantile"), "share": ("sign",)}
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
    rows: Iterable[Any], dataset: xarray.Dataset, places: Callable[[Any], Sequence[tuple[int, int, int]]]
) -> xarray.Dataset:
    """Variables of run.h5 for the levels' distributions, see docs/results.md; empty if no level has any.

    Args:
        rows: Levels, each with `distributions`.
        dataset: The run, with its coordinates.
        places: Level to its indices along trial, branch and level.
    """
    rows = list(rows)
    weights = [str(weight) for weight in dataset.weight.values]
    axes = ("trial", "branch", "level", "weight")
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name in WEIGHTS:
        of_all = _empty(tuple(dataset.sizes[axis] for axis in axes))
        for row in rows:
            if by_weight := row.distributions.weights.get(name):
                for place in places(row):
                    _put(of_all, place, [by_weight[weight] for weight in weights])
        if any(name in row.distributions.weights for row in rows):
            found |= {f"{name}_weight_{what}": ((*axes, *_OF_ONE[what]), of_all[what]) for what in _OF_ONE}
    criteria = list(dict.fromkeys(name for row in rows for name in row.distributions.scores))
    if criteria:
        found |= _score_variables(rows, criteria, weights, [int(seed) for seed in dataset.trial.values])
    values: dict[str, Any] = {
        "sign": np.asarray(SIGNS, object),
        "quantile": np.asarray(QUANTILES),
        "criterion": np.asarray(criteria, object),
        "other_criterion": np.asarray(criteria, object),
    }
    used = {axis for of_one, _ in found.values() for axis in of_one}
    return xarray.Dataset(
        {name: (*variable, DISTRIBUTION_MEANING[name]._asdict()) for name, variable in found.items()},
        {name: (name, values[name], COORDINATE_MEANING[name]._asdict()) for name in values if name in used},
    )


def _score_variables(
    rows: list[Any], criteria: list[str], weights: list[str], seeds: list[int]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    of_all = _empty((len(seeds), len(criteria), len(weights)))
    correlations = np.full((len(seeds), len(criteria), len(criteria)), np.nan)
    for row in rows:
        scores, trial = row.distributions.scores, seeds.index(row.seed)
        along = [criteria.index(name) for name in scores]
        for criterion, by_weight in zip(along, scores.values(), strict=True):
            _put(of_all, (trial, criterion), [by_weight[weight] for weight in weights])
        if along:
            correlations[trial][np.ix_(along, along)] = row.distributions.correlations
    axes = ("trial", "criterion", "weight")
    return {
        **{f"score_{what}": ((*axes, *_OF_ONE[what]), of_all[what]) for what in _OF_ONE},
        "score_correlation": (("trial", "criterion", "other_criterion"), correlations),
    }


def _empty(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    signs, quantiles = len(SIGNS), len(QUANTILES)
    return {
        "quantile": np.full((*shape, signs, quantiles), np.nan, np.float32),
        "share": np.full((*shape, signs), np.nan),
    }


def _put(of_all: Mapping[str, np.ndarray], place: tuple[int, ...], by_weight: list[Distribution]) -> None:
    of_all["quantile"][place] = [found.quantiles for found in by_weight]
    of_all["share"][place] = [found.shares for found in by_weight]


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
