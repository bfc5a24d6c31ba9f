"""Lazy arrays, so that only one of a large model's weights is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Weights = Mapping[str, Array]
"""Weight key to array; may be lazy. `lth_keras.masking.variables` defines the keys."""


class TrainingState(NamedTuple):
    """The state of a training after a step, from which it can go on.

    Attributes:
        step: optimiser updates done.
        weights: all weights by key, including statistics of normalisation layers.
        optimizer: the optimiser's variables, in order; empty if a training does not go on with its optimiser.
    """

    step: int
    weights: Weights
    optimizer: Sequence[Array] = ()


class LazyArrays(Mapping[str, Array]):
    """A read-only mapping that computes an array each time its key is accessed, and stores none.

    Iterating over it needs memory for one array at a time; `dict(arrays)` holds all of them. Shapes are known without
    computing arrays.

    Args:
        shapes: key to shape, in order.
        make: key -> a new array of that shape; calls return equal arrays, unless their source changes.

    Attributes:
        shapes: key to shape, in order.

    Example:
        >>> arrays = LazyArrays({"a": (2,), "b": (3,)}, lambda key: np.zeros(2 if key == "a" else 3))
        >>> list(arrays), arrays["b"]
        (['a', 'b'], array([0., 0., 0.]))
    """

    def __init__(self, shapes: Mapping[str, Shape], make: Callable[[str], Array]) -> None:
        self.shapes = dict(shapes)
        self._make = make

    def __getitem__(self, key: str) -> Array:
        if key not in self.shapes:
            raise KeyError(key)
        return self._make(key)

    def __contains__(self, key: object) -> bool:
        return key in self.shapes  # Mapping.__contains__ would compute the array

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        return f"LazyArrays({self.shapes})"


def uniform(shapes: Mapping[str, Shape], generator: np.random.Generator) -> LazyArrays:
    """Lazy float32 draws from [0, 1), equal to successive calls of `generator.random` for these shapes.

    The generator is advanced as if all arrays had been drawn. Each array is drawn on access by a copy of the generator
    that skips the arrays before it.

    Args:
        shapes: key to shape.
        generator: with the bit generator PCG64, which can skip draws without computing them.

    Raises:
        TypeError: for another bit generator.
    """
    if not isinstance(generator.bit_generator, np.random.PCG64):
        raise TypeError(
            f"Expected a generator that can skip draws, numpy.random.Generator(PCG64(...)). "
            f"Received: {type(generator.bit_generator).__name__}."
        )
    start = generator.bit_generator.state
    before, total = {}, 0
    for key, shape in shapes.items():
        before[key] = total
        total += int(np.prod(shape, dtype=np.int64))
    _skip(generator, total)

    def draw(key: str) -> Array:
        copy = np.random.Generator(np.random.PCG64())
        copy.bit_generator.state = start
        _skip(copy, before[key])
        return copy.random(arrays.shapes[key], dtype=np.float32)

    arrays = LazyArrays(shapes, draw)
    return arrays


def _skip(generator: np.random.Generator, count: int) -> None:
    """Skips `count` float32 draws. PCG64 makes two per step and buffers the second for the next draw."""
    if count and generator.bit_generator.state["has_uint32"]:
        generator.random(dtype=np.float32)
        count -= 1
    if count > 1:
        generator.bit_generator.advance(count // 2)  # type: ignore[attr-defined]
    if count % 2:
        generator.random(dtype=np.float32)
