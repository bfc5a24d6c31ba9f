"""Points of publications: where they are drawn, and whose they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.plots import Reference, accuracy_figure, convergence_figure, early_stop_figure
from lth_keras.plots.references import STEP
from tests.synthetic import dataset

AT_EARLY_STOP, FINAL = "test_accuracy_at_early_stop", "test_accuracy_final"
POINTS = ((1.0, 0.749), (0.328, 0.766), (0.107, 0.75))


def stars(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    (line,) = (line for line in axes.get_lines() if line.get_marker() == "*")
    assert line.get_linestyle() == "None"
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def legend_of(figure: Figure) -> str:
    return " ".join(text.get_text() for legend in figure.legends for text in legend.get_texts())


def test_stars_are_at_the_points_and_the_legend_says_whose_they_are() -> None:
    figure = convergence_figure(dataset(trials=4, levels=5), [Reference("somewhere", FINAL, POINTS)])
    for axes in figure.axes:
        x, y = stars(axes)
        np.testing.assert_allclose(x, [1, 0.328, 0.107])
        np.testing.assert_allclose(y, [74.9, 76.6, 75])
    assert "somewhere" in legend_of(figure)


def test_points_to_dense_are_drawn_from_the_runs_own_dense_network() -> None:
    run = dataset(trials=3, levels=8)
    dense = 100 * float(run.test_accuracy_at_early_stop.sel(level=0).mean())
    gain = Reference("gain", AT_EARLY_STOP, ((0.135, 0.003), (0.036, 0.0)), to_dense=True)
    np.testing.assert_allclose(stars(accuracy_figure(run, [gain]).axes[0])[1], [dense + 0.3, dense])
    share = Reference("share", STEP, ((0.21, 0.62),), to_dense=True)
    expected = 0.62 * float(run.early_stop_step.sel(level=0).mean())
    np.testing.assert_allclose(stars(early_stop_figure(run, [share]).axes[0])[1], [expected])
    without = run.where(run.level > 0)
    for draw, reference in ((accuracy_figure, gain), (early_stop_figure, share)):
        assert not [line for line in draw(without, [reference]).axes[0].get_lines() if line.get_marker() == "*"]


@pytest.mark.parametrize("levels", [0, 1, 24])
def test_points_lie_within_the_axes_and_do_not_move_the_ticks(levels: int) -> None:
    run = dataset(trials=1, levels=levels)
    alone, beside = (convergence_figure(run, r).axes[0] for r in ((), [Reference("x", FINAL, POINTS)]))
    left, right = beside.get_xlim()
    assert left > 1 and right < 0.107 and right <= alone.get_xlim()[1]
    np.testing.assert_array_equal(alone.get_xticks(), beside.get_xticks())


@pytest.mark.parametrize("point", [(0.0, 0.5), (32.8, 0.766), (0.5, float("inf")), (float("nan"), 0.5)])
def test_points_at_no_density_are_refused(point: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="Expected: reference points with densities in"):
        convergence_figure(dataset(trials=1, levels=0), [Reference("x", FINAL, [point])])
