"""Early-stop step against density, as in figure 4 of Frankle & Carbin (2019)."""

from __future__ import annotations

from collections.abc import Sequence

import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lth_keras.plots.dense import draw_dense_line
from lth_keras.plots.density_axis import draw_over_density, set_density_axis
from lth_keras.plots.early import early_branches, legend_title, run_styles
from lth_keras.plots.legend import add_legend
from lth_keras.plots.references import Reference, add_reference_legend, densities_of, draw_references
from lth_keras.plots.style import branch_style, new_figure

VARIABLE = "early_stop_step"
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


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
    draw_dense_line(axes, dataset, VARIABLE)
    styles = run_styles(dataset)
    for branch, style in reversed(styles.items()):
        draw_over_density(axes, dataset, VARIABLE, branch, style)
    set_density_axis(axes, dataset, densities_of(references))
    draw_references(axes, dataset, references)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.set_ylabel("early-stop step (least validation loss)")
    add_reference_legend(figure, references)
    add_legend(figure, styles.values(), branch_style("dense"), legend_title(dataset))
    return figure
