"""`structure`: what `compact` removes of each layer, and what does nothing but stays, and why."""

from __future__ import annotations

import io
from collections import Counter
from typing import NamedTuple

import keras
import numpy as np
from rich import box
from rich.console import Console

from lth_keras.compacting.graph import Graph
from lth_keras.compacting.liveness import Needed
from lth_keras.masking import walk
from lth_keras.system import Table


class Row(NamedTuple):
    """A layer that decides how many channels it has.

    Attributes:
        layer: its place.
        kind: its class.
        size: number of its units, filters, heads or columns.
        kept: those that stay.
        constant: those among them that are constant, and so do nothing that a bias could not do.
        reason: why most of these stay; empty if there are none.
    """

    layer: str
    kind: str
    size: int
    kept: int
    constant: int
    reason: str


class Structure:
    """What `compact` removes of a model; prints as a table.

    Attributes:
        rows: one for each layer with units, filters, heads or columns, in the order of the model.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __str__(self) -> str:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("layer", "kind", "of", "kept", "constant", "constant ones stay because"):
            table.add_column(name, justify="right" if name in ("of", "kept", "constant") else "left")
        for row in self.rows:
            table.add_row(row.layer, row.kind, f"{row.size:,}", f"{row.kept:,}", f"{row.constant:,}", row.reason)
        console = Console(file=io.StringIO(), width=160, color_system=None)
        console.print(table)
        return str(console.file.getvalue()).rstrip()  # type: ignore[attr-defined]

    __repr__ = __str__

    @property
    def stays(self) -> list[Row]:
        """The layers with constant channels that stay."""
        return [row for row in self.rows if row.constant]


def structure_of(model: keras.Model, graph: Graph, found: Needed) -> Structure:
    """What goes and what stays of each layer of a model."""
    rows = []
    for place, layer in walk(model):
        part = graph.parts.get(id(layer))
        if part is None or part.makes is None:
            continue
        ids = part.channels[part.makes]
        live = found.of(ids)
        constant = live & ~np.isnan(part.constant(part.makes))
        reasons = Counter(found.reasons[found.groups[ids[constant]]])
        reason = reasons.most_common(1)[0][0] if reasons else ""
        rows.append(Row(place, type(layer).__name__, len(ids), int(live.sum()), int(constant.sum()), reason))
    return Structure(rows)
