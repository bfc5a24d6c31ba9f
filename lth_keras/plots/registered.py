"""Figures of one experiment, registered by the checkout in addition to the general ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import entry_points

import xarray
from matplotlib.figure import Figure

GROUP = "lth_keras.figures"
"""Group of entry points `<experiment>.<figures>`. Each is a function (dataset, baseline) -> figures by name, as in
`figures_of`; None removes the general figure of that name."""
Draw = Callable[[], Figure]


def registered_figures(dataset: xarray.Dataset, baseline: str | None) -> dict[str, Draw | None]:
    """The figures registered for a run's experiment.

    Figures whose code is not installed are omitted with a warning. Arguments as of `figures_of`.
    """
    experiment = str(dataset.attrs.get("experiment"))
    found: dict[str, Draw | None] = {}
    missing = []
    for entry in entry_points(group=GROUP):
        of, _, name = entry.name.rpartition(".")
        if of != experiment:
            continue
        try:
            figures = entry.load()
        except ModuleNotFoundError as error:
            if not f"{entry.module}.".startswith(f"{error.name}."):
                raise
            missing.append(name)
        else:
            found |= figures(dataset, baseline)
    if missing:
        warnings.warn(
            f"Not drawn: {', '.join(sorted(missing)).replace('_', ' ')} of the experiment {experiment}. Their code is "
            "in the repository of lth_keras and not in the package: get a checkout, `pip install -e .` there, and plot "
            "the run again.",
            stacklevel=3,
        )
    return found
