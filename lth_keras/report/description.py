"""Tables of a model and its pruning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box

from lth_keras.system import Table

if TYPE_CHECKING:
    from lth_keras.models import LayerSize


def counts_by_kind(layers: Iterable[LayerSize]) -> dict[str, tuple[int, int]]:
    """Kind of layer to its number of prunable weights, and of all weights."""
    counts: dict[str, tuple[int, int]] = {}
    for layer in layers:
        if layer.kind:
            prunable, in_all = counts.get(layer.kind, (0, 0))
            counts[layer.kind] = (prunable + layer.prunable, in_all + layer.prunable + layer.biases)
    return counts


def parameters_table(title: str, parameters: Mapping[str, str]) -> Table:
    """Names and values."""
    table = _table(title, "parameter", "value")
    for name, value in parameters.items():
        table.add_row(name, value)
    return table


def layers_table(title: str, layers: Iterable[LayerSize]) -> Table:
    """Name, output dimension and number of weights, biases included, of each layer."""
    table = _table(title, "layer", "output dimension", "weights")
    for layer in layers:
        table.add_row(layer.name, " x ".join(map(str, layer.output)), f"{layer.prunable + layer.biases:,}")
    return table


def weights_table(title: str, layers: Iterable[LayerSize]) -> Table:
    """Numbers of prunable and of all weights by kind of layer."""
    table = _table(title, "kind", "prunable", "with biases")
    counts = counts_by_kind(layers)
    for kind, (prunable, in_all) in counts.items():
        table.add_row(kind, f"{prunable:,}", f"{in_all:,}")
    table.add_section()
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    table.add_row("all", *(f"{total:,}" for total in totals))
    return table


def remaining_table(title: str, levels: Sequence[Mapping[str, int]]) -> Table:
    """Remaining weights at each level, by kind if there are several.

    Args:
        title: of the table.
        levels: for each level from 0 on, kind to number of remaining prunable weights.
    """
    kinds = levels[0] if len(levels[0]) > 1 else {}
    table = _table(title, "level", *kinds, "all", "density, %")
    dense = sum(levels[0].values())
    for level, counts in enumerate(levels):
        left = sum(counts.values())
        table.add_row(str(level), *(f"{counts[kind]:,}" for kind in kinds), f"{left:,}", f"{100 * left / dense:.2f}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_style="bold", title_justify="left", padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column != "value" else "left")
    return table
