"""The status of a data set for `python -m datasets`."""

from __future__ import annotations

from typing import NamedTuple


class Status(NamedTuple):
    """Whether a data set is on this machine, and its location.

    Attributes:
        name: the data set.
        present: whether `load()` works without a network.
        where: the folder to read from, with the variable that sets it: packed parts if there are some, else the
            library's cache.
        counts: default numbers of train / validation / test examples.
    """

    name: str
    present: bool
    where: str
    counts: str
