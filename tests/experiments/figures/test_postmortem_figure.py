"""The post-mortem's figure: every protocol once, a cause in one colour in both panels."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.figures.postmortem import postmortem_figure
from lth_keras.plots import Reference
from tests.synthetic import dataset

NAMES = ["winning_ticket", "thesis", "thesis_trained_masks"]
ALONE = [*NAMES[:2], "only_initial_masks"]


def test_lines_are_means_after_the_last_step() -> None:
    run = dataset(trials=2, levels=4).assign_coords(branch=NAMES)
    figure = postmortem_figure(run, [Reference("thesis", "test_accuracy_final", ((1.0, 0.972), (0.028, 0.91)))])
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == 4
    received = lines["masks of the trained weights"].get_ydata()
    np.testing.assert_allclose(received, 100 * run.test_accuracy_final.sel(branch=NAMES[2]).mean("trial"))
    np.testing.assert_allclose(lines["thesis"].get_ydata(), [97.2, 91])


def test_a_cause_alone_has_the_colour_of_its_correction() -> None:
    run = dataset(trials=1, levels=2)
    corrected = postmortem_figure(run.assign_coords(branch=NAMES)).axes[0]
    _, alone = postmortem_figure(run.assign_coords(branch=ALONE)).axes
    colours = {line.get_label(): line.get_color() for axes in (corrected, alone) for line in axes.get_lines()}
    assert colours["masks of the trained weights"] == colours["masks of the initial weights"]
    assert len(set(colours.values())) == 3


def test_small_costs_of_single_causes_are_seen() -> None:
    run = dataset(trials=1, levels=2).assign_coords(branch=ALONE)
    final = run.test_accuracy_final.copy()
    final.loc[{"branch": ["winning_ticket", "only_initial_masks"]}] = 0.98
    final.loc[{"branch": "only_initial_masks", "level": 1}] = 0.97
    final.loc[{"branch": "thesis", "level": 1}] = 0.8
    points = [Reference("thesis", "test_accuracy_final", ((1.0, 0.972), (0.028, 0.81)))]
    corrected, alone = postmortem_figure(run.assign(test_accuracy_final=final), points).axes
    assert corrected.get_ylim()[0] < 80 and 96 < alone.get_ylim()[0] < 97
    assert {line.get_label() for line in alone.get_lines()} == {"everything right", "masks of the initial weights"}


def test_another_run_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected: a run with the branch 'thesis'. Received: "):
        postmortem_figure(dataset(trials=1, levels=1))
