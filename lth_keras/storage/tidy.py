"""A run as tables for other tools: one row for each level, or for each evaluation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from lth_keras.storage.atomic import write_bytes

_LEVEL = ("trial", "branch", "level")


def levels_frame(dataset: xarray.Dataset) -> Any:
    """One row for each finished trial, branch and level, as a pandas DataFrame.

    Columns are `trial`, `branch`, `level`, every variable with these dimensions, in the units of run.h5, and the
    parameters that differ by branch. The dense network appears in every branch that shares it.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
    frame = _frame(dataset, _LEVEL)
    return frame[frame["density"].notna()].reset_index(drop=True)


def curves_frame(dataset: xarray.Dataset) -> Any:
    """One row for each evaluation of each finished trial, branch and level, as a pandas DataFrame.

    Columns are `trial`, `branch`, `level`, `step`, and every variable with these dimensions; NaN if not measured at a
    step.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
    """
    axes = (*_LEVEL, "step")
    frame = _frame(dataset, axes)
    measured = frame[_names(dataset, axes)].notna().any(axis=1)
    return frame[measured].reset_index(drop=True)


def write_csv(directory: str | os.PathLike[str], dataset: xarray.Dataset) -> list[Path]:
    """Write `levels.csv` and `curves.csv` atomically, with NaN as empty cells. Returns their paths.

    Raises:
        OSError: They could not be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    frames = {"levels.csv": levels_frame(dataset), "curves.csv": curves_frame(dataset)}
    for name, frame in frames.items():
        write_bytes(directory / name, frame.to_csv(index=False, lineterminator="\n").encode())
    return [directory / name for name in frames]


def _frame(dataset: xarray.Dataset, axes: Sequence[str]) -> Any:
    names = _names(dataset, axes)
    named = dataset[names].transpose(*axes)
    beside = [str(name) for name, along in named.coords.items() if name not in axes and along.dims == ("branch",)]
    others = [name for name in named.coords if name not in (*axes, *beside)]
    frame = named.drop_vars(others).to_dataframe(dim_order=list(axes)).reset_index()
    return frame[[*axes, *beside, *names]]


def _names(dataset: xarray.Dataset, axes: Sequence[str]) -> list[str]:
    """Variables with these dimensions, without aliases."""
    return [
        str(name)
        for name, values in dataset.data_vars.items()
        if set(values.dims) == set(axes) and "alias_of" not in values.attrs and np.issubdtype(values.dtype, np.number)
    ]
