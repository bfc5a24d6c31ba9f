"""What a mask keeps of each weight, and where in the first one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lth_keras.plots.style import as_text, branch_style, line_width, new_figure, points_of

FILTERS = 144
"""The most filters that are shown."""
CELLS = 96
"""The most cells along an axis of a matrix; a larger one is averaged over blocks."""
MATRIX = "inputs (down) x outputs (across)"
_LETTERS = 34  # the most of a name
_COLOURS = "YlGnBu"
_LINES_PER_BAR = 1.35  # height of a bar and the space around it, in font sizes

Shares = npt.NDArray[np.float64]


def masks_figure(mask: Mapping[str, npt.ArrayLike], pixels: Sequence[int] | None = None) -> Figure:
    """The share (percent) that a mask keeps of each weight, as bars, and where in the first weight, as an image.

    The image has a small one for each filter of a convolution, averaged over its input channels; with `pixels` one that
    says of each input of a dense layer how much of its outgoing weights is kept; otherwise it is the matrix of inputs x
    outputs, as a square.

    Args:
        mask: of a model, as `lth_keras.get_mask` returns it: weight key to booleans, in the order of the model.
        pixels: the shape of the images that the first layer, a dense one, reads: (height, width) or (height, width,
            channels), over which it is averaged.

    Raises:
        ValueError: for a mask of no weights, or `pixels` of another number of inputs than the first layer has.

    Example:
        >>> save_figure(lambda: masks_figure(lth_keras.get_mask(pruned), pixels=(28, 28)), "figures", "masks")
    """
    kept = {key: np.asarray(array, bool) for key, array in mask.items()}
    if not kept:
        raise ValueError("Expected the mask of a model with prunable weights. Received: one of no weights.")
    first = next(iter(kept))
    image, said = _image(first, kept[first], pixels)
    figure = new_figure(wide=True)
    row = _LINES_PER_BAR * points_of("ytick.labelsize") / 72
    figure.set_figheight(max(figure.get_figheight(), row * len(kept) + 1.0))
    bars, picture = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_shares(bars, kept)
    _draw_image(picture, image, f"{_short(first)}\n{said}", square=said == MATRIX)
    return figure


def _draw_shares(axes: Axes, kept: Mapping[str, npt.NDArray[np.bool_]]) -> None:
    shares = [100 * float(array.mean()) for array in kept.values()]
    places = range(len(shares))
    axes.barh(places, shares, color=branch_style("winning_ticket").colour, height=0.7)
    whole = 100 * sum(int(array.sum()) for array in kept.values()) / sum(array.size for array in kept.values())
    said = f"whole network: {_percent(whole)}"
    axes.axvline(whole, color="#444444", linestyle="--", linewidth=line_width(0.6), label=said)
    white: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # over the line
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": _small(), "bbox": white}
    for place, share in zip(places, shares, strict=True):
        axes.annotate(_percent(share), (share, place), (4, 0), **beside)
    axes.set_yticks(places, [_short(key) for key in kept], fontsize=_small())
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(0, 1.15 * max(*shares, whole) or 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("weights kept (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, fontsize=_small())


def _draw_image(axes: Axes, image: Shares, title: str, square: bool) -> None:
    shown = axes.imshow(np.ma.masked_invalid(100 * image), cmap=_COLOURS, vmin=0, interpolation="none")
    if square:
        axes.set_aspect("auto")
        axes.set_box_aspect(1)
    axes.set_anchor("N")
    axes.set_axis_off()
    axes.set_title(title)
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes((0.1, -0.08, 0.8, 0.035)), orientation="horizontal")
    bar.set_label("weights kept (%)")


def _image(key: str, kept: npt.NDArray[np.bool_], pixels: Sequence[int] | None) -> tuple[Shares, str]:
    """Shares kept in two dimensions, and what they are of."""
    inputs = kept.shape[0]
    if pixels is not None:
        if kept.ndim != 2 or math.prod(pixels) != inputs or len(pixels) not in (2, 3):
            raise ValueError(
                f"Expected pixels=(height, width) or (height, width, channels) of a dense layer's inputs. "
                f"Received: {tuple(pixels)} for {key} of shape {kept.shape}."
            )
        shares = kept.mean(1).reshape(pixels)
        return (shares.mean(2) if shares.ndim == 3 else shares), "of each pixel's weights"
    if kept.ndim == 4:
        return _filters(kept.mean(2))
    return _averaged(kept.reshape(-1, kept.shape[-1])), MATRIX


def _filters(shares: Shares) -> tuple[Shares, str]:
    """Filters beside and below each other, with gaps of NaN."""
    height, width, count = shares.shape
    shown = min(count, FILTERS)
    columns = math.ceil(math.sqrt(shown))
    rows = math.ceil(shown / columns)
    image = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number in range(shown):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        image[top : top + height, left : left + width] = shares[:, :, number]
    return image, f"its {count} filters" if shown == count else f"the first {shown} of its {count} filters"


def _averaged(matrix: npt.NDArray[Any]) -> Shares:
    """The matrix with at most `CELLS` rows and columns, each the average of equally many, but for the last."""
    for axis in (0, 1):
        step = -(-matrix.shape[axis] // CELLS)
        starts = np.arange(0, matrix.shape[axis], step)
        counts = np.diff([*starts, matrix.shape[axis]])
        sums = np.add.reduceat(matrix.astype(np.float64), starts, axis=axis)
        matrix = sums / (counts[:, None] if axis == 0 else counts)
    return matrix


def _short(name: str) -> str:
    """A name with its middle left out if it is long."""
    text = as_text(name)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS // 2 - 1]}…{text[-_LETTERS // 2 :]}"


def _percent(share: float) -> str:
    return f"{share:.3g}%"


def _small() -> float:
    return 0.9 * points_of("ytick.labelsize")
