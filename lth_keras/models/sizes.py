"""Sizes of models and their layers: checks, and a layer's size without building it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LayerSize(NamedTuple):
    """The output shape and the number of weights of a layer.

    Attributes:
        name: the layer's name in the model.
        kind: `embedding`, `conv` or `output`; pruning rates depend on it. Empty for a layer without weights.
        output: shape of one example's output.
        prunable: number of weights in its kernel or table; 0 for a layer without weights.
        biases: number of weights that are never pruned.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    prunable: int = 0
    biases: int = 0


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """Checks sizes by their names: each a positive integer or several of them.

    Raises:
        ValueError: for any other size.
    """
    for name, size in sizes.items():
        values = tuple(size) if isinstance(size, Sequence) else (size,)
        if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
            expected = "positive integers" if isinstance(size, Sequence) else "a positive integer"
            raise ValueError(f"Expected {expected} for `{name}`. Received: {name}={size!r}.")


def check_softmax(classes: int) -> None:
    """Raises ValueError for fewer than the 2 classes that a softmax chooses from."""
    if classes < 2:
        raise ValueError(f"Expected at least 2 classes. Received: classes={classes}.")


def features_to_output(features: int, classes: int) -> list[LayerSize]:
    """The sizes of what follows the branches of a network for texts: their features, dropout, the output."""
    return [
        LayerSize("features", "", (features,)),
        LayerSize("dropout", "", (features,)),
        LayerSize("output", "output", (classes,), features * classes, classes),
    ]
