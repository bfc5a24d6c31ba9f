"""Which figures a run has: chosen by what is in it, so that they need nothing but its run.h5."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import xarray
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from lth_keras.analysis import validated
from lth_keras.analysis.schedules import schedules_of
from lth_keras.plots.accuracy import accuracy_figure
from lth_keras.plots.convergence import convergence_figure
from lth_keras.plots.curves import curves_figure
from lth_keras.plots.early_stop import early_stop_figure
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.legend import leave_room_above
from lth_keras.plots.overlap_matrix import compared_levels, overlap_matrix_figure
from lth_keras.plots.registered import Draw, registered_figures
from lth_keras.plots.score_distributions import score_distributions_figure, scored_criteria
from lth_keras.plots.weight_distributions import distributed_levels, weight_distributions_figure
from lth_keras.storage.contents import progress


def figures_of(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw]:
    """Every figure that a run has, by the name of its files; each is drawn when called.

    The figures of a run that is not finished say so, but for those of its data alone.

    | name | of which runs |
    | --- | --- |
    | `accuracy`, `early_stop` | with a validation split |
    | `overlap_matrix` | with overlaps of three or more branches that have masks of their own |
    | `weight_distributions`, `score_distributions` | that were asked for them |
    | `convergence`, `curves`, `history` | all |
    | `density_by_kind` | that say the kind of each weight |
    | others | of an experiment that has registered figures of its own (`experiments/figures/`) |

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        baseline: What figures by schedule are beside, a branch or `dense`; by default the winning ticket, where the
            run has it.

    Raises:
        ValueError: There is no such baseline, or no figure that has one.
    """
    general: dict[str, Draw | None] = {}
    if validated(dataset):
        general["accuracy"] = partial(accuracy_figure, dataset)
        general["early_stop"] = partial(early_stop_figure, dataset)
    if compared_levels(dataset):
        general["overlap_matrix"] = partial(overlap_matrix_figure, dataset)
    if distributed_levels(dataset):
        general["weight_distributions"] = partial(weight_distributions_figure, dataset)
    if scored_criteria(dataset):
        general["score_distributions"] = partial(score_distributions_figure, dataset)
    general["convergence"] = partial(convergence_figure, dataset)
    general["curves"] = partial(curves_figure, dataset)
    general["history"] = partial(history_figure, dataset)
    if {"kind", "size"} <= set(dataset.coords):
        general["density_by_kind"] = partial(density_by_kind_figure, dataset)
    own = registered_figures(dataset, baseline)
    if baseline is not None and not (own and schedules_of(dataset)):
        raise ValueError(
            "Expected: a baseline for the figures by schedule of an experiment that has them, such as "
            f"composite_pruning, alone. Received: {baseline!r}"
        )
    found = {**mark_unfinished(dataset, general), **own}
    return {name: draw for name, draw in found.items() if draw is not None}


def mark_unfinished(dataset: xarray.Dataset, figures: Mapping[str, Draw | None]) -> dict[str, Draw | None]:
    """Figures that say above their panels how many trainings are missing, if any is.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        figures: By name; None stays.
    """
    mark = unfinished(dataset)
    return {name: draw and partial(_marked, draw, mark) for name, draw in figures.items()}


def unfinished(dataset: xarray.Dataset) -> str | None:
    """What the figures of a run say where trainings are missing; None where none is."""
    finished, asked, known = progress(dataset)
    if finished >= asked:
        return None
    return f"unfinished: {finished:,} of {'' if known else 'at least '}{asked:,} trainings"


def _marked(draw: Draw, mark: str | None) -> Figure:
    figure = draw()
    if mark is not None:
        size = FontProperties(size=rcParams["axes.titlesize"]).get_size_in_points()
        leave_room_above(figure, 1.6 * size)
        figure.text(0.01, 0.99, mark, ha="left", va="top", fontsize=size, fontstyle="italic", color="#a01515")
    return figure
