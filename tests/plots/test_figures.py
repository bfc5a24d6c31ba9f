"""Figures show the numbers of the run: means, bands, axes; and are written as files."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from lth_keras.plots import (
    accuracy_figure,
    branch_style,
    chosen_levels,
    convergence_figure,
    curves_figure,
    early_stop_figure,
    figures_of,
    history_figure,
    save_figure,
    save_figures,
)
from lth_keras.plots.density_axis import percent
from lth_keras.storage import assemble
from tests.few import few
from tests.synthetic import BRANCHES, CREATED, dataset, level_result, levels_of


def points_of(axes: Axes, branch: str) -> tuple[np.ndarray, np.ndarray]:
    label = branch_style(branch).label
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def band_of(axes: Axes, branch: str) -> np.ndarray:
    colour = branch_style(branch).colour
    for band in axes.collections:
        if isinstance(band, PolyCollection) and to_hex(np.asarray(band.get_facecolor())[0]) == colour:
            return np.asarray(band.get_paths()[0].vertices)
    raise AssertionError(f"no band of {branch}")


@pytest.mark.parametrize(
    ("draw", "variable", "factor"),
    [
        (accuracy_figure, "test_accuracy_at_early_stop", 100),
        (convergence_figure, "test_accuracy_final", 100),
        (early_stop_figure, "early_stop_step", 1),
    ],
)
def test_lines_are_means_and_bands_go_from_least_to_greatest(draw: object, variable: str, factor: float) -> None:
    run = dataset(trials=4, levels=5)
    assert callable(draw)
    axes = draw(run).axes[0]
    for branch in BRANCHES:
        values = factor * run[variable].sel(branch=branch)
        x, y = points_of(axes, branch)
        np.testing.assert_allclose(x, run.density.sel(branch=branch).mean("trial"))
        np.testing.assert_allclose(y, values.mean("trial"))
        vertices = band_of(axes, branch)
        for level, density in enumerate(x):
            heights = vertices[np.isclose(vertices[:, 0], density), 1]
            low, high = (float(f(values.sel(level=level))) for f in (np.min, np.max))
            np.testing.assert_allclose([heights.min(), heights.max()], [low, high])


def test_levels_that_a_branch_has_not_are_a_gap_with_a_faint_line_across() -> None:
    run, branch = dataset(trials=2, levels=5), BRANCHES[1]
    left_out = (run.branch == branch) & run.level.isin([1, 2, 4])
    axes = early_stop_figure(run.where(~left_out)).axes[0]
    _, y = points_of(axes, branch)
    expected = run.early_stop_step.sel(branch=branch).mean("trial").values.copy()
    across = [
        np.asarray(line.get_ydata()) for line in axes.get_lines() if len(line.get_ydata()) == 2 and line.get_alpha()
    ]
    np.testing.assert_allclose(across, [expected[[0, 3]], expected[[3, 5]]])
    expected[[1, 2, 4]] = np.nan
    np.testing.assert_allclose(y, expected)


@pytest.mark.parametrize("draw", [accuracy_figure, early_stop_figure])
def test_density_is_logarithmic_with_the_dense_network_on_the_left(draw: object) -> None:
    assert callable(draw)
    axes = draw(dataset(trials=1, levels=24)).axes[0]
    left, right = axes.get_xlim()
    assert axes.get_xscale() == "log" and left > 1 > 0.005 > right
    ticks = dict(zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert ticks["100"] == 1.0 and 5 <= len(ticks) <= 10
    assert all(float(label) == pytest.approx(100 * x, rel=0.05) for label, x in ticks.items())


@pytest.mark.parametrize(
    ("density", "label"),
    [
        (1, "100"),
        (0.513, "51.3"),
        (0.2107, "21.1"),
        (0.036, "3.6"),
        (0.0036, "0.36"),
        (0.8, "80.0"),
    ],
)
def test_percent_is_written_as_in_the_papers(density: float, label: str) -> None:
    assert percent(density) == label


def test_a_second_panel_shows_closely_what_a_failing_branch_would_hide() -> None:
    near, far = dataset(trials=2, levels=6), dataset(trials=2, levels=24)
    assert len(accuracy_figure(near).axes) == 1
    whole, close = accuracy_figure(far).axes
    best = 100 * far.test_accuracy_at_early_stop.sel(branch="winning_ticket")
    low, high = close.get_ylim()
    assert low < best.min() and best.max() < high
    assert whole.get_ylim()[0] < 100 * far.test_accuracy_at_early_stop.min() < low


def test_the_levels_of_the_paper_are_chosen_where_the_run_has_them() -> None:
    run = dataset(trials=2, levels=24)
    densities = [float(run.density.sel(level=n).mean()) for n in chosen_levels(run)]
    np.testing.assert_allclose(densities, [1, 0.51, 0.21, 0.036], rtol=0.15)
    assert chosen_levels(dataset(trials=1, levels=5)) == [0, 3]
    assert chosen_levels(dataset(trials=1, levels=1)) == [0, 1]
    assert chosen_levels(dataset(trials=1, levels=0)) == [0]


def test_curves_leave_out_what_was_not_evaluated() -> None:
    run = dataset(trials=2, levels=3, evaluations=20)
    figure = curves_figure(run, levels=[0, 3])
    assert len(figure.axes) == 4
    cell = 100 * run.test_accuracy.sel(branch="random_mask", level=3).mean("trial")
    x, y = points_of(figure.axes[1], "random_mask")
    np.testing.assert_array_equal(x, run.step[::5])
    np.testing.assert_allclose(y, cell.values[::5], rtol=1e-6)


def test_labels_are_in_the_words_of_the_run() -> None:
    run = dataset(trials=1, levels=1)
    assert accuracy_figure(run).axes[0].get_ylabel() == "test accuracy at early stop (%)"
    run.test_accuracy.attrs["long_name"] = "micro-F1 on the test split"
    run.test_accuracy_at_early_stop.attrs["long_name"] = "test micro-F1 at the step of least validation loss"
    assert accuracy_figure(run).axes[0].get_ylabel() == "test micro-F1 at early stop (%)"
    assert curves_figure(run).axes[0].get_ylabel() == "test micro-F1 (%)"
    assert history_figure(run).axes[1].get_ylabel() == "micro-F1 (%)"
    assert convergence_figure(dataset(1, 1)).axes[0].get_ylabel() == "test accuracy after the last step (%)"
    run.test_accuracy_final.attrs.clear()
    assert convergence_figure(run).axes[0].get_ylabel() == "test accuracy final (%)"


def test_a_level_the_run_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected: levels among \[0, 1\]. Received: \[7\]"):
        curves_figure(dataset(levels=1), levels=[0, 7])


def test_figures_are_written_in_every_format_with_the_same_bytes_again(tmp_path: Path) -> None:
    run, before = dataset(trials=2, levels=2), dict(rcParams)
    written = save_figures(run, tmp_path / "new", ("png", "svg"))
    assert [p.name for p in written] == [f"{n}.{kind}" for n in figures_of(run) for kind in ("png", "svg")]
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    for path in written:
        start = path.read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else start == b"<?xml ve"
    for again in save_figure(figures_of(run)["accuracy"], tmp_path / "again", "accuracy", ("png", "svg")):
        assert again.read_bytes() == (tmp_path / "new" / again.name).read_bytes()
    assert dict(rcParams) == before, "matplotlib is not left as it was"
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected: formats among .*bmp"):
        save_figures(dataset(levels=0), tmp_path, ["bmp"])


def partial() -> xarray.Dataset:
    results = [r for r in levels_of(trials=2, levels=3) if r.seed == 0 or r.level < 2]
    return assemble(results, experiment="x", config={}, versions={}, created=CREATED)


SMALL: dict[str, Callable[[], xarray.Dataset]] = {
    "dense only": lambda: dataset(trials=1, levels=0),
    "two evaluations": lambda: dataset(trials=1, levels=1, evaluations=1),
    "other branches": lambda: dataset(trials=2, levels=2, branches=("a branch", "b")),
    "unfinished": partial,
    "no dense level": lambda: assemble(
        [level_result(level=4)], experiment="x", config={}, versions={}, created=CREATED
    ),
}


@few("name", SMALL, "no dense level")
def test_small_and_unfinished_runs_are_drawn_without_a_warning(name: str, tmp_path: Path) -> None:
    run = SMALL[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(save_figures(run, tmp_path, ["png"])) == len(figures_of(run))


def test_without_a_validation_split_curves_show_the_training_loss() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = curves_figure(dataset(trials=2, levels=3, validated=False), levels=[0, 3])
    assert [axes.get_ylabel() for axes in figure.axes][::2] == ["test accuracy (%)", "training loss"]
    assert all(axes.get_lines() for axes in figure.axes)
