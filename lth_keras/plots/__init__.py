"""Figures of a run: accuracy, early-stop step, training curves; and of its data. No global matplotlib state."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lth_keras.plots.accuracy import accuracy_figure
from lth_keras.plots.convergence import Reference, convergence_figure
from lth_keras.plots.curves import chosen_levels, curves_figure
from lth_keras.plots.document_lengths import document_lengths_figure
from lth_keras.plots.early_stop import early_stop_figure
from lth_keras.plots.early_tickets import early_tickets_figure
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.postmortem import postmortem_figure
from lth_keras.plots.style import FIGURE_PARAMETERS, BranchStyle, branch_style, branch_styles
from lth_keras.results import atomic

__all__ = [
    "FIGURES",
    "BranchStyle",
    "Reference",
    "accuracy_figure",
    "branch_style",
    "branch_styles",
    "chosen_levels",
    "convergence_figure",
    "curves_figure",
    "density_by_kind_figure",
    "document_lengths_figure",
    "early_stop_figure",
    "early_tickets_figure",
    "history_figure",
    "postmortem_figure",
    "save_figure",
    "save_figures",
]

FIGURES: dict[str, Callable[[xarray.Dataset], Figure]] = {
    "accuracy": accuracy_figure,
    "early_stop": early_stop_figure,
    "curves": curves_figure,
}
FORMATS = ("png", "svg", "pdf")


def save_figures(
    dataset: xarray.Dataset,
    directory: str | os.PathLike[str],
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Draw every figure of `FIGURES` and write it as `<directory>/<name>.<format>`.

    Args:
        dataset: A run, as `lth_keras.results.open_run` gives it.
        directory: Made if absent; figures of the same name are replaced.
        formats: Among "png", "svg", "pdf".

    Returns:
        The paths written.

    Raises:
        ValueError: An unknown format.
        OSError: `directory` cannot be written.
    """
    _check_formats(formats)
    return [
        path
        for name, draw in FIGURES.items()
        for path in save_figure(functools.partial(draw, dataset), directory, name, formats)
    ]


def save_figure(
    draw: Callable[[], Figure],
    directory: str | os.PathLike[str],
    name: str,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Draw one figure in the house's style and write it as `<directory>/<name>.<format>`.

    Args:
        draw: Makes the figure; called once.
        directory: Made if absent; figures of the same name are replaced.
        name: The files' name without the ending.
        formats: Among "png", "svg", "pdf".

    Returns:
        The paths written.

    Raises:
        ValueError: An unknown format.
        OSError: `directory` cannot be written.
    """
    _check_formats(formats)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(FIGURE_PARAMETERS):
        figure = draw()
        FigureCanvasAgg(figure)
        for kind in formats:
            path = directory / f"{name}.{kind}"
            atomic.write_bytes(path, _render(figure, kind))
            written.append(path)
    return written


def _check_formats(formats: Sequence[str]) -> None:
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise ValueError(f"Expected: formats among {FORMATS}. Received: {list(formats)}")


def _render(figure: Figure, kind: str) -> bytes:
    image = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(image, format=kind, dpi=160, metadata=undated.get(kind))
    return image.getvalue()
