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


def test_streams_are_repeatable_and_differ_by_name_and_seed() -> None:
    def draw(seed: int, name: str) -> list[float]:
        return named_generator(seed, name).random(4).tolist()

    assert draw(0, "a") == draw(0, "a")
    assert draw(0, "a") != draw(0, "b")
    assert draw(0, "a") != draw(1, "a")


def test_a_negative_seed_is_an_error() -> None:
    with pytest.raises(ValueError, match="seed=-1"):
        named_generator(-1, "a")
