"""Real data as numpy arrays: one module for each data set, each with `load(...) -> Splits`.

This package is not installed: it runs from a checkout. `python -m datasets` lists what there is.

Each module also has `status()`, `fetch()`, `originals()`, the arrays before any split as the ordinary loader has them,
and `content()`, a sentence that says which arrays those are. `python -m datasets pack` writes originals as plain npz
parts (`datasets.packed`), and `load` reads those where they are: the same arrays, without the ordinary loader.
"""

from datasets.errors import DataUnavailable
from datasets.splits import Split, Splits

__all__ = ["DataUnavailable", "Split", "Splits"]
