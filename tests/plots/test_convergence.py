"""Accuracy after convergence stands beside the points of a publication."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.plots import Reference, branch_style, convergence_figure
from tests.results.synthetic import BRANCHES, dataset

POINTS = ((1.0, 0.749), (0.328, 0.766), (0.107, 0.75))


def test_lines_are_means_after_the_last_step_and_points_are_those_given() -> None:
    run = dataset(trials=4, levels=5)
    figure = convergence_figure(run, Reference("somewhere", POINTS))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for branch in BRANCHES:
        line = lines[branch_style(branch).label]
        np.testing.assert_allclose(line.get_xdata(), run.density.sel(branch=branch).mean("trial"))
        np.testing.assert_allclose(line.get_ydata(), 100 * run.test_accuracy_final.sel(branch=branch).mean("trial"))
    drawn = lines["somewhere"]
    np.testing.assert_allclose(drawn.get_xdata(), [1, 0.328, 0.107])
    np.testing.assert_allclose(drawn.get_ydata(), [74.9, 76.6, 75])
    assert drawn.get_linestyle() == "None" and drawn.get_marker() == "*"
    assert "somewhere" in [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("levels", [0, 1, 24])
def test_points_lie_within_the_axes_and_do_not_move_the_ticks(levels: int) -> None:
    run = dataset(trials=1, levels=levels)
    alone, beside = (convergence_figure(run, r).axes[0] for r in (None, Reference("x", POINTS)))
    left, right = beside.get_xlim()
    assert left > 1 and right < 0.107 and right <= alone.get_xlim()[1]
    np.testing.assert_array_equal(alone.get_xticks(), beside.get_xticks())


@pytest.mark.parametrize("point", [(0.0, 0.5), (32.8, 0.766), (0.328, 76.6), (float("nan"), 0.5)])
def test_points_that_are_no_fractions_are_refused(point: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="Expected: reference points as fractions"):
        convergence_figure(dataset(trials=1, levels=0), Reference("x", [point]))
