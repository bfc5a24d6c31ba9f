"""N of every M consecutive weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import BoolArray, Mask
from lth_keras.pruning.layouts import Layout


@dataclass(frozen=True)
class NofM:
    """Of every M consecutive weights along the inputs of an output, the N with the highest scores are kept.

    With 2:4 GPUs since NVIDIA's Ampere multiply sparse matrices faster. Source: Mishra et al. (2021),
    arXiv:2104.08378, section 3. The weights are those of consecutive input units or channels; of an embedding table,
    those of one row.
    """

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    @property
    def density(self) -> float:
        """The only density that the pattern has."""
        return self.kept / self.of

    def check(self, layout: Mapping[str, Layout], *_: Any) -> None:
        """Raises ValueError naming weights whose number of inputs is no multiple of M."""
        self._check(layout, layout)

    def mask(
        self, scores: Mapping[str, Array], mask: Mask, layout: Mapping[str, Layout], ties: np.random.Generator, *_: Any
    ) -> Mask:
        """The mask of the pattern, a subset of `mask`; arguments as `pruned_by_pattern`.

        Raises:
            ValueError: as `check`.
        """
        self._check(mask, layout)
        return Mask({key: self._of_one(scores[key], mask[key], layout[key], ties) for key in mask}, copy=False)

    def like(
        self,
        scores: Mapping[str, Array],
        mask: Mask,
        other: Mask,
        layout: Mapping[str, Layout],
        ties: np.random.Generator,
    ) -> Mask:
        """A subset of `mask` that keeps as many weights of each group of M as `other`, which is of this pattern."""
        return self.mask(scores, mask, layout, ties)

    def _check(self, keys: Iterable[str], layout: Mapping[str, Layout]) -> None:
        wrong = [f"{key} with {self._inputs(layout[key])}" for key in keys if self._inputs(layout[key]) % self.of]
        if wrong:
            raise ValueError(
                f"Expected kernels whose number of inputs is a multiple of {self.of}, for the pattern {self}. "
                f"Received: {', '.join(wrong)}. Leave such layers out: exclude=[...]."
            )

    def _inputs(self, layout: Layout) -> int:
        return layout.shape[self._axis(layout)]

    def _axis(self, layout: Layout) -> int:
        """The axis of the weights that compete: the last that does not count outputs."""
        if layout.is_table:
            return len(layout.shape) - 1
        inputs = [axis for axis in range(len(layout.shape)) if axis - len(layout.shape) not in layout.outputs]
        return inputs[-1]

    def _of_one(self, scores: Array, kept: BoolArray, layout: Layout, ties: np.random.Generator) -> BoolArray:
        axis = self._axis(layout)
        ranked = np.where(kept, scores, -np.inf)
        parts = np.moveaxis(ranked, axis, -1)
        shape = parts.shape
        parts = parts.reshape(-1, self.of)
        order = np.lexsort((ties.random(parts.shape, dtype=np.float32), parts), axis=-1)
        found = np.zeros(parts.shape, bool)
        np.put_along_axis(found, order[:, self.of - self.kept :], True, axis=-1)
        found = np.moveaxis(found.reshape(shape), -1, axis) & kept
        return np.ascontiguousarray(found)
