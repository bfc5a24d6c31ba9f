"""The overlaps of each two branches: what is drawn is what run.h5 has, and chance is what random masks give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lth_keras.analysis.overlap import chance_overlaps
from lth_keras.mask import Mask
from lth_keras.plots import STYLES, figures_of, overlap_matrix_figure
from lth_keras.plots.overlap_matrix import compared_levels
from lth_keras.plots.rows import density_of, rows_of, spread_levels
from tests.plots.distributed_run import ROWS, distributed_run
from tests.synthetic import dataset

ORDER = ["winning_ticket", "grasp_uss", "snip_uss", "weights_snip_synflow_ums"]


def matrix_of(axes: Axes) -> np.ndarray:
    return np.ma.filled(axes.images[0].get_array(), np.nan)


def test_cells_below_the_diagonal_are_the_runs_and_those_above_are_chance() -> None:
    run = distributed_run()
    figure = overlap_matrix_figure(run)
    panels = figure.axes[:4]
    levels = spread_levels(run, compared_levels(run), 4)
    assert len(levels) == 4 and (levels[0], levels[-1]) == (1, 6)
    for axes, level in zip(panels, levels, strict=True):
        drawn = matrix_of(axes)
        chance = 100 * chance_overlaps(run, ORDER, level)
        for (i, row), (j, column) in itertools.product(enumerate(ORDER), repeat=2):
            own = run.mask_overlap_pairs.sel(level=level, branch=row, other_branch=column).mean("trial")
            if i == j:
                assert np.isnan(drawn[i, j])
            else:
                assert drawn[i, j] == pytest.approx(100 * float(own) if i > j else chance[i, j])
        assert "% of weights remaining" in axes.get_title() and "chance" in axes.get_title()
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [name.replace("_", " ") for name in ORDER]


def test_chance_is_what_random_masks_of_those_layer_densities_share() -> None:
    generator = np.random.default_rng(0)
    run = distributed_run(1, 1, ("winning_ticket", "snip_uss", "grasp_uss"))
    shares = {"hidden_1/kernel": (0.1, 0.3), "hidden_2/kernel": (0.9, 0.2), "output/kernel": (0.5, 0.5)}
    shapes = dict.fromkeys(shares, (400, 500))
    masks = [Mask({k: generator.random(shapes[k]) < share[i] for k, share in shares.items()}) for i in (0, 1)]
    for branch, mask in zip(("snip_uss", "grasp_uss"), masks, strict=True):
        run.weight_density.loc[{"branch": branch, "level": 1}] = [mask.densities()[key] for key in run.weight.values]
    run = run.assign_coords(size=("weight", [200_000] * 3))
    found = chance_overlaps(run, ["snip_uss", "grasp_uss"], 1)
    assert found[0, 1] == found[1, 0] == pytest.approx(masks[0].jaccard(masks[1]), abs=0.002)
    assert not found[0, 1] == pytest.approx(masks[0].density / (2 - masks[0].density), abs=0.02)


def test_a_missing_mask_is_a_white_cell_and_a_level_without_masks_no_panel() -> None:
    run = distributed_run(levels=3)
    for axes in ({"branch": "snip_uss"}, {"other_branch": "snip_uss"}):
        run.mask_overlap_pairs.loc[{**axes, "level": 2}] = np.nan
    run.mask_overlap_pairs.loc[{"level": 3}] = np.nan
    first, second = (matrix_of(axes) for axes in overlap_matrix_figure(run).axes[:2])
    missing = np.isnan(second) & ~np.eye(4, dtype=bool)
    assert not (np.isnan(first) & ~np.eye(4, dtype=bool)).any()
    assert missing[2, [0, 1, 3]].all() and missing[[0, 1, 3], 2].all() and missing.sum() == 6
    assert compared_levels(run) == [1, 2]


def test_it_needs_three_branches_with_masks_of_their_own() -> None:
    assert "overlap_matrix" in figures_of(distributed_run(levels=1))
    for branches in (ROWS[:2], ("winning_ticket", "random_mask", "random_reinit", "snip_uss")):
        assert "overlap_matrix" not in figures_of(distributed_run(1, 1, branches))
    assert "overlap_matrix" not in figures_of(dataset(1, 2))
    with pytest.raises(ValueError, match="Expected: a run with overlaps of each two"):
        overlap_matrix_figure(dataset(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["screen", "paper"])
def test_letters_of_twenty_branches_are_large_enough_for_print_and_in_the_picture(style: str) -> None:
    names = tuple(f"stacked_synflow_magnitude_{chr(97 + i)}_uss" for i in range(19))
    run = distributed_run(1, 5, ("winning_ticket", *names))
    with rc_context(STYLES[style].parameters):
        figure = overlap_matrix_figure(run)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        left = figure.axes[0].get_yticklabels()
        boxes = [label.get_window_extent() for label in left]
        texts = [text for axes in figure.axes for text in axes.texts]
    assert all(label.get_fontsize() >= 5 for label in [*left, *texts])
    assert min(box.x0 for box in boxes) >= 0
    assert all(above.y0 >= below.y1 - 1 for above, below in zip(boxes, boxes[1:], strict=False)), "names overlap"
    assert figure.get_figwidth() == STYLES[style].parameters["figure.figsize"][0] * 1.95


def test_levels_are_spread_over_the_logarithm_of_the_density() -> None:
    run = dataset(1, 8, ("winning_ticket",))
    for level, density in enumerate((1, 0.5, 0.2, 0.1, 0.015, 0.01, 0.007, 0.005, 0.004)):
        run.density.loc[{"level": level}] = density
    assert density_of(run, 4) == 0.015
    assert spread_levels(run, list(range(1, 9)), 4) == [1, 3, 4, 8]
    assert spread_levels(run, [2, 5], 4) == [2, 5]
    assert spread_levels(run, [5, 6, 7, 8], 3) == [5, 6, 8]


def test_branches_are_ordered_by_schedule_without_the_controls() -> None:
    run = distributed_run(1, 1, ("random_mask", *ROWS))
    assert rows_of(run) == [["winning_ticket"], ["grasp_uss", "snip_uss"], ["weights_snip_synflow_ums"]]


def test_an_unfinished_run_says_so() -> None:
    run: xarray.Dataset = distributed_run(levels=2).assign_attrs(trainings=999)
    texts = [text.get_text() for text in figures_of(run)["overlap_matrix"]().texts]
    assert any(text.startswith("unfinished: ") for text in texts)
