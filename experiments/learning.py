"""Fits a criterion that predicts, from scores before training, what iterative pruning by SynFlow keeps longest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.criteria import Learned, State, features
from lth_keras.mask import Mask
from lth_keras.masking import seeded

REGRESSORS = ("linear", "sgd", "tree", "forest", "mlp")
"""scikit-learn's LinearRegression, SGDRegressor, DecisionTreeRegressor and RandomForestRegressor, and a Keras network
of 32 and 32 hidden units."""
DEPTH, LEAF, TREES = 12, 50, 20
"""Largest depth of trees, least weights per leaf, and trees per forest. These limits keep files small."""


def lasting(masks: Sequence[Mask]) -> dict[str, np.ndarray]:
    """For each weight -log of the density of the sparsest mask that keeps it.

    It ranks weights over the whole search. Scores of different shots are not comparable, so none of them can.

    Args:
        masks: of all levels from the dense network on, each a subset of the one before.

    Returns:
        Weight key to float64 array of the weight's shape; zero for weights that only the dense network keeps.

    Raises:
        ValueError: for no masks, or masks that are not nested.
    """
    if not masks or not all(later.is_subset(mask) for mask, later in zip(masks, masks[1:], strict=False)):
        raise ValueError(f"Expected masks of which each is a subset of the one before. Received: {list(masks)}.")
    found = {key: np.zeros(shape) for key, shape in masks[0].shapes.items()}
    for mask in masks:
        for key, kept in mask.items():
            found[key][kept] = -np.log(mask.density) if mask.kept else 0.0
    return found


def learn(
    regressor: str, searches: Sequence[tuple[State, Sequence[Mask]]], *, extended: bool = False, seed: int = 0
) -> Learned:
    """A criterion that predicts `lasting` from scores before training.

    Source: the learned scores of Lutz & Manai (2022), "Hitting the Jackpot": regressions from four scores to those of
    iterative multi-shot SynFlow. The target for pruned weights, `lasting`, is this library's choice.

    Args:
        regressor: one of `REGRESSORS`.
        searches: for each its state before training, under the dense mask, and the masks of its levels.
        extended: whether to use 14 features instead of 4; see `criteria.learned.features`.
        seed: of the regressor's randomness.

    Raises:
        ValueError: for an unknown regressor, no searches, or as `lasting` and the four criteria.
    """
    if regressor not in REGRESSORS or not searches:
        raise ValueError(
            f"Expected a regressor of {', '.join(REGRESSORS)} and at least one search. Received: {regressor!r} and "
            f"{len(searches)} searches."
        )
    x, y = (np.concatenate(parts) for parts in zip(*map(_examples(extended), searches), strict=True))
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    kind, arrays = _FITS[regressor](((x - mean) / scale).astype(np.float32), y, seed)
    return Learned(kind, arrays, mean, scale, extended, f"learned({regressor})")


def _examples(extended: bool) -> Callable[[tuple[State, Sequence[Mask]]], tuple[np.ndarray, np.ndarray]]:
    def examples(search: tuple[State, Sequence[Mask]]) -> tuple[np.ndarray, np.ndarray]:
        seen, aims = features(search[0], extended), lasting(search[1])
        return np.concatenate(list(seen.values())), np.concatenate([aims[key].ravel() for key in seen])

    return examples


def _fit_linear(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Mapping[str, np.ndarray]]:
    from sklearn.linear_model import LinearRegression

    return _line(LinearRegression().fit(x, y))


def _fit_sgd(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Mapping[str, np.ndarray]]:
    from sklearn.linear_model import SGDRegressor

    return _line(SGDRegressor(random_state=seed).fit(x, y))


def _line(fitted: Any) -> tuple[str, Mapping[str, np.ndarray]]:
    return "linear", {"coefficients": np.asarray(fitted.coef_), "intercept": np.asarray(fitted.intercept_).reshape(())}


def _fit_tree(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Mapping[str, np.ndarray]]:
    from sklearn.tree import DecisionTreeRegressor

    return _trees([DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=seed).fit(x, y)])


def _fit_forest(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Mapping[str, np.ndarray]]:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, max_depth=DEPTH, min_samples_leaf=LEAF, random_state=seed)
    return _trees(forest.fit(x, y).estimators_)


def _trees(fitted: Sequence[Any]) -> tuple[str, Mapping[str, np.ndarray]]:
    """The nodes of all trees in one array; scikit-learn numbers them within each tree."""
    trees = [tree.tree_ for tree in fitted]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]

    def shifted(name: str) -> np.ndarray:
        children = [np.asarray(getattr(tree, name)) for tree in trees]
        return np.concatenate([np.where(c >= 0, c + root, -1) for c, root in zip(children, roots, strict=True)])

    return "trees", {
        "feature": np.concatenate([tree.feature for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "left": shifted("children_left"),
        "right": shifted("children_right"),
        "value": np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        "roots": roots,
    }


def _fit_mlp(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Mapping[str, np.ndarray]]:
    dense = keras.layers.Dense
    with seeded(seed):
        model = keras.Sequential([keras.Input(x.shape[1:]), dense(32, "relu"), dense(32, "relu"), dense(1)])
        model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
        model.fit(x, y, batch_size=min(1024, len(x)), epochs=5, verbose=0)
    arrays = {}
    for i, layer in enumerate(model.layers):
        arrays[f"kernel_{i}"], arrays[f"bias_{i}"] = layer.get_weights()
    return "mlp", arrays


_FITS = {"linear": _fit_linear, "sgd": _fit_sgd, "tree": _fit_tree, "forest": _fit_forest, "mlp": _fit_mlp}
