"""Criteria and composites by schedule: differences, overlaps and layers, where they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes

from lth_keras.plots import figures_of, layers_figure, overlaps_figure, relative_accuracy_figure
from lth_keras.plots.early_tickets import chance_overlap
from lth_keras.plots.schedules import schedules_of
from tests.results.synthetic import KINDS, dataset

ROWS = ("snip_uss", "weights_snip_synflow_ums_drawn", "grasp_magnitude_uss")


def study(*branches: str) -> xarray.Dataset:
    run = dataset(2, 4, branches, kinds=KINDS)
    overlap = run.density**2
    return run.assign(mask_overlap=overlap)


def line_of(axes: Axes, label: str) -> np.ndarray:
    return np.asarray(next(line for line in axes.get_lines() if line.get_label() == label).get_ydata())


def test_branches_are_told_apart_by_schedule() -> None:
    run = study("winning_ticket", *ROWS)
    assert schedules_of(run) == {
        "uss": sorted(name for name in ROWS if name.endswith("uss")),
        "ums": ["weights_snip_synflow_ums_drawn"],
    }
    assert not schedules_of(dataset(1, 2))


def test_accuracy_is_minus_the_winning_tickets_of_the_same_trial() -> None:
    run = study("winning_ticket", *ROWS)
    before, _ = relative_accuracy_figure(run).axes
    accuracy = 100 * run.test_accuracy_at_early_stop
    expected = (accuracy.sel(branch="snip_uss") - accuracy.sel(branch="winning_ticket")).mean("trial")
    np.testing.assert_allclose(line_of(before, "snip uss"), expected)
    assert "above the winning ticket" in before.get_ylabel()
    alone = relative_accuracy_figure(study(*ROWS)).axes[0]
    assert "above the dense network" in alone.get_ylabel() and line_of(alone, "snip uss")[0] == pytest.approx(0)


def test_overlaps_stand_beside_chance() -> None:
    run = study("winning_ticket", *ROWS)
    axes = overlaps_figure(run).axes[0]
    np.testing.assert_allclose(line_of(axes, "snip uss"), run.mask_overlap.sel(branch="snip_uss").mean("trial"))
    chance = axes.get_lines()[0]
    np.testing.assert_allclose(chance.get_ydata(), chance_overlap(np.asarray(chance.get_xdata())))


def test_a_layer_that_has_collapsed_is_a_cross_at_its_density() -> None:
    run = study("winning_ticket", *ROWS)
    weight = str(run.weight.values[0])
    run.weight_density.loc[{"branch": "snip_uss", "level": 3, "weight": weight}] = 0
    first, *others = layers_figure(run).axes
    crosses = [line for line in first.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    np.testing.assert_allclose(crosses[0].get_xdata(), run.density.sel(branch="snip_uss", level=3))
    for axes in others:
        assert not any(line.get_marker() == "x" and len(line.get_xdata()) for line in axes.get_lines())


def test_runs_with_such_branches_have_these_figures_and_others_do_not() -> None:
    names = {"relative_accuracy", "overlaps", "layers"}
    assert names <= set(figures_of(study("winning_ticket", *ROWS)))
    assert not names & set(figures_of(dataset(1, 2)))
    assert "overlaps" not in figures_of(study(*ROWS))
    with pytest.raises(ValueError, match="Expected: branches named by a schedule, such as snip_uss"):
        layers_figure(dataset(1, 2))
