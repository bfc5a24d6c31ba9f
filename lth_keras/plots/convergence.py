"""Test accuracy after convergence against density, with published points."""

from __future__ import annotations

from collections.abc import Sequence

import xarray
from matplotlib.figure import Figure

from lth_keras.analysis import at_the_end
from lth_keras.plots.accuracy import over_density
from lth_keras.plots.references import Reference


def convergence_figure(dataset: xarray.Dataset, references: Sequence[Reference] = ()) -> Figure:
    """Test metric (shares in percent) after the last step: mean over trials, min-max bands.

    A second panel may magnify differences near the dense network, as in `accuracy_figure`.

    Args:
        dataset: A run, as `lth_keras.storage.open_run` gives it.
        references: Published accuracies after the last step, drawn as stars.

    Raises:
        ValueError: A reference point is invalid.
    """
    return over_density(dataset, at_the_end(dataset), references)
