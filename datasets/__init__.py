"""Real data as numpy arrays: one module for each data set, each with `load(...) -> Splits`.

This package is not installed: it runs from a checkout. `python -m datasets` lists the data sets.

Each module also has `status()`, `fetch()`, `originals()`, the arrays before any split, and `content()`, a sentence that
describes these arrays. `python -m datasets pack` writes originals as plain npz parts (`datasets.packed`). `load` reads
these parts if they exist and returns the same arrays without the libraries of the original.
"""

from datasets.errors import DataUnavailable
from datasets.splits import Split, Splits

__all__ = ["DataUnavailable", "Split", "Splits"]
