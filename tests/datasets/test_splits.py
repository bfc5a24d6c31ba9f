from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datasets import Split, Splits
from datasets.splits import named_generator

X = np.zeros((4, 3), np.float32)
Y = np.array([0, 1, 1, 0], np.int32)
GOOD = Split(X, Y)


def splits(**changes: Any) -> Splits:
    parts: dict[str, Any] = {"train": GOOD, "validation": GOOD, "test": GOOD} | changes
    return Splits(name="toy", classes=("a", "b"), x_meaning="x", y_meaning="y", **parts)


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[2, 1] = value
    return x


def test_good_splits_are_kept_as_they_are() -> None:
    assert splits().train.x is X


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Split(X, Y[:3]), r"x \(4, 3\), y \(3,\)"),
        (Split(X[:0], Y[:0]), "n > 0"),
        (Split(X, Y[:, None]), r"y \(4, 1\)"),
        (Split(X, Y.astype(np.float32)), "integer labels"),
        (Split(X, Y + 1), "from 1 to 2"),
        (Split(X, Y - 1), "from -1 to 0"),
        (Split(with_value(np.nan), Y), "example 2"),
        (Split(with_value(np.inf), Y), "example 2"),
    ],
)
def test_a_bad_split_is_named(name: str, bad: Split, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        splits(**{name: bad})
    assert f"toy, split '{name}'" in str(error.value)


NONE = Split(X[:0], Y[:0])


def test_a_protocol_without_validation_says_so() -> None:
    loaded = splits(without_validation=True, validation=NONE)
    assert len(loaded.validation.y) == 0
    with pytest.raises(ValueError, match="split 'validation': .*n > 0"):
        splits(validation=NONE)
    with pytest.raises(ValueError, match="split 'validation': .*n = 0"):
        splits(without_validation=True)
    with pytest.raises(ValueError, match="split 'test': .*n > 0"):
        splits(without_validation=True, validation=NONE, test=NONE)
    with pytest.raises(ValueError, match="like those of split 'train'"):
        splits(without_validation=True, validation=Split(X[:0, :2], Y[:0]))


@pytest.mark.parametrize("other", [X[:, :2], X.astype(np.float64)])
def test_splits_must_hold_examples_of_one_kind(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="like those of split 'train'"):
        splits(test=Split(other, Y))


MANY = np.array([[1, 1], [0, 1], [0, 0], [1, 0]], np.float32)
SEVERAL = Split(X, MANY)


def many_splits(**changes: Any) -> Splits:
    return splits(**({"train": SEVERAL, "validation": SEVERAL, "test": SEVERAL} | changes))


def with_label(value: float) -> np.ndarray:
    y = MANY.copy()
    y[2, 1] = value
    return y


def test_an_example_may_be_of_several_classes_or_of_none() -> None:
    loaded = many_splits()
    assert loaded.train.y is MANY and loaded.multi_label and not splits().multi_label
    none = Split(X[:0], MANY[:0])
    assert many_splits(without_validation=True, validation=none).validation.y.shape == (0, 2)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.hstack([MANY, MANY]), r"\(n, 2\).*y \(4, 4\)"),
        (MANY[:, :, None], r"y \(4, 2, 1\)"),
        (MANY[:3], r"x \(4, 3\), y \(3, 2\)"),
        (MANY.astype(np.int32), "float32.*int32"),
        (MANY.astype(bool), "float32.*bool"),
        (with_label(2), "2.0 for class 1 in example 2"),
        (with_label(-1), "in example 2"),
        (with_label(0.5), "in example 2"),
        (with_label(np.nan), "in example 2"),
    ],
)
def test_bad_labels_of_several_classes_are_named(name: str, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        many_splits(**{name: Split(X, y)})
    assert f"toy, split '{name}'" in str(error.value)


@pytest.mark.parametrize("kind", [splits, many_splits])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_all_splits_have_one_kind_of_labels(kind: Any, name: str) -> None:
    other = SEVERAL if kind is splits else GOOD
    with pytest.raises(ValueError, match=f"split '{name}': Expected labels like those of split 'train'"):
        kind(**{name: other})
    with pytest.raises(ValueError, match="Expected labels like those of split 'train'"):
        kind(without_validation=True, validation=Split(other.x[:0], other.y[:0]))


def test_streams_are_repeatable_and_differ_by_name_and_seed() -> None:
    def draw(seed: int, name: str) -> list[float]:
        return named_generator(seed, name).random(4).tolist()

    assert draw(0, "a") == draw(0, "a")
    assert draw(0, "a") != draw(0, "b")
    assert draw(0, "a") != draw(1, "a")


def test_a_negative_seed_is_an_error() -> None:
    with pytest.raises(ValueError, match="seed=-1"):
        named_generator(-1, "a")
