"""How many floating-point operations a training and its evaluations need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import keras


def dense_sizes(model: keras.Model) -> list[tuple[int, int]]:
    """(inputs, units) of every dense layer, in order."""
    return [tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")]


def forward_flop(sizes: Sequence[tuple[int, int]], examples: int) -> int:
    """Floating-point operations of the matrix products of a forward pass; a multiply-add is two."""
    return 2 * examples * sum(inputs * units for inputs, units in sizes)


def training_flop(sizes: Sequence[tuple[int, int]], batch_size: int) -> int:
    """The same of a training step: outputs, kernel gradients, and input gradients of all layers but the first."""
    return 2 * forward_flop(sizes, batch_size) + forward_flop(sizes[1:], batch_size)


def evaluated_examples(steps: int, examples: Mapping[int, int]) -> int:
    """Examples that a training of so many steps evaluates, the last step included.

    Args:
        steps: of the training.
        examples: steps between evaluations, to the examples that each looks at.
    """
    return sum(count * math.ceil(steps / every) for every, count in examples.items())
