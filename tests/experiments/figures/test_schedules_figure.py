"""Criteria and composites by schedule: differences, overlaps and layers, where they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.figures.schedules import figures, layers_figure, overlaps_figure, relative_accuracy_figure
from lth_keras.analysis.overlap import chance_overlap
from lth_keras.analysis.schedules import schedules_of
from lth_keras.plots import STYLES, accuracy_figure, figures_of
from lth_keras.storage.older import newest
from tests.few import few
from tests.plots.distributed_run import distributed_run
from tests.synthetic import KINDS, dataset

ROWS = ("snip_uss", "weights_snip_synflow_ums_drawn", "grasp_magnitude_uss")


def study(*branches: str) -> xarray.Dataset:
    run = dataset(2, 4, branches, kinds=KINDS)
    overlap = run.density**2
    return newest(run.assign(mask_overlap=overlap), "a run")


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
    np.testing.assert_allclose(line_of(before, "snip"), expected)
    assert "above the winning ticket" in before.get_ylabel()
    alone = relative_accuracy_figure(study(*ROWS)).axes[0]
    assert "above the dense network" in alone.get_ylabel() and line_of(alone, "snip")[0] == pytest.approx(0)


@pytest.mark.parametrize("baseline", ["dense", "snip_uss"])
def test_another_baseline_can_be_chosen_and_the_winning_ticket_stands_beside_it(baseline: str) -> None:
    run = study("winning_ticket", *ROWS)
    first, second = relative_accuracy_figure(run, baseline).axes
    accuracy = 100 * run.test_accuracy_at_early_stop
    beside = accuracy.sel(branch=baseline) if baseline != "dense" else accuracy.sel(branch="winning_ticket", level=0)
    for axes, branch in ((first, "grasp_magnitude_uss"), (first, "winning_ticket"), (second, "winning_ticket")):
        expected = (accuracy.sel(branch=branch) - beside).mean("trial")
        np.testing.assert_allclose(line_of(axes, branch.removesuffix("_uss").replace("_", " ")), expected)
    labels = [str(line.get_label()) for line in first.get_lines()]
    assert ("snip" in labels) == (baseline == "dense")
    assert f"above the {'dense network' if baseline == 'dense' else 'branch snip uss'}" in first.get_ylabel()


def test_a_criterion_looks_the_same_under_every_schedule_and_stands_in_the_legend_once() -> None:
    run = study("winning_ticket", "snip_uss", "snip_ims", "synflow_ims", "synflow_ums", "synflow_ums_drawn")
    figure = relative_accuracy_figure(run)
    looks: dict[str, set[tuple[object, ...]]] = {}
    for axes in figure.axes:
        for line in axes.get_lines()[1:]:
            look = (line.get_color(), line.get_marker(), line.get_linestyle())
            looks.setdefault(str(line.get_label()), set()).add(look)
    assert looks.keys() == {"snip", "synflow", "synflow drawn"}
    assert all(len(each) == 1 for each in looks.values()) and len(set().union(*looks.values())) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["snip", "synflow", "synflow drawn"]


@few("branches", [7, 13, 29], 13)
def test_the_legend_is_no_wider_than_the_figure(branches: int) -> None:
    rows = [f"stacked_magnitude_{'w' * (i % 8)}{i}_uss" for i in range(branches)]
    with rc_context(STYLES["screen"].parameters):
        figure = accuracy_figure(study("winning_ticket", *rows))
        FigureCanvasAgg(figure).draw()
        box = figure.legends[0].get_window_extent()
        assert figure.legends[0].get_title().get_text() == "uss: before training, one shot"
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.width > 0.5 * figure.bbox.width


def test_overlaps_with_another_baseline_are_those_of_pairs() -> None:
    run = distributed_run(branches=("winning_ticket", *ROWS))
    axes = overlaps_figure(run, "snip_uss").axes[0]
    expected = run.mask_overlap_pairs.sel(other_branch="snip_uss", branch="winning_ticket").mean("trial")
    np.testing.assert_allclose(line_of(axes, "winning ticket"), expected)
    assert "the branch snip uss" in axes.get_ylabel()
    for without in (run.drop_vars("mask_overlap_pairs"), study("winning_ticket", *ROWS)):
        with pytest.raises(ValueError, match="Expected: a run with overlaps of pairs, snip_uss among them"):
            overlaps_figure(without, "snip_uss")


def test_what_is_no_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a baseline among winning_ticket, .*snip_uss, .*dense. Received: 'nothing'"):
        figures(study("winning_ticket", *ROWS), "nothing")
    with pytest.raises(ValueError, match="a baseline only for experiments with figures by schedule"):
        figures_of(dataset(1, 2), "winning_ticket")
    names = set(figures(study("winning_ticket", *ROWS), "snip_uss"))
    assert "overlaps" not in names and {"relative_accuracy", "accuracy_below_dense"} <= names  # it has none of pairs
    assert "overlaps" in figures(distributed_run(branches=("winning_ticket", *ROWS)), "snip_uss")
    assert "accuracy_below_dense" not in figures(study("winning_ticket", *ROWS), "dense")


@pytest.mark.slow
def test_panels_keep_their_height_under_a_legend_of_many_rows() -> None:
    def panel_height(branches: int) -> float:
        with rc_context(STYLES["paper"].parameters):
            rows = [f"stacked_magnitude_{chr(97 + i)}_uss" for i in range(branches)]
            figure = figures_of(study("winning_ticket", *rows))["accuracy"]()
            FigureCanvasAgg(figure).draw()
            return float(figure.axes[0].get_position().height * figure.get_figheight())

    assert panel_height(20) > 0.8 * panel_height(4)


def test_overlaps_stand_beside_chance() -> None:
    run = study("winning_ticket", *ROWS)
    axes = overlaps_figure(run).axes[0]
    np.testing.assert_allclose(line_of(axes, "snip"), run.mask_overlap.sel(branch="snip_uss").mean("trial"))
    chance = axes.get_lines()[0]
    np.testing.assert_allclose(chance.get_ydata(), chance_overlap(np.asarray(chance.get_xdata())))


def test_a_layer_that_has_collapsed_is_a_cross_at_its_density() -> None:
    run = study("winning_ticket", *ROWS)
    weight = str(run.weight.values[0])
    run.weight_density.loc[{"branch": "snip_uss", "level": 3, "weight": weight}] = 0
    first, *others = layers_figure(run).axes  # the first layer before training in one shot, then all others
    assert len(others) + 1 == 2 * run.sizes["weight"]
    crosses = [line for line in first.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    np.testing.assert_allclose(crosses[0].get_xdata(), run.density.sel(branch="snip_uss", level=3))
    for axes in others:
        assert not any(line.get_marker() == "x" and len(line.get_xdata()) for line in axes.get_lines())


def test_runs_with_such_branches_have_these_figures_and_others_do_not() -> None:
    names = {"relative_accuracy", "accuracy_below_dense", "overlaps", "layers"}
    assert names == set(figures(study("winning_ticket", *ROWS)))
    assert not figures(dataset(1, 2))
    assert "overlaps" not in figures(study(*ROWS))
    with pytest.raises(ValueError, match="Expected: a run that says the schedule of its branches"):
        layers_figure(dataset(1, 2))
