"""Early-stop step against density: how fast tickets learn; figure 4 of Frankle & Carbin (2019)."""

from __future__ import annotations

import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lth_keras.plots.accuracy import draw_dense_line
from lth_keras.plots.density_axis import draw_over_density, set_density_axis
from lth_keras.plots.legend import add_legend
from lth_keras.plots.style import branch_style, branch_styles

VARIABLE = "early_stop_step"
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def early_stop_figure(dataset: xarray.Dataset) -> Figure:
    """Mean step of least validation loss over trials, band from least to greatest.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
    """
    figure = Figure(figsize=(6.4, 4.1), layout="constrained")
    axes = figure.subplots()
    draw_dense_line(axes, dataset, VARIABLE)
    styles = branch_styles(dataset.branch.values.tolist())
    for branch, style in reversed(styles.items()):
        draw_over_density(axes, dataset, VARIABLE, branch, style)
    set_density_axis(axes, dataset)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.set_ylabel("early-stop step (least validation loss)")
    add_legend(figure, styles.values(), branch_style("dense"))
    return figure
