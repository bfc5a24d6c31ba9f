"""Scores in place of weights, for composites of criteria."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lth_keras.arrays import LazyArrays
from lth_keras.criteria.state import Array, Criterion, State
from lth_keras.system import one_of

SCALES = ("layer", "global")
"""Scores are scaled by the largest of their layer, or of the network."""


def check_scale(scale: str) -> str:
    """Returns `scale` where it is one of `SCALES`.

    Raises:
        ValueError: otherwise.
    """
    return one_of("scale", scale, SCALES)


def scores_as_weights(score: Criterion, state: State, scale: str = "layer") -> LazyArrays:
    """The weights of a state with sign(w) * |s| / max|s| in place of each prunable weight w, for its score s.

    They lie in [-1, 1] and have the signs of the weights; the largest magnitude of a layer (or of the network) is one.
    Signs of scores are ignored. Other weights, such as biases, are unchanged.

    Source: after "scores as weights" of Lutz & Manai (2022), "Hitting the Jackpot", section 5.4. It scales to [-1, 1]
    with the sign of the former weight, and does not say whether by layer.

    Args:
        score: scores the weights.
        state: with the weights, and what `score` reads.
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

    r is the root mean square of the layer's weights. So no weight is near zero: they have modes at -r and r, and those
    with high scores reach twice that, like the weights of trained tickets.

    Source: named by the study of Lutz & Manai (2022), "Hitting the Jackpot"; the formula is this library's own.

    Args:
        score: as `scores_as_weights`, like the other arguments, the result and the errors.
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
    """A function of a weight's key that computes |s| / max|s|; zeros where all scores of kept weights are zero."""
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
    """All weights of the state, the prunable ones replaced by `make(key, weight)`."""
    final = state.final
    shapes = final.shapes if isinstance(final, LazyArrays) else {key: np.shape(final[key]) for key in final}

    def weight(key: str) -> Array:
        own = final[key]
        return make(key, own).astype(own.dtype) if key in state.mask else own

    return LazyArrays(shapes, weight)
