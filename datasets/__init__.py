"""Real data as numpy arrays: one module for each data set, each with `load(...) -> Splits`.

This package is not installed: it runs from a checkout. `python -m datasets` lists what there is.
"""

from datasets.errors import DataUnavailable
from datasets.splits import Split, Splits

__all__ = ["DataUnavailable", "Split", "Splits"]
