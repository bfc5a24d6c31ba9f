"""Accuracy at chosen densities: a row per branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from rich import box
from rich.table import Table

from lth_keras.results import spread

NEAR = 0.1
"""How far a level's density may be from the one that is asked for, as a share of it."""


def densities_table(
    dataset: xarray.Dataset, densities: Sequence[float], variable: str = "test_accuracy_final"
) -> Table:
    """A variable in percent at chosen densities: for each branch its level nearest to each, mean over trials.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
        densities: in (0, 1]. A branch without a level within 10% of one has no number there.
        variable: (trial, branch, level), fractions.

    Raises:
        ValueError: No densities, or some that are not in (0, 1].
    """
    if not densities or not all(0 < density <= 1 for density in densities):
        raise ValueError(f"Expected: densities in (0, 1]. Received: {list(densities)}")
    trials = dataset.sizes["trial"]
    over = "1 trial" if trials == 1 else f"mean over {trials} trials, ± the farthest of them"
    title = f"{dataset[variable].attrs['long_name']}, %, by density; {over}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_style="bold", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("branch", no_wrap=True)
    for density in densities:
        table.add_column(f"{100 * density:.3g}%", justify="right")
    for branch in dataset.branch.values:
        own = dataset.sel(branch=branch)
        table.add_row(str(branch), *(_cell(own, density, variable) for density in densities))
    return table


def _cell(dataset: xarray.Dataset, wanted: float, variable: str) -> str:
    means = spread(dataset.density).mean
    far = np.abs(means / wanted - 1)
    if not (far <= NEAR).any():
        return "-"
    values = spread(100 * dataset[variable].isel(level=int(np.nanargmin(far))))
    if not values.trials:
        return "-"
    some = f" ({values.trials}/{dataset.sizes['trial']})" if values.trials < dataset.sizes["trial"] else ""
    far = max(values.high - values.mean, values.mean - values.low)
    return f"{values.mean:.2f}{some}" + (f"\n±{far:.2f}" if values.trials > 1 else "")
