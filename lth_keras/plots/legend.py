"""The legend over a figure: every branch once, whichever panels it is in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from lth_keras.plots.style import BranchStyle, line_width

_HANDLE, _SPACING = 3.4, 1.6  # in font sizes
_PER_LETTER = 0.52
_ROWS, _LINE = 3, 1.5  # rows that figures have room for, and how high one is
ABOVE = "branches"  # names the legend above the panels


def add_legend(
    figure: Figure, styles: Iterable[BranchStyle], reference: BranchStyle | None, title: str | None = None
) -> None:
    """Branches in their order, then the reference line, if any, in as few rows above the panels as they fit in."""
    handles = [Line2D([], [], **style.curve()) for style in styles]
    if reference is not None:
        handles.append(Line2D([], [], **reference.curve(marker="", linewidth=line_width(0.6))))
    size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
    columns = _columns([len(str(handle.get_label())) for handle in handles], 72 * figure.get_figwidth() / size)
    beyond = max(0, -(-len(handles) // columns) - _ROWS)
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


def _columns(letters: Sequence[int], width: float) -> int:
    """Columns for the fewest rows that fit into `width`, which is in font sizes; entries go down the columns."""
    for rows in range(1, len(letters)):
        longest = [max(letters[i : i + rows]) for i in range(0, len(letters), rows)]
        if sum(_HANDLE + 0.8 + _PER_LETTER * n for n in longest) + _SPACING * len(longest) <= width:
            return len(longest)
    return 1
