"""Precision, recall and F1 are those of scikit-learn, from confusion matrices and from counts by class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, precision_recall_fscore_support

from lth_keras.analysis.metrics import MISSING, averages, counts_by_class, without_example

KINDS = ("precision", "recall", "f1")
NAMES = {f"{kind}_{average}" for kind in KINDS for average in ("macro", "micro")}


def of_scikit_learn(true: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    found = {}
    for average in ("macro", "micro"):
        values = precision_recall_fscore_support(
            true, predicted, labels=range(classes), average=average, zero_division=0
        )
        found |= {f"{kind}_{average}": value for kind, value in zip(KINDS, values, strict=False)}
    return found


def assert_those_of(received: dict[str, np.ndarray], expected: list[dict[str, float]]) -> None:
    assert received.keys() == NAMES
    for name, values in received.items():
        np.testing.assert_allclose(values.ravel(), [one[name] for one in expected], rtol=1e-12, err_msg=name)
        assert values.shape == (2, 2)


@pytest.mark.parametrize("classes, examples, seen", [(20, 500, 20), (5, 12, 5), (7, 30, 3), (2, 1, 2)])
def test_with_one_label_they_are_those_of_scikit_learn(classes: int, examples: int, seen: int) -> None:
    """Also where a class has no example, or is never predicted; and micro averages are the accuracy."""
    generator = np.random.default_rng(classes)
    matrices, expected = [], []
    for _ in range(4):
        true, predicted = generator.integers(0, seen, examples), generator.integers(0, classes, examples)
        predicted[: examples // 2] = true[: examples // 2]
        matrices.append(confusion_matrix(true, predicted, labels=range(classes)))
        expected.append(of_scikit_learn(true, predicted, classes))
        assert expected[-1]["f1_micro"] == pytest.approx((true == predicted).mean())
    counts = counts_by_class(np.stack(matrices).reshape(2, 2, classes, classes))
    assert_those_of(averages(counts), expected)


@pytest.mark.parametrize("classes, examples, seen", [(90, 500, 90), (7, 30, 3), (3, 1, 2)])
def test_with_any_number_of_labels_they_are_those_of_scikit_learn(classes: int, examples: int, seen: int) -> None:
    generator = np.random.default_rng(classes)
    counts, expected = [], []
    for _ in range(4):
        true = generator.random((examples, classes)) < np.where(np.arange(classes) < seen, 0.1, 0)
        predicted = true ^ (generator.random(true.shape) < 0.05)
        true[0, 0] = True
        matrices = multilabel_confusion_matrix(true, predicted)
        counts.append(np.stack([matrices[:, 1, 1], matrices[:, 0, 1], matrices[:, 1, 0]], axis=1))
        expected.append(of_scikit_learn(true, predicted, classes))
    of_all = np.stack(counts).reshape(2, 2, classes, 3)
    assert_those_of(averages(of_all), expected)
    assert without_example(of_all) >= classes - seen


def test_what_was_not_measured_is_nan() -> None:
    matrices = np.stack([np.full((3, 3), MISSING), np.eye(3, dtype=int), np.zeros((3, 3), int)])
    counts = counts_by_class(matrices)
    assert (counts[0] == MISSING).all()
    for values in averages(counts).values():
        np.testing.assert_array_equal(values, [np.nan, 1, np.nan])


def test_classes_without_an_example_are_counted_among_what_was_measured() -> None:
    counts = np.full((3, 4, 3), MISSING)
    assert without_example(counts) == 4
    counts[1] = [(2, 0, 0), (0, 5, 0), (0, 0, 1), (0, 0, 0)]
    assert without_example(counts) == 2
