"""Early tickets: accuracy and overlap by epoch, and curves that go from light to dark."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes

from experiments.figures.early_tickets import early_tickets_figure
from lth_keras.analysis.overlap import chance_overlap
from lth_keras.plots import accuracy_figure
from lth_keras.plots.early import early_branches, run_styles
from lth_keras.plots.style import luminance
from tests.plots.early_run import EPOCHS, PER_EPOCH, early_run


def line_of(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_panels_are_at_10_and_3_6_percent_with_the_winning_ticket_and_the_dense_network() -> None:
    run = early_run()
    ten, three, overlap = early_tickets_figure(run).axes
    percents = 100 * run.test_accuracy_at_early_stop.mean("trial")
    for axes, level in ((ten, 10), (three, 15)):
        density = 100 * float(run.density.sel(level=level).mean())
        assert axes.get_title() == f"{density:.1f}% of weights remaining"
        x, y = line_of(axes, "masks of epoch n")
        np.testing.assert_array_equal(x, EPOCHS)
        np.testing.assert_allclose(y, percents.sel(level=level, branch=early_branches(run)))
        np.testing.assert_allclose(
            line_of(axes, "masks of the end")[1], percents.sel(level=level, branch="winning_ticket")
        )
        np.testing.assert_allclose(line_of(axes, "dense")[1], percents.sel(level=0, branch="winning_ticket"))
    density = float(run.density.sel(level=10, branch="epoch_03").mean())
    x, y = line_of(overlap, f"at {100 * density:.1f}%")
    np.testing.assert_allclose(y, run.mask_overlap.sel(level=10, branch=early_branches(run)).mean("trial"))
    by_chance = line_of(overlap, f"by chance at {100 * density:.1f}%")[1]
    np.testing.assert_allclose(by_chance, chance_overlap(density))


def test_chance_is_what_random_masks_share() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.random((2, 200_000)) < 0.1
    assert chance_overlap(0.1) == pytest.approx((ours & theirs).sum() / (ours | theirs).sum(), rel=0.05)


def test_a_run_made_before_overlaps_were_written_has_the_panels_of_accuracy() -> None:
    figure = early_tickets_figure(early_run().drop_vars("mask_overlap"))
    assert len(figure.axes) == 2


def test_a_density_that_no_level_is_near_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ten, three, overlap = early_tickets_figure(early_run(levels=10)).axes
    assert [text.get_text() for text in three.texts] == ["no level there yet"] and not ten.texts
    assert not any("3.6" in str(line.get_label()) for line in overlap.get_lines())


def test_epochs_are_steps_where_a_run_does_not_say_how_long_they_are() -> None:
    run = early_run()
    del run.attrs["steps_per_epoch"]
    axes = early_tickets_figure(run).axes[0]
    np.testing.assert_array_equal(line_of(axes, "masks of epoch n")[0], [PER_EPOCH * epoch for epoch in EPOCHS])
    assert axes.get_xlabel() == "step n of the masks"
    assert run_styles(run)["epoch_03"].label == "step 2,748"


def test_a_run_without_early_tickets_is_refused() -> None:
    with pytest.raises(ValueError, match="a number `score_at`"):
        early_tickets_figure(early_run().drop_vars("score_at"))


def test_early_tickets_darken_by_epoch_and_neighbours_differ_in_line_or_marker() -> None:
    run = early_run(levels=1, epochs=tuple(range(16)))
    styles = run_styles(run)
    assert list(styles)[0] == "winning_ticket" and len({style.label for style in styles.values()}) == 17
    early = [styles[name] for name in early_branches(run)]
    assert [style.label for style in early] == [f"n = {n}" for n in range(16)]
    for first, second in pairwise(early):
        assert luminance(first.colour) > luminance(second.colour)
        assert first.line != second.line or first.marker != second.marker


def test_accuracy_has_a_curve_for_each_epoch() -> None:
    run = early_run(trials=1)
    axes = accuracy_figure(run).axes[0]
    for epoch, branch in zip(EPOCHS, early_branches(run), strict=True):
        x, y = line_of(axes, f"n = {epoch}")
        np.testing.assert_allclose(y, 100 * run.test_accuracy_at_early_stop.sel(branch=branch, trial=0))


def test_of_many_branches_the_winning_ticket_alone_has_a_band() -> None:
    assert len(accuracy_figure(early_run()).axes[0].collections) == 4
    assert len(accuracy_figure(early_run(levels=2, epochs=tuple(range(7)))).axes[0].collections) == 1


def test_unfinished_early_tickets_are_drawn() -> None:
    run = early_run()
    there = (run.branch != "epoch_00") & ((run.trial == 0) | (run.level < 12))
    run = run.map(lambda variable: variable.where(there) if "trial" in variable.dims else variable, keep_attrs=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = early_tickets_figure(run)
    np.testing.assert_array_equal(line_of(figure.axes[1], "masks of epoch n")[0], EPOCHS[1:])
    by_chance = [line for line in figure.axes[2].get_lines() if str(line.get_label()).startswith("by chance")]
    assert len(by_chance) == 2 and all(np.isfinite(line.get_ydata()).all() for line in by_chance)
