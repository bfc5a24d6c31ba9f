"""Which figures a run has: chosen by what is in it, so that they need nothing but its run.h5."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from lth_keras.analysis import at_early_stop, at_the_end
from lth_keras.analysis.schema import DENSE
from lth_keras.plots import accuracy, convergence, early_stop
from lth_keras.plots.curves import curves_figure
from lth_keras.plots.document_lengths import document_lengths_figure
from lth_keras.plots.early import early_branches
from lth_keras.plots.early_tickets import early_tickets_figure
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.legend import leave_room_above
from lth_keras.plots.overlap_matrix import compared_levels, overlap_matrix_figure
from lth_keras.plots.postmortem import ALL, postmortem_figure
from lth_keras.plots.references import references_of
from lth_keras.plots.schedules import (
    BASELINE,
    OVERLAP,
    PAIRS,
    baseline_of,
    layers_figure,
    overlaps_figure,
    relative_accuracy_figure,
    schedules_of,
)
from lth_keras.plots.score_distributions import score_distributions_figure, scored_criteria
from lth_keras.plots.weight_distributions import distributed_levels, weight_distributions_figure
from lth_keras.storage.contents import progress
from lth_keras.storage.facts import document_lengths

Draw = Callable[[], Figure]


def figures_of(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw]:
    """Every figure that a run has, by the name of its files; each is drawn when called.

    What is known of publications stands beside the run of an experiment that repeats theirs. The figures of a run that
    is not finished say so, but for those of its data alone.

    | name | of which runs |
    | --- | --- |
    | `accuracy`, `early_stop` | with a validation split |
    | `early_tickets_accuracy` in place of `accuracy`, `early_tickets` | whose branches have a number `score_at` |
    | `relative_accuracy`, `accuracy_below_dense`, `layers` | with branches named by schedules, such as `snip_uss` |
    | `overlaps` | of those, with a baseline that is a branch |
    | `overlap_matrix` | with overlaps of three or more branches that have masks of their own |
    | `weight_distributions`, `score_distributions` | that were asked for them |
    | `postmortem` | with a branch `thesis`: of `experiments.thesis_postmortem` |
    | `convergence`, `curves`, `history` | all |
    | `density_by_kind` | that say the kind of each weight |
    | `document_lengths` | of texts |

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        baseline: What `relative_accuracy` and `overlaps` are beside, a branch or `dense`; by default the winning
            ticket, where the run has it.

    Raises:
        ValueError: There is no such baseline, or no figure that has one.
    """
    early = bool(early_branches(dataset))
    figures: dict[str, Draw] = {}
    if np.isfinite(dataset.validation_loss.values).any():
        name = "early_tickets_accuracy" if early else "accuracy"
        figures[name] = partial(accuracy.accuracy_figure, dataset, references_of(dataset, at_early_stop(dataset)))
        known = references_of(dataset, early_stop.VARIABLE)
        figures["early_stop"] = partial(early_stop.early_stop_figure, dataset, known)
    if early:
        figures["early_tickets"] = partial(early_tickets_figure, dataset)
    if schedules_of(dataset):
        against = baseline_of(dataset, baseline)
        figures["relative_accuracy"] = partial(relative_accuracy_figure, dataset, against)
        if against != DENSE:
            figures["accuracy_below_dense"] = partial(relative_accuracy_figure, dataset, DENSE)
        figures["layers"] = partial(layers_figure, dataset)
        if (OVERLAP if against == BASELINE else PAIRS) in dataset and against != DENSE:
            figures["overlaps"] = partial(overlaps_figure, dataset, against)
    elif baseline is not None:
        raise ValueError(
            f"Expected: a baseline for branches named by schedules, such as snip_uss, alone. Received: {baseline!r}"
        )
    if compared_levels(dataset):
        figures["overlap_matrix"] = partial(overlap_matrix_figure, dataset)
    if distributed_levels(dataset):
        figures["weight_distributions"] = partial(weight_distributions_figure, dataset)
    if scored_criteria(dataset):
        figures["score_distributions"] = partial(score_distributions_figure, dataset)
    known = references_of(dataset, at_the_end(dataset))
    if ALL in dataset.branch.values:
        figures["postmortem"] = partial(postmortem_figure, dataset, known)
    figures["convergence"] = partial(convergence.convergence_figure, dataset, known)
    figures["curves"] = partial(curves_figure, dataset)
    figures["history"] = partial(history_figure, dataset)
    if {"kind", "size"} <= set(dataset.coords):
        figures["density_by_kind"] = partial(density_by_kind_figure, dataset)
    marked: dict[str, Draw] = {name: partial(_marked, draw, unfinished(dataset)) for name, draw in figures.items()}
    if documents := document_lengths(dataset):
        marked["document_lengths"] = partial(document_lengths_figure, documents.lengths, documents.cut_off)
    return marked


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
