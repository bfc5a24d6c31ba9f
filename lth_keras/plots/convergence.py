"""Test accuracy after convergence against density, beside the points of publications."""

from __future__ import annotations

from collections.abc import Sequence

import xarray
from matplotlib.figure import Figure

from lth_keras.analysis import at_the_end
from lth_keras.plots.accuracy import over_density
from lth_keras.plots.references import Reference


def convergence_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Mean of the metric (shares in percent) on the test split after the last step, band from least to greatest trial.

    With a second panel near the dense network where a branch falls far, as `accuracy_figure`.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        references: Points of publications to draw beside it, of the accuracy after the last step.

    Raises:
        ValueError: A reference point that is none.
    """
    return over_density(dataset, at_the_end(dataset), references)
