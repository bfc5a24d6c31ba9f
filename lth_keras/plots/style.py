"""Styles of figures: sizes and fonts for screen and paper; colour, line and marker of each branch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from lth_keras.system import printable

Letters = Literal["xtick.labelsize", "ytick.labelsize", "axes.titlesize", "axes.labelsize", "legend.fontsize"]
DASHED = (0, (5, 1.6))
DOTTED = (0, (1.2, 1.4))
DASH_DOT = (0, (6, 1.5, 1.2, 1.5))

_COMMON = {
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#111111",
    "ytick.labelcolor": "#111111",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "lth_keras",  # makes SVG files reproducible
    "pdf.fonttype": 42,  # embeds fonts as text, which publishers require
}


class Style(NamedTuple):
    """A style of figures: parameters of `matplotlib.rc_context`, and default formats.

    `figure.figsize` is the size in inches of a figure of one panel.
    """

    parameters: Any
    formats: tuple[str, ...]


STYLES = {
    "screen": Style(
        {
            **_COMMON,
            "figure.figsize": (6.0, 4.0),
            "font.family": "sans-serif",
            "font.size": 9.5,
            "axes.labelsize": 10,
            "axes.titlesize": 10.5,
            "axes.linewidth": 0.8,
            "grid.linewidth": 0.7,
            "lines.linewidth": 1.7,
            "lines.markersize": 5,
            "lines.markeredgewidth": 0.6,
            "legend.fontsize": 9,
        },
        ("png", "svg"),
    ),
    "paper": Style(
        {
            **_COMMON,
            "figure.figsize": (3.35, 2.5),  # a column of a two-column A4 page
            "font.family": "serif",
            "font.serif": ["STIXGeneral", "DejaVu Serif"],  # included in matplotlib; the first resembles Times
            "mathtext.fontset": "stix",
            "font.size": 7.5,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "axes.titlepad": 4,
            "axes.labelpad": 2.5,
            "axes.linewidth": 0.6,
            "grid.linewidth": 0.5,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "xtick.minor.size": 1.5,
            "lines.linewidth": 1.1,
            "lines.markersize": 3.2,
            "lines.markeredgewidth": 0.4,
            "legend.fontsize": 7,
        },
        ("pdf",),
    ),
}
_PER_LETTER = 0.53  # width of a letter of a legend, in font sizes
_WIDE = 1.95  # factor for panels beside each other: on paper the width of the text


def new_figure(*, wide: bool = False, height: float = 1.0) -> Figure:
    """An empty figure in the style of the surrounding `rc_context`.

    Args:
        wide: For panels beside each other.
        height: In heights of a one-panel figure.
    """
    width, one = rcParams["figure.figsize"]
    return Figure(figsize=(width * (_WIDE if wide else 1), one * height), layout="constrained")


def line_width(share: float) -> float:
    """A share of the width of curves, in points."""
    return share * float(rcParams["lines.linewidth"])


def marker_size(share: float) -> float:
    """A share of the size of curves' markers, in points."""
    return share * float(rcParams["lines.markersize"])


def points_of(parameter: Letters) -> float:
    """The font size of a parameter of the style, in points."""
    return float(FontProperties(size=rcParams[parameter]).get_size_in_points())


def letters_across(figure: Figure) -> int:
    """The number of letters of a legend that fit beside each other into a figure."""
    return int(72 * figure.get_figwidth() / points_of("legend.fontsize") / _PER_LETTER)


class BranchStyle(NamedTuple):
    """Matplotlib colour (#rrggbb), line style and marker of a branch, and its name in words."""

    colour: str
    line: Any
    marker: str
    label: str

    def curve(self, **changes: Any) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        style = {
            "color": self.colour,
            "linestyle": self.line,
            "marker": self.marker,
            "markeredgecolor": "white",
            "label": self.label,
        }
        return {**style, **changes}


# Lightness (CIE L*) differs clearly: 25, 53, 70 for the paper's branches.
_KNOWN = {
    "dense": BranchStyle("#666666", DASH_DOT, "D", "dense"),
    "winning_ticket": BranchStyle("#08357a", "solid", "o", "winning ticket"),
    "random_reinit": BranchStyle("#d1541b", DASHED, "s", "random reinit"),
    "random_mask": BranchStyle("#58b6c4", DOTTED, "^", "random mask"),
}
_COLOURS = ("#5b1a5e", "#9c2f5f", "#2f7d4f", "#7a6bd0", "#c98a00", "#8fb339", "#e58fb0", "#0f5f5c")
_LINES: tuple[tuple[Any, str], ...] = (
    ("solid", "v"),
    (DASHED, "P"),
    (DASH_DOT, "X"),
    (DOTTED, "d"),
    ("solid", ">"),
)
_OTHERS = [(colour, *line) for line in _LINES for colour in _COLOURS]


def branch_style(branch: str) -> BranchStyle:
    """The style of `branch`. It depends only on the name, so it is the same in every figure."""
    if branch in _KNOWN:
        return _KNOWN[branch]
    return BranchStyle(*_OTHERS[_place(branch)], _label(branch))


def branch_styles(branches: Iterable[str]) -> dict[str, BranchStyle]:
    """A different style for each of `branches`; names with the same colour move to free colours.

    Up to eight branches besides the known ones get different colours, up to forty different styles.
    """
    branches = list(dict.fromkeys(branches))
    styles = {branch: _KNOWN[branch] for branch in branches if branch in _KNOWN}
    taken: list[int] = []
    for branch in sorted(set(branches) - styles.keys()):
        order = [(_place(branch) + i) % len(_OTHERS) for i in range(len(_OTHERS))]
        place = min(order, key=partial(_uses, taken=taken))
        taken.append(place)
        styles[branch] = BranchStyle(*_OTHERS[place], _label(branch))
    return {branch: styles[branch] for branch in branches}


def luminance(colour: str) -> float:
    """CIE lightness L* in [0, 100] of "#rrggbb": its lightness when printed in grey."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


def _place(branch: str) -> int:
    return int.from_bytes(hashlib.sha256(branch.encode()).digest()[:4], "big") % len(_OTHERS)


def _uses(place: int, taken: list[int]) -> tuple[bool, int]:
    """Whether a style is used, and how often its colour is used."""
    return place in taken, sum(other % len(_COLOURS) == place % len(_COLOURS) for other in taken)


def as_text(name: str) -> str:
    """A name as text for Matplotlib, with dollar signs and control characters escaped."""
    return printable(name).replace("$", r"\$")


def _label(branch: str) -> str:
    return as_text(branch.replace("_", " "))
