"""Which figures a run has, and what they say of a run that is not finished."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import xarray
from matplotlib.figure import Figure

from lth_keras.plots import figures_of, save_figures
from lth_keras.storage import assemble
from tests.synthetic import CREATED, KINDS, dataset, levels_of


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_every_run_has_these() -> None:
    expected = ["accuracy", "early_stop", "convergence", "curves", "history"]
    assert list(figures_of(dataset(trials=1, levels=2))) == expected


def test_without_a_validation_split_no_early_stop_is_drawn() -> None:
    assert list(figures_of(dataset(trials=1, levels=2, validated=False))) == ["convergence", "curves", "history"]


def test_a_run_that_says_the_kinds_of_its_weights_has_more() -> None:
    assert list(figures_of(dataset(trials=1, levels=2, kinds=KINDS)))[-1] == "density_by_kind"


def partial_run(**attributes: int) -> xarray.Dataset:
    results = [r for r in levels_of(trials=2, levels=3) if r.seed == 0 or r.level < 2]
    return assemble(results, experiment="x", config={}, versions={}, created=CREATED).assign_attrs(attributes)


@pytest.mark.parametrize("style", ["screen", pytest.param("paper", marks=pytest.mark.slow)])
def test_figures_of_an_unfinished_run_say_so(style: str, tmp_path: Path) -> None:
    assert texts(figures_of(partial_run())["accuracy"]()) == ["unfinished: 14 of at least 20 trainings"]
    for draw in figures_of(partial_run(trainings=96)).values():
        assert texts(draw()) == ["unfinished: 14 of 96 trainings"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(save_figures(partial_run(), tmp_path, ["png"], style)) == 5
    whole = figures_of(dataset(trials=2, levels=3).assign_attrs(trainings=20))
    assert not texts(whole["accuracy"]()) and not texts(whole["history"]())


@pytest.mark.slow
def test_the_mark_lies_above_panels_and_legend() -> None:
    for draw in figures_of(partial_run()).values():
        figure = draw()
        figure.draw_without_rendering()
        (mark,) = figure.texts
        bottom = mark.get_window_extent().y0
        below = [axes.get_tightbbox() for axes in figure.axes]
        below += [legend.get_window_extent() for legend in figure.legends]
        assert all(box is not None and box.y1 <= bottom for box in below)
