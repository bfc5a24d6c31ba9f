"""Networks with the same prediction for every example, as pruning that disconnects a network causes."""

from __future__ import annotations

import numpy as np
import xarray
from rich import box

from lth_keras.analysis import CONFUSION
from lth_keras.system import Table


def constant_table(dataset: xarray.Dataset) -> Table | None:
    """Number of trials of each branch and level that end with one prediction for all test examples, and empty layers.

    Args:
        dataset: A run with confusion matrices, as `lth_keras.storage.open_run` gives it.

    Returns:
        A row for each branch and level with such trials; None if there are none, or the run has no matrices.
    """
    if CONFUSION not in dataset:
        return None
    matrices = dataset[CONFUSION].transpose("trial", "branch", "level", "step", "true", "predicted").values
    same = np.zeros(matrices.shape[:3], bool)
    for place in np.ndindex(same.shape):
        tested = [matrix for matrix in matrices[place] if (matrix >= 0).all()]
        same[place] = bool(tested) and np.count_nonzero(tested[-1].sum(axis=0)) == 1
    if not same.any():
        return None
    title = "Networks that say the same of every test example"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_style="bold", title_justify="left")
    for column in ("branch", "level", "density, %", "trials", "layers without any weight"):
        table.add_column(column, justify="left" if column[0] in "bl" else "right")
    for b, n in zip(*np.nonzero(same.any(axis=0)), strict=True):
        where = dataset.isel(trial=np.flatnonzero(same[:, b, n]), branch=b, level=n)
        gone = dataset.weight.values[(where.weight_density.values == 0).any(axis=0)]
        table.add_row(
            str(dataset.branch.values[b]),
            str(dataset.level.values[n]),
            f"{100 * float(where.density.mean()):.3g}",
            f"{int(same[:, b, n].sum())} of {dataset.sizes['trial']}",
            ", ".join(map(str, gone)) or "none: its units are dead, or no path is left",
        )
    return table
