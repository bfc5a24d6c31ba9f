"""Draws the examples that a data-aware criterion is given: the same number of each class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lth_keras.backends import count

SAMPLES_PER_CLASS = 10
"""The default of searches; 100 examples for ten classes, as SNIP and GraSP take. `prune` takes all that it is given."""


def largest_output(model: keras.Model) -> int:
    """The size of a model's largest output, for `draw_samples`."""
    return max(int(tensor.shape[-1] or 1) for tensor in model.outputs)


def draw_samples(labels: Any, per_class: int, outputs: int, generator: np.random.Generator) -> np.ndarray:
    """Draws examples without replacement, the same number of each class in the labels.

    Of labels that are not single classes (several at once, numbers, one per position, of several outputs), `per_class *
    outputs` examples are drawn, whatever their labels.

    Args:
        labels: class indices `(n,)` or `(n, 1)`, one-hot rows `(n, classes)`, or anything else of length n; a tuple for
            several outputs.
        per_class: examples of each class, at least 1.
        outputs: size of the network's output; see `largest_output`.
        generator: source of the draws.

    Returns:
        Indices of examples in increasing order, int64.

    Raises:
        ValueError: for fewer than 1 per class, or more than there are, naming the class.
    """
    if per_class < 1:
        raise ValueError(f"Expected at least 1 sample per class. Received: {per_class}.")
    classes = None if isinstance(labels, tuple) else _classes(labels)
    if classes is None:
        return _drawn(np.arange(count(labels)), per_class * outputs, "in all", generator)
    chosen = [
        _drawn(np.flatnonzero(classes == number), per_class, f"of class {number}", generator)
        for number in np.unique(classes)
    ]
    return np.sort(np.concatenate(chosen))


def _drawn(candidates: np.ndarray, count: int, of_what: str, generator: np.random.Generator) -> np.ndarray:
    if count > len(candidates):
        raise ValueError(
            f"Expected no more samples than there are: {len(candidates)} {of_what}. Received: {count}; ask for fewer "
            "with samples_per_class."
        )
    return np.sort(generator.choice(candidates, count, replace=False))


def _classes(labels: np.ndarray) -> np.ndarray | None:
    """The class of each example, where each has exactly one."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
        return labels.argmax(axis=1) if one_hot else None
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] != 1:
        return None
    whole = not np.issubdtype(labels.dtype, np.floating) or bool(((flat == 0) | (flat == 1)).all())
    return flat[:, 0].astype(np.int64) if whole else None
