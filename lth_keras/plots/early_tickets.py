"""How early a mask can be taken: accuracy against the epoch whose weights the masks are of."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lth_keras.plots.density_axis import percent
from lth_keras.results.statistics import spread

DENSITIES = (0.1, 0.036)
"""The thesis of Unverzagt, 2020, asks at about 10%, and its search ends at 3.6%."""
COLOURS = ("#08357a", "#d1541b")
VARIABLE = "test_accuracy_at_early_stop"


def early_tickets_figure(dataset: xarray.Dataset, steps_per_epoch: int) -> Figure:
    """Mean test accuracy (percent) at early stop over trials against the epoch, band from least to greatest.

    One panel for each of `DENSITIES`, at the level that is nearest, with the winning ticket, whose masks are of the
    trained weights, and the dense network as level lines.

    Args:
        dataset: A run with the coordinate `score_at`, as `lth_keras.results.open_run` gives it.
        steps_per_epoch: Optimiser updates of an epoch.

    Raises:
        ValueError: No branch says at which step its masks are taken.
    """
    if "score_at" not in dataset.coords or not np.isfinite(dataset.score_at).any():
        raise ValueError("Expected: a run whose branches have a number `score_at`. Received: none")
    early = dataset.isel(branch=np.flatnonzero(np.isfinite(dataset.score_at.values))).sortby("score_at")
    epochs = early.score_at.values / steps_per_epoch
    figure = Figure(figsize=(9.4, 3.9), layout="constrained")
    panels = figure.subplots(1, len(DENSITIES), sharey=True)
    for axes, wanted, colour in zip(panels, DENSITIES, COLOURS, strict=True):
        means = spread(early.density).mean
        level = int(np.nanargmin(np.abs(np.log(np.nanmean(means, axis=0) / wanted))))
        values = spread(100 * early[VARIABLE].isel(level=level))
        axes.fill_between(epochs, values.low, values.high, color=colour, alpha=0.17, linewidth=0)
        axes.plot(epochs, values.mean, color=colour, marker="o", markeredgecolor="white", label="masks of epoch n")
        _line(axes, dataset, level, "winning_ticket", "#08357a", "masks of the end")
        _line(axes, dataset, 0, str(early.branch.values[0]), "#666666", "dense")
        axes.set_title(f"{percent(float(np.nanmean(means[:, level])))}% of weights remaining")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch n whose weights the masks are of")
    panels[0].set_ylabel("test accuracy at early stop (%)")
    panels[0].legend(loc="lower right")
    return figure


def _line(axes: Axes, dataset: xarray.Dataset, level: int, branch: str, colour: str, label: str) -> None:
    if branch not in dataset.branch.values:
        return
    values = spread(100 * dataset[VARIABLE].sel(branch=branch).isel(level=level))
    if values.trials:
        axes.axhline(float(values.mean), color=colour, linestyle="--", linewidth=1.0, label=label)
