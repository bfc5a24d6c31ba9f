"""Descriptions of an experiment's model: tables for `--describe`, notes, weights by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    from rich.console import RenderableType

    from experiments.flags import Scope
    from lth_keras.models import LayerSize


def layers_of(model: keras.Model) -> list[LayerSize]:
    """The layers of a model with their output shapes and numbers of weights."""
    from lth_keras.masking import mask_model, prunable_weights
    from lth_keras.models import LayerSize

    masked = mask_model(model)
    prunable = {id(weight.layer): weight for weight in prunable_weights(masked)}
    sizes = []
    for layer, counterpart in zip(model.layers, masked.layers, strict=True):
        weight = prunable.get(id(counterpart))
        count = 0 if weight is None else int(np.prod(weight.variable.shape))
        output = tuple(int(size) for size in layer.output.shape[1:])
        kind = "" if weight is None else weight.kind
        sizes.append(LayerSize(layer.name, kind, output, count, layer.count_params() - count))
    return sizes


def weights_by_kind(layers: Iterable[LayerSize]) -> dict[str, dict[str, int]]:
    """Numbers of weights of each kind of layer, `prunable` and `with_biases`, for a run's parameters."""
    from lth_keras.report import counts_by_kind

    counts = counts_by_kind(layers)
    return {kind: {"prunable": prunable, "with_biases": in_all} for kind, (prunable, in_all) in counts.items()}


def weight_notes(layers: Iterable[LayerSize]) -> Iterator[str]:
    """Numbers of weights, one line for each kind of layer."""
    from lth_keras.report import counts_by_kind

    for kind, (prunable, in_all) in counts_by_kind(layers).items():
        yield f"{kind}: {prunable:,} prunable weights, {in_all:,} with biases"


def tables(
    layers: Sequence[LayerSize],
    training: Mapping[str, str],
    rates: Mapping[str, float],
    levels: int,
    scope: Scope,
    pattern: str | None = None,
) -> Iterator[RenderableType]:
    """The model, its weights by kind, the training, and the weights that remain at each level.

    Args:
        layers: of the model.
        training: names and values of its parameters, without those of pruning.
        rates: share pruned per level, by kind; the same for all kinds if the scope is global.
        levels: number of prunings.
        scope: where weights are ranked. If it is global, their number by kind is not known before a run.
        pattern: of the masks; with one, the weights that remain depend on the groups of each layer and are left out.

    Raises:
        ValueError: for a negative number of levels, or a rate outside [0, 1).
    """
    from lth_keras.models import LayerSize
    from lth_keras.pruning import layer_counts
    from lth_keras.report import layers_table, parameters_table, remaining_table, weights_table

    if levels < 0:
        raise ValueError(f"Expected levels to be at least 0. Received: {levels}.")
    if not all(0 <= rate < 1 for rate in rates.values()):
        raise ValueError(f"Expected rates in [0, 1), the share pruned per level. Received: {dict(rates)}.")
    pruning = {f"pruning rate, {kind}": f"{100 * rate:g}% per level" for kind, rate in rates.items()}
    prunable = [layer for layer in layers if layer.kind]
    if scope == "global":  # all weights are ranked together, as if they were one layer's
        (rate,) = set(rates.values())
        rates = {"all": rate}
        prunable = [LayerSize("all", "all", (), sum(layer.prunable for layer in prunable), 0)]
    dense = {layer.name: layer.prunable for layer in prunable}
    remaining = []
    for level in range(levels + 1):
        shares = {layer.name: (1 - rates[layer.kind]) ** level for layer in prunable}
        left = layer_counts(dense, shares, dict.fromkeys(dense, 1))
        remaining.append({kind: sum(left[layer.name] for layer in prunable if layer.kind == kind) for kind in rates})
    if pattern is not None:
        pruning = {"pattern": pattern, **({} if ":" in pattern else pruning)}
    yield layers_table("Layers", layers)
    yield weights_table("Weights", layers)
    where = {"layer": "within each layer", "global": "all layers together"}[scope]
    yield parameters_table("Training", {**training, **pruning, "scope": where})
    if pattern is None:
        yield remaining_table("Prunable weights that remain", remaining)
