"""Scores in place of weights: what composites of criteria are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import Array, Criterion, State

SCALES = ("layer", "global")
"""Over what the scores are scaled: each layer's on their own, or all of them together."""


def check_scale(scale: str) -> str:
    """Returns `scale` where it is one of `SCALES`.

    Raises:
        ValueError: otherwise.
    """
    if scale not in SCALES:
        raise ValueError(f"Expected a scale out of {', '.join(map(repr, SCALES))}. Received: {scale!r}.")
    return scale


def scores_as_weights(score: Criterion, state: State, scale: str = "layer") -> LazyArrays:
    """The weights of a state with sign(w) * |s| / max|s| in place of each prunable weight w, for its score s.

    So they lie in [-1, 1], have the signs of the weights, and the largest of a layer (or of the network) is one in
    size. Of a score with a sign its magnitude counts. Other weights, as biases, are as they are.

    Source: after "scores as weights" of Lutz & Manai (2022), "Hitting the Jackpot", section 5.4. It scales to [-1, 1]
    with the sign of the former weight, and does not say whether by layer.

    Args:
        score: scores the weights.
        state: with the weights, and all that `score` takes.
        scale: one of `SCALES`.

    Returns:
        Weight key to array of the weight's shape and dtype, for all weights of the state.

    Raises:
        ValueError: for an unknown scale, scores that are not finite, layers with LoRA, or what `score` raises.
    """
    shares = _shares(score, state, scale)
    return _replaced(state, lambda key, own: np.sign(own) * shares(key))


def bimodal(score: Criterion, state: State, scale: str = "layer") -> LazyArrays:
    """The weights of a state with sign(w) * r * (1 + |s| / max|s|) in place of each prunable weight w, for its score s.

    r is the root mean square of the layer's weights. So none is near zero: there are two modes, at -r and r, from which
    weights of high scores go out to twice that, as those of trained tickets lie away from zero.

    Source: named by the study of Lutz & Manai (2022), "Hitting the Jackpot"; the formula is this library's own.

    Args:
        score: as `scores_as_weights`, like `state`, `scale`, what is returned and what is raised.
        state: with the weights.
        scale: one of `SCALES`.
    """
    shares = _shares(score, state, scale)

    def weight(key: str, own: Array) -> Array:
        kept = own[state.mask[key]]
        size = np.sqrt(np.mean(np.square(kept))) if kept.size else 0.0
        return np.sign(own) * size * (1 + shares(key))

    return _replaced(state, weight)


def _shares(score: Criterion, state: State, scale: str) -> Callable[[str], Array]:
    """Makes |s| / max|s| of a weight's scores by its key; zero where no weight that is left has a score."""
    check_scale(scale)
    if state.updates:
        raise ValueError(
            "Expected layers without LoRA where scores stand for weights: a score belongs to kernel plus update, not "
            f"to one of them. Received: LoRA in {', '.join(state.updates)}."
        )
    scores = score(state)
    most = {key: float(np.abs(scores[key][kept]).max(initial=0.0)) for key, kept in state.mask.items()}
    broken = [key for key, value in most.items() if not np.isfinite(value)]
    if broken:
        raise ValueError(
            f"Expected finite scores to use as weights, by the criterion {state.criterion!r}. "
            f"Received: NaN or infinity in {', '.join(broken)}."
        )
    if scale == "global":
        most = dict.fromkeys(most, max(most.values()))
    return lambda key: np.abs(scores[key]) / most[key] if most[key] else np.zeros_like(scores[key])


def _replaced(state: State, make: Callable[[str, Array], Array]) -> LazyArrays:
    """All weights of the state, the prunable ones made of (key, weight)."""
    final = state.final
    shapes = final.shapes if isinstance(final, LazyArrays) else {key: np.shape(final[key]) for key in final}

    def weight(key: str) -> Array:
        own = final[key]
        return make(key, own).astype(own.dtype) if key in state.mask else own

    return LazyArrays(shapes, weight)
