"""Precision, recall and F1 of a classifier, from its confusion matrices or from counts by class."""

from __future__ import annotations

import numpy as np

MISSING = -1  # every count of a test that was not measured


def counts_by_class(confusion: np.ndarray) -> np.ndarray:
    """True positives, false positives and false negatives of each class.

    Args:
        confusion: (..., true, predicted) integers, numbers of examples by true and predicted class; `MISSING` in every
            entry of a matrix that was not measured.

    Returns:
        (..., classes, 3), of the same type; `MISSING` where the matrix is.
    """
    confusion = np.asarray(confusion)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    counts = np.stack([right, confusion.sum(-2) - right, confusion.sum(-1) - right], axis=-1)
    there = np.all(confusion >= 0, axis=(-2, -1), keepdims=True)
    return np.where(there, counts, MISSING).astype(confusion.dtype)


def averages(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1, averaged over classes (macro) and over all decisions (micro).

    Equals scikit-learn's `precision_recall_fscore_support` with the labels of all classes and `zero_division=0`: a
    class without predictions has precision 0, without examples recall 0, without both F1 0. Each counts in the macro
    averages. Macro F1 is the mean of the classes' F1. With one label per example, micro averages equal the accuracy.

    Args:
        counts: (..., classes, 3) integers: true positives, false positives and false negatives; `MISSING` in every
            one of a test that was not measured.

    Returns:
        `precision_macro`, `precision_micro`, `recall_macro`, `recall_micro`, `f1_macro`, `f1_micro`: float64 in [0, 1],
        of the leading shape; NaN where a test is missing or counts nothing.
    """
    there = (counts >= 0).all((-2, -1)) & (np.sum(counts, (-2, -1)) > 0)
    by_class = _ratios(np.asarray(counts, np.float64))
    over_all = _ratios(np.asarray(counts, np.float64).sum(-2))
    values = {}
    for name in by_class:
        values[f"{name}_macro"] = np.where(there, by_class[name].mean(-1), np.nan)
        values[f"{name}_micro"] = np.where(there, over_all[name], np.nan)
    return values


def without_example(counts: np.ndarray) -> int:
    """Number of classes without an example in any measured test. Args: see `averages`."""
    examples = (counts[..., 0] + counts[..., 2]).reshape(-1, counts.shape[-2])
    return int((examples.max(axis=0) <= 0).sum())


def _ratios(counts: np.ndarray) -> dict[str, np.ndarray]:
    right, wrong, missed = np.moveaxis(counts, -1, 0)
    return {
        "precision": _share(right, right + wrong),
        "recall": _share(right, right + missed),
        "f1": _share(2 * right, 2 * right + wrong + missed),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
