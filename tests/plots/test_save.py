"""Styles of figures: sizes, letters and formats for a place."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.cbook import is_math_text
from matplotlib.legend import Legend
from matplotlib.text import Text

from lth_keras.plots import STYLES, figures_of, save_figures
from lth_keras.plots.style import as_text
from tests.plots.early_run import early_run
from tests.synthetic import dataset

COLUMN, TEXT = 8.8, 17.0
"""Widths in cm of one column, and of the text, of A4 in two columns."""


@pytest.mark.slow
def test_a_paper_gets_vectors_and_a_screen_pixels_too(tmp_path: Path) -> None:
    run = dataset(trials=1, levels=1)
    for style, kinds in (("paper", {".pdf"}), ("screen", {".png", ".svg"})):
        assert {path.suffix for path in save_figures(run, tmp_path / style, style=style)} == kinds
    assert {p.suffix for p in save_figures(run, tmp_path / "both", ["png", "pdf"], "paper")} == {".png", ".pdf"}


@pytest.mark.slow
def test_any_name_is_shown_as_text(tmp_path: Path) -> None:
    names = ("a$\\frac{$b", "$x$", "a[/b]\x1b]0;title\x07", "../<b>&amp;")
    run = dataset(trials=1, levels=2, branches=("winning_ticket", *names))
    run = run.assign_coords(weight=[f"{name} {weight}" for name, weight in zip(names, run.weight.values, strict=False)])
    for path in save_figures(run, tmp_path, ["svg"]):
        ElementTree.fromstring(path.read_bytes())
    texts = [text.get_text() for draw in figures_of(run).values() for text in draw().findobj(Text)]
    assert {as_text(name) for name in names} <= set(texts) and not any(map(is_math_text, texts))


@pytest.mark.slow
def test_a_papers_figures_fit_its_columns_in_letters_that_come_with_matplotlib(tmp_path: Path) -> None:
    run = early_run()
    with rc_context(STYLES["paper"].parameters):
        for draw in figures_of(run).values():
            width = 2.54 * draw().get_figwidth()
            assert width == pytest.approx(COLUMN, rel=0.05) or COLUMN < width <= TEXT
    (svg,) = (p for p in save_figures(run, tmp_path, ["svg"], "paper") if p.stem == "history")
    assert "STIX" in svg.read_text(encoding="utf-8")
    (pdf,) = (p for p in save_figures(run, tmp_path, style="paper") if p.stem == "history")
    assert b"/FontFile2" in pdf.read_bytes() and b"/Type3" not in pdf.read_bytes()  # TrueType


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("branches", ["few", "many"])
@pytest.mark.slow
def test_legends_lie_within_the_figure_and_above_the_panels(branches: str, style: str) -> None:
    if branches == "few":
        run = dataset(trials=2, levels=24).assign_attrs(experiment="cifar10_conv6")
    else:
        run = early_run(trials=1, epochs=tuple(range(16))).assign_attrs(experiment="mnist_early_tickets")
    with rc_context(STYLES[style].parameters):
        for draw in figures_of(run).values():
            figure = draw()
            figure.draw_without_rendering()
            width, height = figure.bbox.width, figure.bbox.height
            for legend in figure.legends:
                box = legend.get_window_extent()
                assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
                assert not any(_covers(legend, np.asarray(axes.get_window_extent())) for axes in figure.axes)


def _covers(legend: Legend, box: np.ndarray) -> bool:
    (_, bottom), (_, top) = box
    extent = legend.get_window_extent()
    return bool(extent.y0 < top and extent.y1 > bottom)


def test_an_unknown_style_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected: a style among .*'screen', 'paper'.* Received: 'poster'"):
        save_figures(dataset(trials=1, levels=0), tmp_path, style="poster")
