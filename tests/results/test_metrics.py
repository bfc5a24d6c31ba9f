"""Precision and recall from confusion matrices are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from lth_keras.results.metrics import MISSING, precision_recall


@pytest.mark.parametrize("classes, examples, seen", [(20, 500, 20), (5, 12, 5), (7, 30, 3), (2, 1, 2)])
def test_they_are_those_of_scikit_learn(classes: int, examples: int, seen: int) -> None:
    """Also where a class has no example, or is never predicted."""
    generator = np.random.default_rng(classes)
    labels = range(classes)
    matrices, expected = [], []
    for _ in range(4):
        true, predicted = generator.integers(0, seen, examples), generator.integers(0, classes, examples)
        predicted[: examples // 2] = true[: examples // 2]
        matrices.append(confusion_matrix(true, predicted, labels=labels))
        expected.append(
            [
                score(true, predicted, labels=labels, average=average, zero_division=0)
                for score in (precision_score, recall_score)
                for average in ("macro", "micro")
            ]
        )
    received = precision_recall(np.stack(matrices).reshape(2, 2, classes, classes))
    names = ("precision_macro", "precision_micro", "recall_macro", "recall_micro")
    assert received.keys() == set(names)
    for name, values in zip(names, np.transpose(expected), strict=True):
        np.testing.assert_allclose(received[name].ravel(), values, rtol=1e-12)
        assert received[name].shape == (2, 2)


def test_what_was_not_measured_is_nan() -> None:
    matrices = np.stack([np.full((3, 3), MISSING), np.eye(3, dtype=int), np.zeros((3, 3), int)])
    for values in precision_recall(matrices).values():
        np.testing.assert_array_equal(values, [np.nan, 1, np.nan])
