"""Numbers of publications, to stand beside a run of the experiment that repeats theirs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from lth_keras.plots.dense import dense_mean
from lth_keras.plots.style import marker_size

AT_EARLY_STOP, FINAL, STEP = "test_accuracy_at_early_stop", "test_accuracy_final", "early_stop_step"
_PER_LETTER = 0.53  # of a font size
_LOOKS = (("#111111", "white"), ("white", "#111111"))  # face and edge of the stars


class Reference(NamedTuple):
    """Numbers of a publication.

    Attributes:
        label: Whose they are, and under which protocol.
        variable: What they are numbers of: a variable (trial, branch, level) of run.h5.
        points: (density, value), densities in (0, 1]; values in the variable's unit.
        to_dense: Whether values are differences from the dense network (accuracies) or shares of it (steps), for
            publications that say no more. They are drawn from this run's dense network.
    """

    label: str
    variable: str
    points: Sequence[tuple[float, float]]
    to_dense: bool = False


_THESIS = "Unverzagt, 2020"
_PAPER = "Frankle & Carbin, 2019"
_FROM = "from the dense network here"
_THEIRS = "mean over epochs after convergence, masks of the initial weights, no validation split, 1 trial"
_LENET = (
    # Figure 7.2, read off by eye: the mean of the tests after each epoch from the 11th to the 50th, not the last alone.
    Reference(f"{_THESIS}: {_THEIRS}", FINAL, ((1.0, 0.972), (0.069, 0.957), (0.028, 0.91))),
    # Section 2, "Iterative pruning": a gain of more than 0.3 points at 13.5%, that of the dense network again at 3.6%;
    # early stop 38% earlier at 21%.
    Reference(f"{_PAPER}, section 2: gain over dense, {_FROM}", AT_EARLY_STOP, ((0.135, 0.003), (0.036, 0)), True),
    Reference(f"{_PAPER}, section 2: share of dense, {_FROM}", STEP, ((0.21, 0.62),), True),
)


def _convolutional(gain: tuple[float, float], speed: tuple[float, float]) -> tuple[Reference, ...]:
    """Section 3: the greatest gain over the dense network, and how many times earlier the early stop is at best."""
    density, times = speed
    return (
        Reference(f"{_PAPER}, section 3: greatest gain over dense, {_FROM}", AT_EARLY_STOP, (gain,), True),
        Reference(f"{_PAPER}, section 3: least share of dense, {_FROM}", STEP, ((density, 1 / times),), True),
    )


REFERENCES: dict[str, tuple[Reference, ...]] = {
    "mnist_lenet_fcn": _LENET,
    "mnist_early_tickets": _LENET,
    "thesis_postmortem": _LENET[:1],
    "cifar10_conv2": _convolutional((0.046, 0.034), (0.088, 3.5)),
    "cifar10_conv4": _convolutional((0.111, 0.035), (0.092, 3.5)),
    "cifar10_conv6": (
        # Figure 7.4, read off by eye: the mean of the tests from epoch 6 to 36.
        Reference(f"{_THESIS}: {_THEIRS}", FINAL, ((1.0, 0.783), (0.1, 0.73))),
        *_convolutional((0.264, 0.033), (0.151, 2.5)),
    ),
    "newsgroups_end2end": (
        # Figure 7.10, read off by eye: the mean of the tests from epoch 4 to 10. Masks of the initial weights here too.
        Reference(
            f"{_THESIS}: {_THEIRS}",
            FINAL,
            ((1.0, 0.749), (0.328, 0.766), (0.107, 0.750)),
        ),
    ),
}
"""By the experiment that repeats them. Paper: "The Lottery Ticket Hypothesis", arXiv:1803.03635v5. Thesis: "Application
of the Lottery Ticket Hypothesis in NLP and Early Pruning"."""


def references_of(dataset: xarray.Dataset, variable: str) -> tuple[Reference, ...]:
    """What is known of a run's experiment for a variable; nothing for experiments of one's own."""
    known = REFERENCES.get(str(dataset.attrs.get("experiment")), ())
    return tuple(reference for reference in known if reference.variable == variable)


def densities_of(references: Sequence[Reference]) -> list[float]:
    """Densities that an axis must reach.

    Raises:
        ValueError: A point whose density is none, or whose value is not finite.
    """
    points = [point for reference in references for point in reference.points]
    if not all(0 < density <= 1 and np.isfinite(value) for density, value in points):
        raise ValueError(f"Expected: reference points with densities in (0, 1], finite values. Received: {points}")
    return [density for density, _ in points]


def draw_references(axes: Axes, dataset: xarray.Dataset, references: Sequence[Reference], factor: float = 1) -> None:
    """Stars at the points of publications; none for those to dense where the run has no dense network.

    Args:
        axes: Over density.
        dataset: The run.
        references: What to draw.
        factor: What values are multiplied by on the y axis; 100 for percent.
    """
    for reference, look in zip(references, _LOOKS, strict=False):
        values = np.array([value for _, value in reference.points])
        if reference.to_dense:
            dense = dense_mean(dataset, reference.variable)
            values = dense * values if reference.variable == STEP else dense + values
        if np.isfinite(values).all():
            axes.plot(densities_of([reference]), factor * values, **_star(reference, look))


def add_reference_legend(figure: Figure, references: Sequence[Reference]) -> None:
    """Whose the stars are, below the panels and broken into lines: it says more than fits beside the branches."""
    size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
    letters = int(72 * figure.get_figwidth() / size / _PER_LETTER) - 6
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
