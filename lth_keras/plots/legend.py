"""The legend over a figure: every branch once, whichever panels it is in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from lth_keras.plots.style import BranchStyle, line_width

_HANDLE, _SPACING = 3.4, 1.6  # in font sizes
_BORDER = 1.0  # beside the entries
_ROWS, _LINE = 3, 1.5  # rows that figures have room for, and how high one is
_PER_LETTER = 0.53  # width of one in a title, in font sizes
ABOVE = "branches"  # names the legend above the panels


def add_legend(
    figure: Figure, styles: Iterable[BranchStyle], reference: BranchStyle | None, title: str | None = None
) -> None:
    """Branches in their order, then the reference line, if any, in as few rows above the panels as they fit in."""
    handles = [Line2D([], [], **style.curve()) for style in styles]
    if reference is not None:
        handles.append(Line2D([], [], **reference.curve(marker="", linewidth=line_width(0.6))))
    size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
    columns = _columns([_width(str(handle.get_label())) for handle in handles], 72 * figure.get_figwidth() / size)
    if title is not None:
        title = textwrap.fill(title, int(72 * figure.get_figwidth() / size / _PER_LETTER))
    beyond = max(0, -(-len(handles) // columns) - _ROWS) + (title or "").count("\n")
    figure.set_figheight(figure.get_figheight() + beyond * _LINE * size / 72)  # the panels keep their height
    legend = figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=columns,
        handlelength=_HANDLE,
        columnspacing=_SPACING,
        title=title,
    )
    legend.set_gid(ABOVE)


def leave_room_above(figure: Figure, points: float) -> None:
    """Make a figure so much higher, and leave its top free: the legend above its panels moves down with them."""
    width, height = figure.get_size_inches()
    added = points / 72
    figure.set_size_inches(width, height + added)
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, 0, 1, height / (height + added)))
    for legend in figure.legends:
        if legend.get_gid() == ABOVE:
            legend.borderaxespad += points / legend.prop.get_size_in_points()


def _width(label: str) -> float:
    """How wide a label is, in font sizes."""
    return float(TextPath((0, 0), label, size=100).get_extents().width) / 100 if label else 0.0


def _columns(labels: Sequence[float], width: float) -> int:
    """The most columns of labels so wide that fit into `width`; entries go down the columns, as Matplotlib has it."""
    for columns in range(len(labels), 1, -1):
        longest = [max(part) for part in np.array_split(np.asarray(labels), columns)]
        taken = sum(_HANDLE + 0.8 + each for each in longest) + _SPACING * (columns - 1) + _BORDER
        if taken <= width:
            return columns
    return 1
