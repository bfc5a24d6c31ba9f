"""Accuracy and early-stop step against density, as in figure 4 of Frankle & Carbin (2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.analysis import at_early_stop, at_the_end, metric_of, shown_factor, spread
from lth_keras.plots.density_axis import draw_over_density, set_density_axis
from lth_keras.plots.early import add_run_legend, early_branches, run_styles
from lth_keras.plots.labels import THOUSANDS, shown_label
from lth_keras.plots.lines import draw_dense_line
from lth_keras.plots.references import STEP, Reference, add_reference_legend, densities_of, draw_references
from lth_keras.plots.style import new_figure

_CLOSE = 4.0  # the close-up has this times the spread of the best branch


def accuracy_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Test accuracy (percent), or the run's metric, at early stop: mean over trials, min-max bands.

    If a branch falls so far that differences near the dense network are invisible, a second panel magnifies them.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        references: Published accuracies at early stop, drawn as stars.

    Raises:
        ValueError: A reference point is invalid.
    """
    return _figure(dataset, at_early_stop(dataset), references)


def convergence_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Like `accuracy_figure`, after the last step.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        references: Published accuracies after the last step, drawn as stars.

    Raises:
        ValueError: A reference point is invalid.
    """
    return _figure(dataset, at_the_end(dataset), references)


def early_stop_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Step of least validation loss: mean over trials, min-max bands.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        references: Published early-stop steps, drawn as stars.

    Raises:
        ValueError: A reference point is invalid.
    """
    early = bool(early_branches(dataset))
    figure = new_figure(wide=early, height=1.3 if early else 1)
    axes = figure.subplots()
    _draw(axes, dataset, STEP, references, 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.set_ylabel("early-stop step (least validation loss)")
    add_reference_legend(figure, references)
    add_run_legend(figure, dataset)
    return figure


def _figure(dataset: xarray.Dataset, variable: str, references: Sequence[Reference]) -> Figure:
    factor = shown_factor(dataset[variable])
    close = _close_limits(factor * dataset[variable], lower=metric_of(dataset).direction == "lower")
    early = bool(early_branches(dataset))
    figure = new_figure(wide=bool(close or early), height=1.3 if early else 1)
    panels = figure.subplots(1, 2 if close else 1, squeeze=False)[0]
    for axes in panels:
        _draw(axes, dataset, variable, references, factor)
    panels[0].set_ylabel(shown_label(dataset[variable]))
    if close:
        panels[0].set_title("all")
        panels[1].set_title("near the dense network")
        panels[1].set_ylim(*close)
    add_reference_legend(figure, references)
    add_run_legend(figure, dataset)
    return figure


def _draw(axes: Axes, dataset: xarray.Dataset, variable: str, references: Sequence[Reference], factor: float) -> None:
    draw_dense_line(axes, dataset, variable, factor)
    for branch, style in reversed(run_styles(dataset).items()):  # the first branch lies on top
        draw_over_density(axes, dataset, variable, branch, style, factor)
    set_density_axis(axes, dataset, densities_of(references))
    draw_references(axes, dataset, references, factor)


def _close_limits(percents: xarray.DataArray, *, lower: bool = False) -> tuple[float, float] | None:
    """Limits around the best branch; None if one panel is enough. `lower`: whether lower values are better."""
    if lower:
        turned = _close_limits(-percents)
        return None if turned is None else (-turned[1], -turned[0])
    values = spread(percents)
    finished = np.isfinite(values.mean)
    if not finished.any():
        return None
    totals = np.where(finished, values.mean, 0).sum(1)
    means = np.divide(totals, finished.sum(1), out=np.full(len(totals), -np.inf), where=finished.any(1))
    best = int(np.argmax(means))
    low, high = np.nanmin(values.low[best]), np.nanmax(values.high)
    span = max(high - low, 0.1)
    if high - np.nanmin(values.low) <= _CLOSE * span:
        return None
    return float(low - 0.35 * span), float(high + 0.1 * span)
