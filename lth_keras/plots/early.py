"""Branches of early tickets: the epoch of their masks, and their styles."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from matplotlib.figure import Figure

from lth_keras.analysis import explained
from lth_keras.plots.legend import add_legend
from lth_keras.plots.style import DASHED, DOTTED, BranchStyle, branch_style, branch_styles

COORDINATE = "score_at"
EXPLAINED = "n: the masks are of the weights after epoch n"
_LOOKS: tuple[tuple[Any, str], ...] = (("solid", "o"), (DASHED, "s"), (DOTTED, "^"), ("solid", "D"), (DASHED, "v"))
_LIGHTEST = np.array([0xF2, 0xB1, 0x34])
_DARKEST = np.array([0x8C, 0x12, 0x12])


def early_branches(dataset: xarray.Dataset) -> list[str]:
    """Branches whose masks come from the weights at a known step, the earliest first."""
    if COORDINATE not in dataset.coords:
        return []
    steps = dataset[COORDINATE].values
    return [str(dataset.branch.values[i]) for i in np.argsort(steps, kind="stable") if np.isfinite(steps[i])]


def epochs_of(dataset: xarray.Dataset) -> dict[str, float]:
    """Branch to the epoch whose weights give its masks; to the step, if the run does not record steps per epoch."""
    per_epoch = int(dataset.attrs.get("steps_per_epoch", 1))
    return {branch: float(dataset[COORDINATE].sel(branch=branch)) / per_epoch for branch in early_branches(dataset)}


def add_run_legend(figure: Figure, dataset: xarray.Dataset) -> None:
    """Adds the legend of a run's branches and its dense network, with a title if names of branches need one."""
    title = EXPLAINED if early_branches(dataset) else explained(dataset)
    add_legend(figure, run_styles(dataset).values(), branch_style("dense"), title)


def run_styles(dataset: xarray.Dataset) -> dict[str, BranchStyle]:
    """The style of each branch of a run, as in `branch_styles`; early tickets go from light to dark by epoch."""
    epochs = epochs_of(dataset)
    styles = branch_styles(str(branch) for branch in dataset.branch.values if str(branch) not in epochs)
    for place, (branch, epoch) in enumerate(epochs.items()):
        shade = _LIGHTEST + (_DARKEST - _LIGHTEST) * place / max(len(epochs) - 1, 1)
        colour = "#" + "".join(f"{round(float(channel)):02x}" for channel in shade)
        label = f"n = {epoch:g}" if "steps_per_epoch" in dataset.attrs else f"step {epoch:,.0f}"
        styles[branch] = BranchStyle(colour, *_LOOKS[place % len(_LOOKS)], label)
    return styles
