"""Published numbers as stars beside a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_keras.plots.lines import dense_mean
from lth_keras.plots.style import letters_across, marker_size

STEP = "early_stop_step"
_LOOKS = (("#111111", "white"), ("white", "#111111"))  # face and edge of the stars


class Reference(NamedTuple):
    """Published numbers.

    Attributes:
        label: The publication and its method.
        variable: A variable (trial, branch, level) of run.h5.
        points: (density, value), densities in (0, 1]; values in the variable's unit.
        to_dense: Whether values are relative to the dense network: differences (accuracies) or shares (steps). They are
            drawn relative to this run's dense network.
    """

    label: str
    variable: str
    points: Sequence[tuple[float, float]]
    to_dense: bool = False


def densities_of(references: Sequence[Reference]) -> list[float]:
    """The densities of all points.

    Raises:
        ValueError: A density is not in (0, 1], or a value is not finite.
    """
    points = [point for reference in references for point in reference.points]
    if not all(0 < density <= 1 and np.isfinite(value) for density, value in points):
        raise ValueError(f"Expected: reference points with densities in (0, 1], finite values. Received: {points}")
    return [density for density, _ in points]


def draw_references(axes: Axes, dataset: xarray.Dataset, references: Sequence[Reference], factor: float = 1) -> None:
    """Draws published points as stars; omits those relative to a dense network that the run lacks.

    Args:
        axes: With density on the x axis.
        dataset: The run.
        references: Points to draw.
        factor: Multiplies values; 100 for percent.
    """
    for reference, look in zip(references, _LOOKS, strict=False):
        values = np.array([value for _, value in reference.points])
        if reference.to_dense:
            dense = dense_mean(dataset, reference.variable)
            values = dense * values if reference.variable == STEP else dense + values
        if np.isfinite(values).all():
            axes.plot(densities_of([reference]), factor * values, **_star(reference, look))


def add_reference_legend(figure: Figure, references: Sequence[Reference]) -> None:
    """Adds a legend of the stars below the panels, broken into lines, since labels are long."""
    letters = letters_across(figure) - 6
    handles = [Line2D([], [], **_star(one, look)) for one, look in zip(references, _LOOKS, strict=False)]
    for handle in handles:
        handle.set_label(textwrap.fill(str(handle.get_label()), letters))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", handletextpad=0.3)


def _star(reference: Reference, look: tuple[str, str]) -> dict[str, Any]:
    face, edge = look
    return {
        "linestyle": "none",
        "marker": "*",
        "markersize": marker_size(2),
        "color": face,
        "markeredgecolor": edge,
        "zorder": 5,
        "label": reference.label,
    }
