"""Density by kind of layer against the level."""

from __future__ import annotations

import numpy as np
import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lth_keras.analysis import spread
from lth_keras.plots.style import DASHED, DOTTED, BranchStyle, as_text, line_width, marker_size, new_figure

# Wide and solid first: curves of kinds with one rate coincide, and each must be visible.
_LOOKS = (
    (BranchStyle("#58b6c4", "solid", "o", ""), 2.9, 1.8),
    (BranchStyle("#d1541b", DASHED, "s", ""), 1.4, 1.2),
    (BranchStyle("#08357a", DOTTED, "^", ""), 1.0, 0.9),
    (BranchStyle("#5b1a5e", "solid", "v", ""), 0.6, 0.8),
)

_TICKS = (100, 80, 60, 40, 30, 20, 15, 10, 7, 5, 3, 2, 1, 0.5, 0.2, 0.1)


def density_by_kind_figure(dataset: xarray.Dataset) -> Figure:
    """Percent of remaining weights of each kind of layer, logarithmic: mean over trials, min-max bands.

    Drawn for the run's first branch; all branches keep the same numbers of weights.

    Args:
        dataset: A run with the kind of each weight, as `lth_keras.storage.open_run` gives it.

    Raises:
        ValueError: The run has no kinds, or more than four.
    """
    if not {"kind", "size"} <= set(dataset.coords):
        raise ValueError("Expected: a run with the coordinates `kind` and `size` along `weight`. Received: none")
    kinds = list(dict.fromkeys(str(kind) for kind in dataset.kind.values))
    if len(kinds) > len(_LOOKS):
        raise ValueError(f"Expected: at most {len(_LOOKS)} kinds of layers. Received: {kinds}")
    figure = new_figure()
    axes = figure.subplots()
    first = dataset.weight_density.isel(branch=0)
    for kind, (style, width, size) in zip(kinds, _LOOKS, strict=False):
        of_kind = first.isel(weight=np.flatnonzero(dataset.kind.values == kind))
        weights = of_kind.drop_vars("weight")["size"]
        values = spread((of_kind.drop_vars("weight") * (100 * weights / weights.sum())).sum("weight", skipna=False))
        level = dataset.level.values
        axes.fill_between(level, values.low, values.high, color=style.colour, alpha=0.17, linewidth=0)
        label = f"{as_text(str(kind))}: {int(weights.sum()):,} weights"
        look = style.curve(linewidth=line_width(width), markersize=marker_size(size), label=label)
        axes.plot(level, values.mean, **look)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_yticks(ticks)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("level (times pruned)")
    axes.set_ylabel("percent of the kind's weights remaining")
    axes.legend(loc="best", handlelength=3.4)
    return figure
