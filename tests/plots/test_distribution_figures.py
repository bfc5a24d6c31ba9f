"""Distributions of weights and scores: what is drawn is what run.h5 has quantiles of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth_keras.analysis import Distribution, distribution
from lth_keras.analysis.distributions import QUANTILES, SIGNS
from lth_keras.plots import figures_of, save_figures, score_distributions_figure, weight_distributions_figure
from lth_keras.plots.binned import half_width, shares_in_bins
from tests.plots.distributed_run import CRITERIA, distributed_run, scores_of, values_of
from tests.synthetic import SHAPES, dataset

NAMES = {"weight_distributions", "score_distributions"}


def arrays_of(
    found: list[Distribution], sizes: list[int]
) -> tuple[xarray.DataArray, xarray.DataArray, xarray.DataArray]:
    along = {"sign": list(SIGNS), "quantile": list(QUANTILES)}
    return (
        xarray.DataArray([each.quantiles for each in found], along, ("trial", "sign", "quantile")),
        xarray.DataArray([each.shares for each in found], {"sign": list(SIGNS)}, ("trial", "sign")),
        xarray.DataArray(sizes, dims="trial"),
    )


def stairs_of(axes: Axes) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(patch.get_data().values, patch.get_data().edges) for patch in axes.patches]  # type: ignore[attr-defined]


def test_bins_hold_what_the_values_themselves_would_put_there() -> None:
    generator = np.random.default_rng(0)
    values = [generator.normal(size=50_000), generator.choice([-2, 2], 10_000) + 0.1 * generator.normal(size=10_000)]
    edges = np.linspace(-3, 3, 31)
    found = shares_in_bins(*arrays_of([distribution(each) for each in values], [50_000, 10_000]), edges)
    expected = np.histogram(np.concatenate(values), edges)[0] / 60_000
    np.testing.assert_allclose(found, expected, atol=0.006)
    inside = np.mean(np.abs(np.concatenate(values)) < 1)
    width = half_width(*arrays_of([distribution(each) for each in values], [50_000, 10_000]), inside)
    assert width == pytest.approx(1, abs=0.05)


def test_nothing_lies_in_a_gap_around_zero_and_zeros_in_no_bin() -> None:
    values = np.concatenate([np.linspace(-2, -1, 100), np.linspace(1, 2, 300), np.zeros(100)])
    found = shares_in_bins(*arrays_of([distribution(values)], [500]), np.array([-2.1, -0.999, 0, 0.999, 2.1]))
    np.testing.assert_allclose(found, [0.2, 0, 0, 0.6])


def test_of_nothing_there_is_no_histogram() -> None:
    nothing = arrays_of([distribution(np.zeros(0))], [0])
    assert np.isnan(shares_in_bins(*nothing, np.array([-1.0, 0, 1]))).all()
    assert half_width(*nothing, 0.9) == 0
    single = arrays_of([distribution(np.array([0.5]))], [1])
    np.testing.assert_allclose(shares_in_bins(*single, np.array([-1.0, 0, 1])), [0, 1])


def test_rows_of_weights_are_histograms_of_each_branch_scaled_to_their_peaks() -> None:
    run = distributed_run(trials=3, levels=3)
    figure = weight_distributions_figure(run)
    order = ["winning_ticket", "grasp_uss", "snip_uss", "weights_snip_synflow_ums"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [n.replace("_", " ") for n in order]
    assert figure.axes[0].get_title() == "dense" and "remaining" in figure.axes[1].get_title()
    for level, axes in enumerate(figure.axes):
        drawn = stairs_of(axes)
        assert len(drawn) == 2 * len(order)
        for place, (heights, edges) in enumerate(drawn):
            branch, name = order[place // 2], ("initial", "final")[place % 2]
            kept = run.weight_density.sel(branch=branch, level=level) * run["size"]
            cell = run.sel(branch=branch, level=level)
            shares = shares_in_bins(cell[f"{name}_weight_quantile"], cell[f"{name}_weight_share"], kept, edges)
            foot = heights.max() - 1
            np.testing.assert_allclose(heights - foot, shares / shares.max(), atol=1e-9)
            assert edges[-1] == axes.get_xlim()[1] == -axes.get_xlim()[0]
    before, after = (stairs[0] for stairs in (stairs_of(figure.axes[1])[:2], stairs_of(figure.axes[1])[1:2]))
    for (heights, edges), name in ((before, "initial"), (after, "final")):
        centre = (edges[1:] + edges[:-1]) / 2
        typical = np.abs(centre) @ (heights - heights.min()) / (heights - heights.min()).sum()
        values = [values_of(0, "winning_ticket", 1, name, key) for key in SHAPES]
        assert typical == pytest.approx(np.abs(np.concatenate(values)).mean(), abs=0.03)


def test_a_branch_without_any_weight_left_has_an_empty_row() -> None:
    figure = weight_distributions_figure(distributed_run(levels=2, collapsed="snip_uss"))
    assert [len(axes.patches) for axes in figure.axes] == [8, 8, 6]


def test_scores_are_histograms_of_each_layer_and_negative_ones_hang_below() -> None:
    run = distributed_run(trials=1)
    figure = score_distributions_figure(run)
    panels = dict(zip(CRITERIA, figure.axes, strict=False))
    for criterion, axes in panels.items():
        drawn = stairs_of(axes)
        assert len(drawn) == (6 if criterion == "grasp" else 3) and axes.get_xscale() == "log"
        above = drawn[:: 2 if criterion == "grasp" else 1]
        for (heights, edges), key in zip(above, SHAPES, strict=True):
            scores = scores_of(0, criterion, key)
            expected = 100 * np.histogram(scores, edges)[0] / scores.size
            np.testing.assert_allclose(heights, expected, atol=400 / scores.size + 1.5)
        for (heights, edges), key in zip(drawn[1::2] if criterion == "grasp" else [], SHAPES, strict=False):
            scores = scores_of(0, criterion, key)
            expected = -100 * np.histogram(-scores, edges)[0] / scores.size
            np.testing.assert_allclose(heights, expected, atol=400 / scores.size + 1.5)
    zero = 100 * np.mean(np.concatenate([scores_of(0, "snip", key).ravel() for key in SHAPES]) == 0)
    assert panels["snip"].get_title() == f"snip\n({zero:.0f}% zero)"
    assert "negative" in panels["grasp"].get_title() and panels["magnitude"].get_title() == "magnitude"


def test_the_matrix_says_mean_rank_correlations() -> None:
    run = distributed_run(trials=2)
    axes = score_distributions_figure(run).axes[len(CRITERIA)]
    drawn = np.ma.filled(axes.images[0].get_array(), np.nan)
    expected = run.score_correlation.mean("trial").values.copy()
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(drawn, expected)
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert said[(1, 0)] == "0.50" and said[(2, 0)] == "-0.05" and len(said) == 6


def test_many_layers_are_drawn_together_and_scores_of_zero_alone_not_at_all() -> None:
    run = distributed_run(trials=1, levels=1)
    again = run.assign_coords(weight=[f"{name}_2" for name in run.weight.values])
    own = [name for name, variable in run.data_vars.items() if "weight" in variable.dims]
    more = run.drop_dims("weight").merge(xarray.concat([run[own], again[own]], "weight"))
    figure = score_distributions_figure(more)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all layers"]
    run.score_share.loc[{"criterion": "snip"}] = 0
    run.score_quantile.loc[{"criterion": "snip"}] = np.nan
    axes = score_distributions_figure(run).axes[1]
    assert not axes.patches and axes.get_title() == "snip\n(100% zero)"
    FigureCanvasAgg(axes.figure).draw()  # type: ignore[arg-type]


@pytest.mark.slow
def test_runs_without_such_facts_have_no_such_figures_and_unfinished_ones_say_so(tmp_path: Path) -> None:
    run = distributed_run(trials=1, levels=2)
    assert NAMES <= set(figures_of(run))
    assert not NAMES & set(figures_of(dataset(1, 2)))
    partial = run.copy(deep=True)
    for name in ("initial", "final"):
        partial[f"{name}_weight_share"].values[:] = np.nan
        partial[f"{name}_weight_quantile"].values[:] = np.nan
    partial.score_share.values[:] = np.nan
    assert not NAMES & set(figures_of(partial))
    for name in NAMES:
        marked = figures_of(run.assign_attrs(trainings=99))[name]()
        assert any(text.get_text().startswith("unfinished: ") for text in marked.texts)
    for draw in (weight_distributions_figure, score_distributions_figure):
        with pytest.raises(ValueError, match="Expected: a run with"):
            draw(dataset(1, 2))
    for style in ("screen", "paper"):
        assert len(save_figures(run, tmp_path / style, ["svg"], style)) == len(figures_of(run))
