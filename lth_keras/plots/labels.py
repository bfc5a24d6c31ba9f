"""What stands at an axis, in the words of the run itself."""

from __future__ import annotations

import xarray


def axis_label(variable: xarray.DataArray, *, percent: bool = False) -> str:
    """The words of the variable's attribute `long_name`, shortened where they are long; its name where it has none.

    Args:
        variable: Of a run, as `lth_keras.results.open_run` gives it.
        percent: Whether it is drawn in percent.
    """
    words = str(variable.attrs.get("long_name", str(variable.name).replace("_", " ")))
    words = words.replace("at the step of least validation loss", "at early stop")
    return f"{words} (%)" if percent else words


def measure(variable: xarray.DataArray) -> str:
    """What a curve measures, on whichever split: "accuracy" of "accuracy on the test split"."""
    return axis_label(variable).partition(" on the ")[0]
