"""Loss and accuracy of each split against the epoch, for one level."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lth_keras.analysis import metric_of, on_split, shown_factor, spread
from lth_keras.plots.density_axis import percent
from lth_keras.plots.labels import THOUSANDS, shown_measure
from lth_keras.plots.legend import add_legend
from lth_keras.plots.lines import draw_mean
from lth_keras.plots.style import DASHED, DOTTED, BranchStyle, branch_style, line_width, new_figure

SPLITS = {
    "train": BranchStyle("#08357a", "solid", "o", "training"),
    "validation": BranchStyle("#d1541b", DASHED, "s", "validation"),
    "test": BranchStyle("#58b6c4", DOTTED, "^", "test"),
}
_MARKED = 30  # curves with more evaluations have no markers


def history_figure(dataset: xarray.Dataset, *, level: int = 0, branch: str | None = None) -> Figure:
    """Loss and accuracy (percent) by epoch: mean over trials, min-max bands.

    The x axis shows steps if the run does not record steps per epoch. Training loss is the mean over the batches since
    the last evaluation, with dropout; training accuracy is not measured. A thin line shows the mean early-stop step, if
    there is a validation split. Splits without evaluations are omitted.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        level: 0 is the dense network.
        branch: By default the run's first. Level 0 is the same in all.

    Raises:
        ValueError: The run lacks the level or branch.
    """
    branch = str(dataset.branch.values[0]) if branch is None else branch
    for name, value in (("level", level), ("branch", branch)):
        if value not in dataset[name].values:
            raise ValueError(f"Expected: a {name} among {dataset[name].values.tolist()}. Received: {value!r}")
    cell = dataset.sel(level=level, branch=branch)
    scale = int(dataset.attrs.get("steps_per_epoch", 1))
    figure = new_figure(wide=True)
    loss, accuracy = figure.subplots(1, 2)
    metric, tested = metric_of(dataset).name, dataset[on_split(dataset, "test")]
    shown = _draw(loss, cell, "loss", 1, scale) | _draw(accuracy, cell, metric, shown_factor(tested), scale)
    loss.set_ylabel("loss")
    accuracy.set_ylabel(shown_measure(tested))
    stop = float(spread(cell.early_stop_step).mean) / scale
    decided = np.isfinite(cell.validation_loss.values).any()
    reference = branch_style("dense")._replace(label="early stop")
    density = float(spread(cell.density).mean)
    for axes in (loss, accuracy):
        axes.set_title("dense network" if level == 0 else f"{branch_style(branch).label}, {percent(density)}%")
        axes.set_xlabel("epoch" if "steps_per_epoch" in dataset.attrs else "step")
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if decided and np.isfinite(stop):
            axes.axvline(stop, color=reference.colour, linestyle=reference.line, linewidth=line_width(0.6))
    styles = [style for split, style in SPLITS.items() if split in shown]
    add_legend(figure, styles, reference if decided else None)
    return figure


def _draw(axes: Axes, cell: xarray.Dataset, what: str, factor: float, scale: int) -> set[str]:
    """Draws `<split>_<what>` of each split that has it; returns these splits."""
    shown = set()
    for split, style in SPLITS.items():
        values = spread(factor * cell[f"{split}_{what}"]) if f"{split}_{what}" in cell else None
        if values is not None and (evaluations := np.isfinite(values.mean).sum()):
            marker = style.marker if evaluations <= _MARKED else ""
            draw_mean(axes, cell.step.values / scale, values, style, marker=marker)
            shown.add(split)
    return shown
