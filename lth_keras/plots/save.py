"""Writes figures to files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lth_keras.plots.figures import figures_of
from lth_keras.plots.style import STYLES, Style
from lth_keras.storage import atomic

FORMATS = ("png", "svg", "pdf")
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figures(
    dataset: xarray.Dataset,
    directory: str | os.PathLike[str],
    formats: Sequence[str] | None = None,
    style: str = "screen",
    baseline: str | None = None,
) -> list[Path]:
    """Draw all figures of `figures_of` and write them as `<directory>/<name>.<format>`.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        directory: Created if absent; figures of the same name are replaced.
        formats: Among "png", "svg", "pdf"; None for those of the style.
        style: "screen" (png and svg by default), or "paper": for two columns on A4, in serif (pdf by default).
        baseline: As in `figures_of`.

    Returns:
        The paths written.

    Raises:
        ValueError: An unknown format, style or baseline.
        OSError: `directory` cannot be written.
    """
    _choose(formats, style)
    figures = figures_of(dataset, baseline)
    return [path for name, draw in figures.items() for path in save_figure(draw, directory, name, formats, style)]


def save_figure(
    draw: Callable[[], Figure],
    directory: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] | None = None,
    style: str = "screen",
) -> list[Path]:
    """Draw one figure in a style of `STYLES` and write it as `<directory>/<name>.<format>`.

    Args:
        draw: Makes the figure; called once.
        directory: Created if absent; figures of the same name are replaced.
        name: The files' name without its extension.
        formats: As in `save_figures`.
        style: As in `save_figures`.

    Returns:
        The paths written.

    Raises:
        ValueError: An unknown format or style.
        OSError: `directory` cannot be written.
    """
    parameters, formats = _choose(formats, style)
    directory = Path(os.path.expanduser(directory))
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(parameters):
        figure = draw()
        FigureCanvasAgg(figure)
        for kind in formats:
            path = directory / f"{name}.{kind}"
            image = io.BytesIO()
            figure.savefig(image, format=kind, dpi=160, metadata=_UNDATED.get(kind))
            atomic.write_bytes(path, image.getvalue())
            written.append(path)
    return written


def _choose(formats: Sequence[str] | None, style: str) -> Style:
    """The style with the requested formats."""
    if style not in STYLES:
        raise ValueError(f"Expected: a style among {tuple(STYLES)}. Received: {style!r}")
    chosen = STYLES[style] if formats is None else STYLES[style]._replace(formats=tuple(formats))
    if not chosen.formats or set(chosen.formats) - set(FORMATS):
        raise ValueError(f"Expected: formats among {FORMATS}. Received: {list(chosen.formats)}")
    return chosen
