"""Density by kind of layer against the level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lth_keras.plots.style import DASHED, DOTTED, BranchStyle
from lth_keras.results.statistics import spread

# Wide and solid first: kinds of one rate lie on each other, and each has to be seen.
_LOOKS = (
    (BranchStyle("#58b6c4", "solid", "o", ""), 5.0, 9.0),
    (BranchStyle("#d1541b", DASHED, "s", ""), 2.4, 6.0),
    (BranchStyle("#08357a", DOTTED, "^", ""), 1.7, 4.5),
    (BranchStyle("#5b1a5e", "solid", "v", ""), 1.0, 4.0),
)

_TICKS = (100, 80, 60, 40, 30, 20, 15, 10, 7, 5, 3, 2, 1, 0.5, 0.2, 0.1)


def density_by_kind_figure(dataset: xarray.Dataset, kinds: Mapping[str, Mapping[str, int]]) -> Figure:
    """Share of each kind's weights that is left (percent, logarithmic), mean over trials, band from least to greatest.

    Drawn for the run's first branch; branches are pruned to the same counts.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
        kinds: For each kind the prunable weights of its layers, by layer: `{"conv": {"conv_1": 1728}}`.

    Raises:
        ValueError: No kinds or more than four, or layers other than those of the run.
    """
    layers = [str(weight).rpartition("/")[0] for weight in dataset.weight.values]
    named = [name for sizes in kinds.values() for name in sizes]
    if not 1 <= len(kinds) <= len(_LOOKS) or sorted(named) != sorted(layers):
        raise ValueError(f"Expected: 1 to {len(_LOOKS)} kinds with the layers {layers}. Received: {kinds}")
    figure = Figure(figsize=(6.4, 4.1), layout="constrained")
    axes = figure.subplots()
    first = dataset.weight_density.isel(branch=0)
    for (kind, sizes), (style, width, size) in zip(kinds.items(), _LOOKS, strict=False):
        places = [layers.index(name) for name in sizes]
        counts = xarray.DataArray(np.array(list(sizes.values()), float), dims="weight")
        values = spread(
            (first.isel(weight=places).drop_vars("weight") * (100 * counts / counts.sum())).sum("weight", skipna=False)
        )
        level = dataset.level.values
        axes.fill_between(level, values.low, values.high, color=style.colour, alpha=0.17, linewidth=0)
        look = style.curve(linewidth=width, markersize=size, label=f"{kind}: {sum(sizes.values()):,} weights")
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
