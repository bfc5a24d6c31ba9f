"""Precision and recall of a classifier, from its confusion matrices."""

from __future__ import annotations

import numpy as np

MISSING = -1  # in every entry of a confusion matrix that was not measured


def precision_recall(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision and recall, averaged over classes (macro) and over examples (micro).

    A class that is never predicted has precision 0, one without an example recall 0, and each counts in the macro
    averages: as scikit-learn's `precision_score` and `recall_score` with the labels of all classes and
    `zero_division=0`. With one label per example both micro averages are the accuracy.

    Args:
        confusion: (..., true, predicted) integers, how many examples of a class were given another; `MISSING` in every
            entry of a matrix that was not measured.

    Returns:
        `precision_macro`, `recall_macro`, `precision_micro`, `recall_micro`: float64 in [0, 1], of the leading shape;
        NaN where a matrix is missing or counts no example.
    """
    counts = np.asarray(confusion, np.float64)
    there = (counts >= 0).all((-2, -1)) & (counts.sum((-2, -1)) > 0)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    of_predicted = _share(right, counts.sum(-2)).mean(-1)
    of_true = _share(right, counts.sum(-1)).mean(-1)
    micro = _share(right.sum(-1), counts.sum((-2, -1)))
    values = {
        "precision_macro": of_predicted,
        "recall_macro": of_true,
        "precision_micro": micro,
        "recall_micro": micro,
    }
    return {name: np.where(there, value, np.nan) for name, value in values.items()}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
