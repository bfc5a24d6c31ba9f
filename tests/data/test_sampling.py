"""Which examples a criterion looks at."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.data.sampling import draw_samples


def draw(labels: np.ndarray, per_class: int, outputs: int = 3, seed: int = 0) -> np.ndarray:
    return draw_samples(labels, per_class, outputs, np.random.default_rng(seed))


INDICES = np.array([0, 1, 2] * 8 + [0] * 20)


@pytest.mark.parametrize(
    "labels",
    [INDICES, INDICES[:, None], np.eye(3)[INDICES], INDICES.astype("uint8")],
    ids=["indices", "column", "one-hot", "bytes"],
)
def test_as_many_of_each_class_each_once_and_the_same_by_seed(labels: np.ndarray) -> None:
    chosen = draw(labels, 5)
    assert np.bincount(INDICES[chosen]).tolist() == [5, 5, 5]
    assert len(set(chosen)) == 15 and (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(draw(labels, 5), chosen)
    assert not np.array_equal(draw(labels, 5, seed=1), chosen)


def test_zeros_and_ones_of_one_output_are_classes() -> None:
    labels = np.array([0.0, 1.0] * 5, "float32")
    assert labels[draw(labels, 3, outputs=1)].sum() == 3


@pytest.mark.parametrize(
    "labels",
    [np.array([[1, 1, 0], [0, 0, 0]] * 10), np.linspace(0, 1, 20), np.zeros((20, 4, 1), int)],
    ids=["several at once", "numbers", "positions"],
)
def test_labels_that_are_no_classes_are_drawn_from_evenly(labels: np.ndarray) -> None:
    chosen = draw(labels, 4)
    assert len(set(chosen)) == 12
    with pytest.raises(ValueError, match="no more samples than there are: 20 in all. Received: 21"):
        draw(labels, 7)


def test_more_than_there_are_and_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no more samples than there are: 8 of class 1. Received: 9; ask for fewer"):
        draw(INDICES, 9)
    with pytest.raises(ValueError, match="at least 1 sample per class. Received: 0"):
        draw(INDICES, 0)
