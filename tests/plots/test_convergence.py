"""Accuracy after convergence is that after the last step."""

from __future__ import annotations

import numpy as np

from lth_keras.plots import branch_style, convergence_figure
from tests.synthetic import BRANCHES, dataset


def test_lines_are_means_after_the_last_step() -> None:
    run = dataset(trials=4, levels=5)
    (axes,) = convergence_figure(run).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for branch in BRANCHES:
        line = lines[branch_style(branch).label]
        np.testing.assert_allclose(line.get_xdata(), run.density.sel(branch=branch).mean("trial"))
        np.testing.assert_allclose(line.get_ydata(), 100 * run.test_accuracy_final.sel(branch=branch).mean("trial"))
    assert axes.get_ylabel() == "test accuracy after the last step (%)"


def test_a_second_panel_shows_closely_what_a_failing_branch_would_hide() -> None:
    assert len(convergence_figure(dataset(trials=2, levels=24)).axes) == 2
