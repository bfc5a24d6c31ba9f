"""Arrays made on access: the same values each time, and nothing kept."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from lth_keras.arrays import LazyArrays, uniform

SHAPES = {"odd": (7, 3), "even": (4, 5), "one": (1,), "none": (0, 3), "last": (3, 3)}


def test_an_array_is_made_when_accessed_and_not_kept() -> None:
    made: list[str] = []

    def make(key: str) -> np.ndarray:
        made.append(key)
        return np.zeros(SHAPES[key])

    arrays = LazyArrays(SHAPES, make)
    assert list(arrays) == list(SHAPES) and len(arrays) == len(SHAPES) and "odd" in arrays and "other" not in arrays
    assert arrays.keys() == SHAPES.keys()
    assert made == []
    gone = weakref.ref(arrays["odd"])
    assert gone() is None
    assert made == ["odd"]
    with pytest.raises(KeyError, match="other"):
        arrays["other"]


@pytest.mark.parametrize("drawn_before", [0, 1, 2, 3])
def test_lazy_draws_are_those_of_drawing_at_once(drawn_before: int) -> None:
    at_once, lazily = np.random.default_rng(5), np.random.default_rng(5)
    at_once.random(drawn_before, np.float32), lazily.random(drawn_before, np.float32)
    expected = {key: at_once.random(shape, np.float32) for key, shape in SHAPES.items()}
    arrays = uniform(SHAPES, lazily)
    for key in (*reversed(SHAPES), *SHAPES):  # in any order, any number of times
        assert arrays[key].dtype == np.float32
        np.testing.assert_array_equal(arrays[key], expected[key])
    np.testing.assert_array_equal(lazily.random(9, np.float32), at_once.random(9, np.float32))
    assert lazily.random() == at_once.random()


def test_draws_need_a_generator_that_can_skip() -> None:
    with pytest.raises(TypeError, match="can skip draws.*Received: MT19937"):
        uniform(SHAPES, np.random.Generator(np.random.MT19937(0)))
