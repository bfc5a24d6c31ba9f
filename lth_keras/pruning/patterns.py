"""Patterns of masks: N of every M weights, blocks, whole units, filters, heads or embedding columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.arrays import Array
from lth_keras.mask import BoolArray, Mask
from lth_keras.masking import PrunableWeight, prunable_weights, walk
from lth_keras.pruning.ranking import keep_highest

Groups = Any
"""Integers of a weight's shape: the number of the group that each weight belongs to."""
PATTERNS = ("units", "heads")


class Layout(NamedTuple):
    """What patterns need to know of a prunable weight.

    Attributes:
        shape: of the weight.
        outputs: the axes that count its outputs, from the end.
        layer: the place of its layer.
        heads: the axis that counts attention heads, or None.
        units: whether single outputs can be pruned; those of a recurrent kernel are gates that belong together.
        is_output: whether the layer leads to the model's outputs, whose units are not pruned.
        is_table: whether it is an embedding table.
    """

    shape: tuple[int, ...]
    outputs: tuple[int, ...] = (-1,)
    layer: str = ""
    heads: int | None = None
    units: bool = True
    is_output: bool = False
    is_table: bool = False


def layouts(model: keras.Model) -> dict[str, Layout]:
    """The layout of each prunable weight of a model with masked layers."""
    places = {id(layer): place for place, layer in walk(model)}
    return {weight.key: _layout(weight, places[id(weight.layer)]) for weight in prunable_weights(model)}


def _layout(weight: PrunableWeight, place: str) -> Layout:
    layer, name = weight.layer, weight.name
    heads = None
    if isinstance(layer, keras.layers.MultiHeadAttention):
        heads = 0 if name == "output_kernel" else -2
    cells = keras.layers.RNN | keras.layers.LSTMCell | keras.layers.GRUCell | keras.layers.SimpleRNNCell
    units = not isinstance(layer, cells | keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention)
    outputs = tuple(layer.outputs.get(name, (-1,)))
    table = weight.kind == "embedding"
    return Layout(tuple(weight.mask.shape), outputs, place, heads, units, weight.kind == "output", table)


@dataclass(frozen=True)
class NofM:
    """Of every M consecutive weights along the inputs of an output, the N with the highest scores are kept.

    With 2:4 GPUs since NVIDIA's Ampere multiply sparse matrices faster. Source: Mishra et al. (2021),
    arXiv:2104.08378, section 3. The weights are those of consecutive input units or channels; of an embedding table,
    those of one row.
    """

    kept: int
    of: int

    def mask(
        self, scores: Mapping[str, Array], mask: Mask, layout: Mapping[str, Layout], ties: np.random.Generator
    ) -> Mask:
        """The mask of a pattern, a subset of `mask`.

        Raises:
            ValueError: naming weights whose number of inputs is no multiple of M.
        """
        wrong = [f"{key} with {self._inputs(layout[key])}" for key in mask if self._inputs(layout[key]) % self.of]
        if wrong:
            raise ValueError(
                f"Expected kernels whose number of inputs is a multiple of {self.of}, for the pattern "
                f"{self.kept}:{self.of}. Received: {', '.join(wrong)}. Leave such layers out: exclude=[...]."
            )
        return Mask({key: self._of_one(scores[key], mask[key], layout[key], ties) for key in mask}, copy=False)

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


@dataclass(frozen=True)
class Grouped:
    """Whole groups of weights are kept or pruned: units, heads or blocks.

    A group's score is the sum of its weights' scores; with scores |w| that is the L1 norm, as Li et al. (2017),
    arXiv:1608.08710, rank filters.

    Attributes:
        kind: `units` (units of dense layers, filters of convolutions, columns of embedding tables), `heads` of
            attention, or `blocks`.
        block: sizes of blocks along the two last axes.
        multiple_of: to what the number of groups that a weight keeps is rounded.
    """

    kind: str
    block: tuple[int, int] = (1, 1)
    multiple_of: int = 1

    def mask(
        self,
        scores: Mapping[str, Array],
        mask: Mask,
        layout: Mapping[str, Layout],
        ties: np.random.Generator,
        density: float,
        scope: str,
        min_per_layer: int,
    ) -> Mask:
        """The mask of the groups with the highest scores; arguments as `pruned_by_pattern`.

        Raises:
            ValueError: for blocks that do not divide a weight.
        """
        found = {key: self._groups(key, layout[key]) for key in mask}
        groups = {key: of_key for key, of_key in found.items() if of_key is not None}
        if not groups:
            raise ValueError(f"Expected weights that have {self.kind} to prune. Received: none of {', '.join(mask)}.")
        owners = {key: layout[key].layer if self.kind == "heads" else key for key in groups}
        sums: dict[str, Array] = {}
        remaining: dict[str, Array] = {}
        sizes: dict[str, int] = {}
        for key, owner in owners.items():
            kept = _sums(mask[key], groups[key])
            sums[owner] = sums.get(owner, 0) + _sums(np.where(mask[key], scores[key], 0), groups[key])
            remaining[owner] = remaining.get(owner, 0) + kept
            sizes[owner] = sizes.get(owner, 0) + mask[key].size // len(kept)
        left = Mask({owner: count > 0 for owner, count in remaining.items()})
        counts = self._counts(sums, left, sizes, density, scope, max(1, min_per_layer), ties)
        chosen = keep_highest(sums, left, counts, generator=ties)
        return Mask(
            {key: chosen[owners[key]][groups[key]] & mask[key] if key in groups else mask[key] for key in mask},
            copy=False,
        )

    def _counts(
        self,
        sums: Mapping[str, Array],
        left: Mask,
        sizes: Mapping[str, int],
        density: float,
        scope: str,
        least: int,
        ties: np.random.Generator,
    ) -> dict[str, int]:
        """How many groups each weight keeps."""
        available = left.counts()
        if scope == "layer":
            counts = {key: round(density * array.size) for key, array in left.items()}
        else:
            counts = _global_counts(sums, left, sizes, density, least, ties)
        short = [key for key, count in counts.items() if count < min(least, available[key])]
        if short:
            named = ", ".join(f"{counts[key]} of {left[key].size} in {key}" for key in short)
            raise ValueError(
                f"Expected a density that leaves each layer at least {least} of its {self.kind}. "
                f"Received: density={density}, which leaves {named}. Use a higher density."
            )
        return {key: min(available[key], self._rounded(count, left[key].size)) for key, count in counts.items()}

    def _rounded(self, count: int, most: int) -> int:
        nearest = self.multiple_of * max(1, round(count / self.multiple_of)) if self.multiple_of > 1 else count
        return min(most, nearest)

    def _groups(self, key: str, layout: Layout) -> Groups | None:
        """The group of each weight; None where the pattern leaves the weight as it is."""
        shape, axes = layout.shape, len(layout.shape)
        if self.kind == "blocks":
            return self._blocks(key, shape)
        if self.kind == "heads":
            return None if layout.heads is None else _along((layout.heads % axes,), shape)
        if layout.is_output:
            return None
        if not layout.units:
            raise ValueError(
                f"Expected layers whose outputs can be pruned one by one, for the pattern 'units'. Received: {key}, of "
                "a recurrent or attention layer. Leave it out with exclude=[...]; 'heads' prunes those of "
                "MultiHeadAttention."
            )
        return _along(tuple(axis % axes for axis in layout.outputs), shape)

    def _blocks(self, key: str, shape: tuple[int, ...]) -> Groups:
        rows, columns = self.block
        if len(shape) < 2 or shape[-2] % rows or shape[-1] % columns:
            raise ValueError(
                f"Expected weights whose last two axes are multiples of {rows} x {columns}. Received: {key} of shape "
                f"{shape}. Leave such layers out: exclude=[...]."
            )
        blocks = (*shape[:-2], shape[-2] // rows, shape[-1] // columns)
        numbers = np.arange(math.prod(blocks)).reshape(blocks)
        return numbers.repeat(rows, axis=-2).repeat(columns, axis=-1)


def pattern_of(text: Any, multiple_of: int = 1) -> NofM | Grouped:
    """The pattern of a name: `"2:4"`, `"4x4"`, `"units"` (or `"filters"`, `"columns"`), `"heads"`.

    Raises:
        ValueError: for any other text, or `multiple_of` with a pattern that has no groups per layer.
    """
    numbers = re.fullmatch(r"(\d+)([:x])(\d+)", text) if isinstance(text, str) else None
    name = {"filters": "units", "columns": "units"}.get(text, text) if isinstance(text, str) else None
    if numbers is not None and multiple_of == 1:
        one, sign, other = int(numbers[1]), numbers[2], int(numbers[3])
        if sign == ":" and 0 < one < other:
            return NofM(one, other)
        if sign == "x" and one > 0 < other:
            return Grouped("blocks", (one, other))
    if name in PATTERNS:
        return Grouped(name, multiple_of=multiple_of)
    extra = f" and multiple_of={multiple_of}, which is of units and heads" if multiple_of != 1 else ""
    raise ValueError(
        "Expected a pattern: 'N:M' with N < M, as '2:4'; blocks, as '4x4'; 'units', 'filters', 'columns' or 'heads'. "
        f"Received: {text!r}{extra}."
    )


def density_of(pattern: NofM | Grouped, density: Any, scope: str, shots: int) -> float:
    """The density to prune to by a pattern.

    Raises:
        ValueError: for a density that the pattern cannot have, another scope than `layer` and `global`, or several
            shots of N:M.
    """
    if isinstance(pattern, NofM):
        exact = pattern.kept / pattern.of
        if density not in (None, exact) or shots != 1:
            raise ValueError(
                f"Expected density={exact}, or none, and one shot with the pattern {pattern.kept}:{pattern.of}. "
                f"Received: density={density!r}, shots={shots}."
            )
        return exact
    if scope not in ("layer", "global") or isinstance(density, Mapping) or density is None:
        raise ValueError(
            f"Expected scope 'layer' or 'global' and one density with the pattern {pattern.kind!r}. "
            f"Received: scope={scope!r}, density={density!r}."
        )
    return density  # type: ignore[no-any-return]


def pruned_by_pattern(
    pattern: NofM | Grouped,
    mask: Mask,
    densities: Sequence[float],
    score: Callable[[Mask], Mapping[str, Array]],
    layout: Mapping[str, Layout],
    *,
    scope: str,
    ties: np.random.Generator,
    min_per_layer: int = 1,
) -> Mask:
    """The mask after the last of several shots, each with new scores.

    Args:
        pattern: of the mask.
        mask: the mask to begin with.
        densities: after each shot: the share of groups.
        score: scores the weights that a mask leaves.
        layout: of each weight.
        scope: `layer` or `global`.
        ties: breaks ties.
        min_per_layer: the least number of groups that each weight keeps, at least 1.

    Raises:
        ValueError: as the pattern's `mask`, or scores that are not finite.
    """
    for density in densities:
        scores = {key: np.asarray(array, np.float64) for key, array in score(mask).items()}
        mask.check_same_weights(scores)
        wrong = [key for key in mask if not np.isfinite(scores[key][mask[key]]).all()]
        if wrong:
            raise ValueError(f"Expected finite scores. Received: NaN or infinite ones of {', '.join(wrong)}.")
        if isinstance(pattern, NofM):
            mask = pattern.mask(scores, mask, layout, ties)
        else:
            mask = pattern.mask(scores, mask, layout, ties, density, scope, min_per_layer)
    return mask


def _global_counts(
    sums: Mapping[str, Array],
    left: Mask,
    sizes: Mapping[str, int],
    density: float,
    least: int,
    ties: np.random.Generator,
) -> dict[str, int]:
    """How many groups each weight keeps if all compete by their mean score, within the budget of weights.

    The `least` best groups of each weight come first, so that they are within the budget, too.
    """
    ranked = []  # whether a group is among its weight's best, its mean, a tie-breaker, the weight, its size
    for key in sums:
        means = np.sort((sums[key] / sizes[key])[left[key]])[::-1]
        tied = ties.random(means.size)
        ranked += [(i < least, mean, tied[i], key, sizes[key]) for i, mean in enumerate(means)]
    ranked.sort(key=lambda group: group[:3], reverse=True)
    budget = round(density * sum(sizes[key] * left[key].size for key in sums))
    counts = dict.fromkeys(sums, 0)
    for *_, key, size in ranked:
        budget -= size
        if budget < 0:
            break
        counts[key] += 1
    return counts


def _along(axes: tuple[int, ...], shape: tuple[int, ...]) -> Groups:
    """Numbers of groups that share their position along some axes."""
    sizes = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return np.broadcast_to(np.arange(math.prod(sizes)).reshape(sizes), shape)


def _sums(values: Array, groups: Groups) -> Array:
    return np.bincount(groups.ravel(), weights=np.asarray(values, np.float64).ravel())
