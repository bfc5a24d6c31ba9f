"""What a criterion sees, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lth_keras.lazy import LazyArrays
from lth_keras.masks import Mask

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class State:
    """A network at the end of a level's training, as its criterion sees it.

    Weights may be lazy: each access makes the array anew, so look a weight up when it is its turn.

    Attributes:
        final: weight key to its values at the end of training. May hold weights that the mask
            does not have (biases); those are not scored.
        mask: the mask of this level. Its keys are the prunable weights.
        generator: the level's own stream, for criteria that draw.
        initial: weight key to its values before any training, or None where not known.

    Raises:
        ValueError: a prunable weight without values, or with values of another shape.
    """

    final: Mapping[str, Array]
    mask: Mask
    generator: np.random.Generator
    initial: Mapping[str, Array] | None = None

    def __post_init__(self) -> None:
        for weights in (self.final, self.initial):
            if weights is not None:
                known = weights.shapes if isinstance(weights, LazyArrays) else weights
                self.mask.check_same_weights({key: known[key] for key in self.mask if key in known})


Criterion = Callable[[State], Mapping[str, Array]]
"""Scores the prunable weights: weight key to an array of the weight's shape; higher is kept.

Scores must be finite where the mask is True and are ignored where it is False. A criterion that scores each weight on
its own returns `LazyArrays`: a large model's scores then exist one weight at a time.
"""
