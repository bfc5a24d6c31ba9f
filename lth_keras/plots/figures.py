"""Selects the figures of a run by the content of its run.h5."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import xarray
from matplotlib.figure import Figure

from lth_keras.analysis import schedules_of, validated
from lth_keras.plots.curves import curves_figure
from lth_keras.plots.history import history_figure
from lth_keras.plots.kinds import density_by_kind_figure
from lth_keras.plots.legend import leave_room_above
from lth_keras.plots.over_density import accuracy_figure, convergence_figure, early_stop_figure
from lth_keras.plots.overlap_matrix import compared_levels, overlap_matrix_figure
from lth_keras.plots.registered import Draw, registered_figures
from lth_keras.plots.score_distributions import score_distributions_figure, scored_criteria
from lth_keras.plots.style import points_of
from lth_keras.plots.weight_distributions import distributed_levels, weight_distributions_figure
from lth_keras.storage import progress


def figures_of(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw]:
    """All figures of a run, by file name; each is drawn when called.

    Figures of an unfinished run are marked, except those of the data alone.

    | name | runs |
    | --- | --- |
    | `accuracy`, `early_stop` | with a validation split |
    | `overlap_matrix` | with overlaps of three or more branches with their own masks |
    | `weight_distributions`, `score_distributions` | with distributions |
    | `convergence`, `curves`, `history` | all |
    | `density_by_kind` | with the kind of each weight |
    | others | of an experiment that registers its own figures (`experiments/figures/`) |

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        baseline: Of figures by schedule, a branch or `dense`; by default the winning ticket, if the run has it.

    Raises:
        ValueError: There is no such baseline, or no figure with a baseline.
    """
    is_validated = validated(dataset)
    general = {
        "accuracy": (is_validated, accuracy_figure),
        "early_stop": (is_validated, early_stop_figure),
        "overlap_matrix": (compared_levels(dataset), overlap_matrix_figure),
        "weight_distributions": (distributed_levels(dataset), weight_distributions_figure),
        "score_distributions": (scored_criteria(dataset), score_distributions_figure),
        "convergence": (True, convergence_figure),
        "curves": (True, curves_figure),
        "history": (True, history_figure),
        "density_by_kind": ({"kind", "size"} <= set(dataset.coords), density_by_kind_figure),
    }
    drawn = {name: partial(draw, dataset) for name, (possible, draw) in general.items() if possible}
    own = registered_figures(dataset, baseline)
    if baseline is not None and not (own and schedules_of(dataset)):
        raise ValueError(
            "Expected: a baseline only for experiments with figures by schedule, such as composite_pruning. "
            f"Received: {baseline!r}"
        )
    found = {**mark_unfinished(dataset, drawn), **own}
    return {name: draw for name, draw in found.items() if draw is not None}


def mark_unfinished(dataset: xarray.Dataset, figures: Mapping[str, Draw | None]) -> dict[str, Draw | None]:
    """Figures that state above their panels how many trainings are finished, if any is missing.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        figures: By name; None stays.
    """
    finished, asked, known = progress(dataset)
    mark = f"unfinished: {finished:,} of {'' if known else 'at least '}{asked:,} trainings"
    return {
        name: draw and (partial(_marked, draw, mark) if finished < asked else draw) for name, draw in figures.items()
    }


def _marked(draw: Draw, mark: str) -> Figure:
    figure = draw()
    size = points_of("axes.titlesize")
    leave_room_above(figure, 1.6 * size)
    figure.text(0.01, 0.99, mark, ha="left", va="top", fontsize=size, fontstyle="italic", color="#a01515")
    return figure
