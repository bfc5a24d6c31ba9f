"""Looks of branches: fixed by name, none alike, told apart in grey."""

from __future__ import annotations

import itertools

from lth_keras.plots import branch_style, branch_styles
from lth_keras.plots.style import luminance

PAPER = ("winning_ticket", "random_reinit", "random_mask")


def test_a_look_does_not_depend_on_the_other_branches() -> None:
    for some in (PAPER, PAPER[::-1], ("random_mask", "other", "winning_ticket")):
        for branch, style in branch_styles(some).items():
            assert style == branch_style(branch)


def test_the_branches_of_the_paper_differ_in_grey_in_line_and_in_marker() -> None:
    styles = [branch_style(name) for name in (*PAPER, "dense")]
    for first, second in itertools.combinations(styles, 2):
        assert first.line != second.line and first.marker != second.marker
        assert abs(luminance(first.colour) - luminance(second.colour)) > 8
    lightness = [luminance(style.colour) for style in styles]
    assert max(lightness) < 75  # still seen on white


def test_no_two_branches_look_alike() -> None:
    names = [*PAPER, *(f"epoch_{n}" for n in range(40))]
    looks = {(s.colour, s.line, s.marker) for s in branch_styles(names).values()}
    assert len(looks) == len(names)


def test_up_to_eight_other_branches_have_a_colour_each() -> None:
    names = [*PAPER, *(f"criterion {n}" for n in range(8))]
    assert len({style.colour for style in branch_styles(names).values()}) == len(names)


def test_luminance_is_that_of_the_standard() -> None:
    assert abs(luminance("#ffffff") - 100) < 0.01 and luminance("#000000") == 0
    assert abs(luminance("#777777") - 50.03) < 0.01
