"""Labels of axes, from the run's attributes."""

from __future__ import annotations

import xarray
from matplotlib.ticker import FuncFormatter

from lth_keras.analysis import shown_factor

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def axis_label(variable: xarray.DataArray, *, percent: bool = False) -> str:
    """The variable's attribute `long_name`, shortened if it is long; its name if it has none.

    Args:
        variable: Of a run, as `lth_keras.storage.open_run` gives it.
        percent: Whether it is drawn in percent.
    """
    words = str(variable.attrs.get("long_name", str(variable.name).replace("_", " ")))
    words = words.replace("at the step of least validation loss", "at early stop")
    if percent:
        return f"{words} (%)"
    units = str(variable.attrs.get("units", "1"))
    return f"{words} ({units})" if units not in ("1", "value", "step") else words


def shown_label(variable: xarray.DataArray) -> str:
    """Like `axis_label`, for values multiplied by `shown_factor`."""
    return axis_label(variable, percent=shown_factor(variable) == 100)


def shown_measure(variable: xarray.DataArray) -> str:
    """The quantity of a curve without its split, "accuracy" of "accuracy on the test split", with its unit."""
    return axis_label(variable).partition(" on the ")[0] + (" (%)" if shown_factor(variable) == 100 else "")
