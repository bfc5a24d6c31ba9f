"""A learned criterion: a regression from the scores of other criteria, weight by weight."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lth_keras.criteria.grasp import grasp
from lth_keras.criteria.magnitude import magnitude
from lth_keras.criteria.snip import snip
from lth_keras.criteria.state import Array, State
from lth_keras.criteria.synflow import synflow

PARTS = (magnitude, snip, grasp, synflow)
"""The criteria whose scores are its features."""
REGRESSIONS = {
    "linear": ("coefficients", "intercept"),
    "trees": ("feature", "threshold", "left", "right", "value", "roots"),
}
REGRESSIONS |= {"mlp": ("kernel_0", "bias_0")}
"""Kind of regression to the arrays that it must have."""


def features(state: State, extended: bool = False) -> dict[str, Array]:
    """The features of each weight.

    Four features: sign(s) log(1 + |s| / mean|s|) of the scores s by `PARTS`, with the mean over all kept weights of the
    network, since scores have no common unit and span orders of magnitude. The ten further ones are the mean of each
    over the weights of the same input unit and over those of the same output unit, the layer's relative depth in
    [0, 1], and the decimal logarithm of its size.

    Source: after the learned scores of Lutz & Manai (2022), "Hitting the Jackpot", section 5.2: the same four scores,
    there scaled to [0, 1]. Their extension (appendix B) is another: the weight, the norm of its layer, and the highest
    and the mean activation of its input unit and of its output unit.

    Returns:
        Weight key to float32 array (number of weights, 4 or 14), weights in C order.
    """
    columns: dict[str, list[Array]] = {key: [] for key in state.mask}
    for part in PARTS:
        scores = part(state)
        total = sum(float(np.abs(scores[key][kept]).sum()) for key, kept in state.mask.items())
        unit = total / state.mask.kept or 1.0
        for key in columns:
            own = scores[key].astype(np.float64)
            columns[key].append(np.sign(own) * np.log1p(np.abs(own) / unit))
    if extended:
        for depth, key in enumerate(columns):
            tables = columns[key]
            for table in list(tables):
                inputs = table.reshape(-1, table.shape[-1])
                tables.append(np.broadcast_to(table.mean(axis=-1, keepdims=True), table.shape))
                tables.append(np.broadcast_to(inputs.mean(axis=0), table.shape))
            for value in (depth / max(len(columns) - 1, 1), np.log10(tables[0].size)):
                tables.append(np.full(tables[0].shape, value))
    return {key: np.stack([t.ravel() for t in tables], axis=1).astype(np.float32) for key, tables in columns.items()}


class Learned:
    """A regression from the features of each weight to its score.

    Args:
        kind: one of `REGRESSIONS`.
        arrays: its parameters, by name. `linear`: coefficients (F,) and intercept. `trees`: nodes of all trees
            one after the other, as feature, threshold, left, right (-1 at leaves) and value (n,), and roots (trees,); a
            weight goes left where its feature is at most the threshold, and the trees' values are averaged. `mlp`:
            kernel_0 (F, units), bias_0, kernel_1, ..., with ReLU between them.
        mean: (F,), subtracted from features.
        scale: (F,), divides them after that.
        extended: whether it has 14 features instead of 4.
        name: of the criterion.

    Raises:
        ValueError: for an unknown kind, missing arrays, shapes that do not fit, or trees that do not end.
    """

    parts = PARTS

    def __init__(
        self, kind: str, arrays: Mapping[str, Array], mean: Array, scale: Array, extended: bool, name: str = "learned"
    ) -> None:
        count = 14 if extended else 4
        given = {mean.shape, scale.shape}
        if kind not in REGRESSIONS or not set(REGRESSIONS[kind]) <= arrays.keys() or given != {(count,)}:
            raise ValueError(
                f"Expected a kind of {', '.join(REGRESSIONS)} with its arrays, and {count} means and scales. "
                f"Received: {kind!r} with {sorted(arrays)} and {mean.shape}, {scale.shape}."
            )
        if kind == "trees":
            _check_trees(arrays)
        self.kind, self.arrays, self.mean, self.scale, self.extended = kind, dict(arrays), mean, scale, extended
        self.__name__ = self.__qualname__ = name

    def __call__(self, state: State) -> dict[str, Array]:
        """The scores, by weight key: float32 of the weight's shape."""
        found = features(state, self.extended)
        return {key: self.predict(found[key]).reshape(kept.shape) for key, kept in state.mask.items()}

    def predict(self, x: Array) -> Array:
        """The regression's values, (n,) float32, of features (n, F)."""
        x = ((x - self.mean) / self.scale).astype(np.float32)
        if self.kind == "linear":
            values = x @ self.arrays["coefficients"] + self.arrays["intercept"]
        elif self.kind == "trees":
            values = np.mean([self._reach(x, root) for root in self.arrays["roots"]], axis=0)
        else:
            depth = sum(name.startswith("kernel_") for name in self.arrays)
            values = x
            for i in range(depth):
                values = values @ self.arrays[f"kernel_{i}"] + self.arrays[f"bias_{i}"]
                values = np.maximum(values, 0) if i < depth - 1 else values[:, 0]
        return np.asarray(values, np.float32)

    def _reach(self, x: Array, root: int) -> Array:
        """The value of the leaf that each example reaches in a tree."""
        nodes = np.full(len(x), root)
        left, right = self.arrays["left"], self.arrays["right"]
        while (inner := np.flatnonzero(left[nodes] >= 0)).size:
            at = nodes[inner]
            low = x[inner, self.arrays["feature"][at]] <= self.arrays["threshold"][at]
            nodes[inner] = np.where(low, left[at], right[at])
        return self.arrays["value"][nodes]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the criterion as npz, with arrays only and no pickle.

        Raises:
            OSError: for a file that cannot be written.
        """
        said: dict[str, Any] = {"kind": self.kind, "extended": self.extended, "mean": self.mean, "scale": self.scale}
        with open(os.path.expanduser(path), "wb") as file:
            np.savez_compressed(file, **{**said, **self.arrays})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Learned:
        """Reads a file that `save` wrote; no code in it is run.

        Raises:
            OSError: for a missing or unreadable file.
            ValueError: for another kind of file.
        """
        try:
            with np.load(os.path.expanduser(path), allow_pickle=False) as file:
                arrays = dict(file)
            kind, extended = str(arrays.pop("kind")), bool(arrays.pop("extended"))
            name = f"learned({os.fspath(path)})"
            return cls(kind, arrays, arrays.pop("mean"), arrays.pop("scale"), extended, name)
        except OSError:
            raise
        except Exception as error:  # zipfile, zlib and numpy each have their own; MemoryError is that of a header
            raise ValueError(
                f"Expected a learned criterion that lth_keras saved. Received: {Path(path)} ({error})."
            ) from error


def _check_trees(arrays: Mapping[str, Array]) -> None:
    """Raises ValueError unless children come after their parents, so that every path in a tree ends."""
    left, right, roots = (arrays[name] for name in ("left", "right", "roots"))
    nodes = np.arange(len(arrays["value"]))
    inner = left >= 0 if left.shape == nodes.shape else np.zeros(1, bool)
    whole = {left.shape, right.shape, inner.shape, arrays["feature"].shape, arrays["threshold"].shape} == {nodes.shape}
    ends = whole and all((nodes[inner] < child[inner]).all() and (child < len(nodes)).all() for child in (left, right))
    if not ends or not ((roots >= 0) & (roots < len(nodes))).all():
        raise ValueError(f"Expected trees of {len(nodes)} nodes whose children come behind them. Received: others.")
