"""Why the thesis found no winning tickets on MNIST: accuracy against density with its protocol, cause by cause."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import xarray
from matplotlib.figure import Figure

from experiments.figures.published_points import references_of
from lth_keras.plots import (
    DASH_DOT,
    DASHED,
    DOTTED,
    BranchStyle,
    Draw,
    Reference,
    add_reference_legend,
    axis_label,
    densities_of,
    draw_over_density,
    draw_references,
    mark_unfinished,
    new_figure,
    set_density_axis,
)

VARIABLE = "test_accuracy_final"
ALL = "thesis"
"""The branch with all causes."""

_MASKS, _PIXELS, _OPTIMISER, _OUTPUT, _SLOW = (
    ("#d1541b", DASHED, "s"),
    ("#2f7d4f", DASH_DOT, "P"),
    ("#7a6bd0", DOTTED, "d"),
    ("#c98a00", DASHED, "v"),
    ("#58b6c4", DASH_DOT, "X"),
)
_RIGHT = BranchStyle("#08357a", "solid", "o", "everything right")
_CORRECTED = {
    "winning_ticket": _RIGHT,
    "thesis_trained_masks": BranchStyle(*_MASKS, "masks of the trained weights"),
    "thesis_scaled_pixels": BranchStyle(*_PIXELS, "pixels in [0, 1]"),
    "thesis_new_optimiser": BranchStyle(*_OPTIMISER, "a new optimiser in every level"),
    "thesis_half_output": BranchStyle(*_OUTPUT, "output layer at half the rate"),
    "thesis_slow": BranchStyle(*_SLOW, "learning rate of its text, 1.2e-4"),
    ALL: BranchStyle("#111111", "solid", "D", "the thesis' protocol"),
}
_ALONE = {
    "winning_ticket": _RIGHT,
    "only_initial_masks": BranchStyle(*_MASKS, "masks of the initial weights"),
    "only_raw_pixels": BranchStyle(*_PIXELS, "pixels 0 ... 255"),
    "only_one_optimiser": BranchStyle(*_OPTIMISER, "one optimiser for all levels"),
    "only_full_output": BranchStyle(*_OUTPUT, "output layer at the full rate"),
    "only_slow": BranchStyle(*_SLOW, "learning rate 1.2e-4"),
}


def figures(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw | None]:
    """`postmortem`, for a run with the thesis' protocol."""
    if ALL not in dataset.branch.values:
        return {}
    draw = partial(postmortem_figure, dataset, references_of(dataset, VARIABLE))
    return mark_unfinished(dataset, {"postmortem": draw})


def postmortem_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Test accuracy (percent) after the last step against density: mean over trials, min-max bands.

    The left panel shows the thesis' protocol, and the same with one cause corrected at a time. The right panel, if the
    run has these branches, shows the correct protocol with one cause at a time. Its effects are smaller, so it has its
    own scale and omits the thesis' protocol. A cause has the same colour in both panels.

    Args:
        dataset: A run of `experiments.thesis_postmortem`, as `lth_keras.storage.open_run` gives it.
        references: Published accuracies after the last step.

    Raises:
        ValueError: It has no branch "thesis", or a reference point is invalid.
    """
    branches = [str(name) for name in dataset.branch.values]
    if ALL not in branches:
        raise ValueError(f"Expected: a run with the branch {ALL!r}. Received: {branches}")
    panels = {"the thesis' protocol, one cause corrected": _CORRECTED}
    if any(name.startswith("only_") for name in branches):
        panels["everything right, but one cause (scale of its own)"] = _ALONE
    figure = new_figure(wide=len(panels) > 1, height=1.3)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, styles) in zip(drawn, panels.items(), strict=True):
        for branch, style in styles.items():
            if branch in branches:
                draw_over_density(axes, dataset, VARIABLE, branch, style, 100)
        set_density_axis(axes, dataset, densities_of(references))
        if ALL in styles:
            draw_references(axes, dataset, references, 100)
        axes.legend(handles=[line for line in axes.get_lines() if line.get_marker() != "*"], loc="best")
        axes.set_title(title)
    drawn[0].set_ylabel(axis_label(dataset[VARIABLE], percent=True))
    add_reference_legend(figure, references)
    return figure
