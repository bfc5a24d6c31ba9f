"""Prunes any Keras model once, by any criterion."""

from __future__ import annotations

from typing import Any

import keras

from lth_keras import seeds
from lth_keras.criteria import Criterion, State
from lth_keras.criteria import criterion as find_criterion
from lth_keras.lazy import LazyArrays
from lth_keras.masking import check_connected, get_mask, mask_model, prunable_weights, set_mask
from lth_keras.pruning import keep_highest


def prune(
    model: keras.Model,
    density: float,
    criterion: str | Criterion = "magnitude",
    scope: str = "global",
    *,
    seed: int = 0,
    min_per_layer: int = 1,
) -> keras.Model:
    """Returns the model with masked layers and the weights of lowest score pruned; its weights are the model's own.

    Args:
        model: a built Sequential or Functional model, plain or masked; left as it is. Of a masked model, only weights
            that are left are ranked.
        density: share of all prunable weights to keep, in (0, 1]: exactly round(N * density) survive, counted from
            the dense network.
        criterion: name or function that scores the weights.
        scope: `global` ranks across layers; `layer` keeps the same share in each.
        seed: decides random scores and ties.
        min_per_layer: weights that every layer keeps at least. 0 lets a layer collapse.

    Raises:
        ValueError: for a density out of range or above what is left, an unknown criterion or scope, a model with
            nothing to prune, or where layers without any weight left cut the network through.

    Warns:
        UserWarning: naming the layers that collapse, if `min_per_layer=0` lets them.

    Example:
        >>> pruned = prune(model, density=0.1)
        >>> get_mask(pruned).density
        0.1
    """
    if not 0 < density <= 1:
        raise ValueError(f"Expected a density in (0, 1], the share of weights to keep. Received: {density}.")
    if scope not in ("layer", "global"):
        raise ValueError(f"Expected scope to be 'layer' or 'global'. Received: {scope!r}.")
    score = find_criterion(criterion)
    pruned = mask_model(model)
    mask = get_mask(pruned)
    variables = {weight.key: weight.variable for weight in prunable_weights(pruned)}
    weights = LazyArrays(mask.shapes, lambda key: keras.ops.convert_to_numpy(variables[key]))
    scores = score(State(weights, mask, seeds.stream(seed, "prune", "criterion")))
    keep: Any = round(mask.size * density)
    if scope == "layer":
        least = {key: min(count, min_per_layer) for key, count in mask.counts().items()}
        keep = {key: max(least[key], round(size * density)) for key, size in mask.sizes.items()}
    ties = seeds.stream(seed, "prune", "ties")
    smaller = keep_highest(scores, mask, keep, generator=ties, min_per_layer=min_per_layer)
    check_connected(pruned, smaller)
    set_mask(pruned, smaller)
    return pruned
