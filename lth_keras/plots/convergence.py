"""Test accuracy after convergence against density, beside the points of a publication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import xarray
from matplotlib.figure import Figure

from lth_keras.plots.accuracy import draw_dense_line
from lth_keras.plots.density_axis import draw_over_density, set_density_axis
from lth_keras.plots.legend import add_legend
from lth_keras.plots.style import BranchStyle, branch_style, branch_styles

VARIABLE = "test_accuracy_final"


class Reference(NamedTuple):
    """Numbers of a publication.

    Attributes:
        label: whose they are, and under which protocol.
        points: (density, accuracy) as fractions in (0, 1].
    """

    label: str
    points: Sequence[tuple[float, float]]


def convergence_figure(dataset: xarray.Dataset, reference: Reference | None = None) -> Figure:
    """Mean test accuracy (percent) after the last step over trials, band from least to greatest.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
        reference: Points to draw beside it.

    Raises:
        ValueError: A point that is no fraction.
    """
    points = [] if reference is None else list(reference.points)
    if not all(0 < density <= 1 and 0 <= accuracy <= 1 for density, accuracy in points):
        raise ValueError(f"Expected: reference points as fractions, densities above 0. Received: {points}")
    percents = dataset.assign({VARIABLE: 100 * dataset[VARIABLE]})
    figure = Figure(figsize=(6.4, 4.1), layout="constrained")
    axes = figure.subplots()
    draw_dense_line(axes, percents, VARIABLE)
    styles = branch_styles(dataset.branch.values.tolist())
    for branch, style in reversed(styles.items()):  # the first branch lies on top
        draw_over_density(axes, percents, VARIABLE, branch, style)
    set_density_axis(axes, percents, [density for density, _ in points])
    axes.set_ylabel("test accuracy after the last step (%)")
    if reference is not None:
        look = BranchStyle("#111111", "none", "*", reference.label)
        marker = {"markersize": 10.0, "markeredgecolor": "white", "zorder": 5}
        (drawn,) = axes.plot([d for d, _ in points], [100 * a for _, a in points], **look.curve(**marker))
        figure.legend(handles=[drawn], loc="outside lower center")  # its label says more than fits beside the branches'
    add_legend(figure, styles.values(), branch_style("dense"))
    return figure
