"""How a branch looks in every figure: colour, line and marker, told apart in grey too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

DASHED = (0, (5, 1.6))
DOTTED = (0, (1.2, 1.4))
DASH_DOT = (0, (6, 1.5, 1.2, 1.5))

FIGURE_PARAMETERS: Any = {  # of matplotlib.rc_context
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.labelsize": 10,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#111111",
    "ytick.labelcolor": "#111111",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "lth_keras",  # the same figure gives the same SVG
}


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
            "linewidth": 1.7,
            "markersize": 5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
            "label": self.label,
        }
        return {**style, **changes}


# Lightness (CIE L*) falls in clear steps: 25, 53, 70 for the paper's branches.
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
    """The look of `branch`: a function of its name alone, so it is the same in every figure."""
    if branch in _KNOWN:
        return _KNOWN[branch]
    return BranchStyle(*_OTHERS[_place(branch)], _label(branch))


def branch_styles(branches: Iterable[str]) -> dict[str, BranchStyle]:
    """The look of each of `branches`, no two alike: names that meet on a colour move to free ones.

    Up to eight branches besides the known ones get a colour each, up to forty a look each.
    """
    branches = list(dict.fromkeys(branches))
    styles = {branch: _KNOWN[branch] for branch in branches if branch in _KNOWN}
    taken: list[int] = []
    for branch in sorted(set(branches) - styles.keys()):
        order = [(_place(branch) + i) % len(_OTHERS) for i in range(len(_OTHERS))]
        uses = {place: _uses(place, taken) for place in order}
        place = min(order, key=lambda candidate: uses[candidate])
        taken.append(place)
        styles[branch] = BranchStyle(*_OTHERS[place], _label(branch))
    return {branch: styles[branch] for branch in branches}


def luminance(colour: str) -> float:
    """CIE lightness L* in [0, 100] of "#rrggbb": how light a colour is when printed in grey."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


def _place(branch: str) -> int:
    return int.from_bytes(hashlib.sha256(branch.encode()).digest()[:4], "big") % len(_OTHERS)


def _uses(place: int, taken: list[int]) -> tuple[bool, int]:
    """Whether a look is taken, then how often its colour is."""
    return place in taken, sum(other % len(_COLOURS) == place % len(_COLOURS) for other in taken)


def _label(branch: str) -> str:
    return branch.replace("_", " ")
