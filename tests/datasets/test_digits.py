from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from datasets import digits


def rows(*arrays: np.ndarray) -> list[bytes]:
    return sorted(row.tobytes() for x in arrays for row in x)


def test_sizes_types_and_range() -> None:
    loaded = digits.load()
    sizes = [len(split.y) for split in (loaded.train, loaded.validation, loaded.test)]
    assert sizes == [1197, 300, 300]
    assert loaded.train.x.shape == (1197, 64)
    assert loaded.train.x.dtype == np.float32 and loaded.train.y.dtype == np.int32
    assert loaded.train.x.min() == 0 and loaded.train.x.max() == 1


def test_the_splits_are_a_partition_of_all_digits() -> None:
    loaded = digits.load(seed=3)
    everything = (load_digits().data / 16).astype(np.float32)
    assert rows(loaded.train.x, loaded.validation.x, loaded.test.x) == rows(everything)


def test_labels_stay_with_their_pixels() -> None:
    pixels, labels = load_digits(return_X_y=True)
    truth = {(p / 16).astype(np.float32).tobytes(): y for p, y in zip(pixels, labels, strict=True)}
    for split in (digits.load().train, digits.load().validation, digits.load().test):
        assert all(truth[x.tobytes()] == y for x, y in zip(split.x, split.y, strict=True))


def test_every_split_has_every_class_in_its_share() -> None:
    loaded = digits.load(seed=1)
    whole = np.bincount(load_digits().target)
    for split in (loaded.train, loaded.validation, loaded.test):
        counts = np.bincount(split.y, minlength=10)
        assert np.abs(counts - whole * len(split.y) / digits.COUNT).max() <= 2


def test_the_seed_draws_the_validation_split_and_never_the_test_split() -> None:
    first, second = digits.load(seed=0), digits.load(seed=1)
    assert np.array_equal(first.test.x, second.test.x)
    assert rows(first.validation.x) != rows(second.validation.x)
    assert np.array_equal(first.train.x, digits.load(seed=0).train.x)


@pytest.mark.parametrize("validation", [0, -1, 5, 1490, 1497, 5000])
def test_an_impossible_validation_size_is_an_error(validation: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {validation}"):
        digits.load(validation=validation)


@pytest.mark.parametrize("validation", [10, 100, 1487])
def test_the_validation_size_is_what_was_asked_for(validation: int) -> None:
    loaded = digits.load(validation=validation)
    assert len(loaded.validation.y) == validation
    assert len(loaded.train.y) == 1497 - validation
    assert set(loaded.validation.y) == set(loaded.train.y) == set(range(10))
