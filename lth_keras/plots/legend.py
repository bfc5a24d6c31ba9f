"""The legend above a figure: every branch once for all panels."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from lth_keras.plots.style import BranchStyle, letters_across, line_width, points_of

_HANDLE, _SPACING = 3.4, 1.6  # in font sizes
_BORDER = 1.0  # beside the entries
_ROWS, _LINE = 3, 1.5  # rows that figures have room for, and the height of a row
ABOVE = "branches"  # names the legend above the panels


def add_legend(
    figure: Figure, styles: Iterable[BranchStyle], reference: BranchStyle | None, title: str | None = None
) -> None:
    """Adds branches in order, then the reference line, if any, in as few rows above the panels as possible."""
    handles = [Line2D([], [], **style.curve()) for style in styles]
    if reference is not None:
        handles.append(Line2D([], [], **reference.curve(marker="", linewidth=line_width(0.6))))
    size = points_of("legend.fontsize")
    labels = [str(handle.get_label()) for handle in handles]
    widths = [TextPath((0, 0), label, size=100).get_extents().width / 100 if label else 0.0 for label in labels]
    columns = _columns(widths, 72 * figure.get_figwidth() / size)
    if title is not None:
        title = textwrap.fill(title, letters_across(figure))
    beyond = max(0, -(-len(handles) // columns) - _ROWS) + (title or "").count("\n")
    figure.set_figheight(figure.get_figheight() + beyond * _LINE * size / 72)  # keeps the height of the panels
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
    """Make a figure higher by `points` and leave its top free; panels and legend move down."""
    width, height = figure.get_size_inches()
    added = points / 72
    figure.set_size_inches(width, height + added)
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, 0, 1, height / (height + added)))
    for legend in figure.legends:
        if legend.get_gid() == ABOVE:
            legend.borderaxespad += points / legend.prop.get_size_in_points()


def _columns(labels: Sequence[float], width: float) -> int:
    """The largest number of columns that fits into `width`. Matplotlib fills legends column by column."""
    for columns in range(len(labels), 1, -1):
        longest = [max(part) for part in np.array_split(np.asarray(labels), columns)]
        taken = sum(_HANDLE + 0.8 + each for each in longest) + _SPACING * (columns - 1) + _BORDER
        if taken <= width:
            return columns
    return 1
