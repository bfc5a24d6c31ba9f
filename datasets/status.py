"""What `python -m datasets` says about a data set."""

from __future__ import annotations

from typing import NamedTuple


class Status(NamedTuple):
    """Whether a data set is on this machine, and where it is looked for.

    Attributes:
        name: the data set.
        present: whether `load()` works with no network.
        where: the folder it is read from, or looked for in, with the variable that decides it: packed parts where
            there are some, else the ordinary loader's.
        counts: examples in train / validation / test by default.
    """

    name: str
    present: bool
    where: str
    counts: str
