"""The legend over a figure: every branch once, whichever panels it is in."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_keras.plots.style import BranchStyle


def add_legend(figure: Figure, styles: Iterable[BranchStyle], reference: BranchStyle | None) -> None:
    """Branches in their order, then the reference line, if any, in one row above the panels if they fit."""
    handles = [Line2D([], [], **style.curve()) for style in styles]
    if reference is not None:
        handles.append(Line2D([], [], **reference.curve(marker="", linewidth=1.0)))
    columns = max(2, int(figure.get_figwidth() / 1.55))
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), columns),
        handlelength=3.4,
        columnspacing=1.6,
    )
