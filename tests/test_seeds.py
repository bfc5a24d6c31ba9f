"""Streams: the same name gives the same numbers anywhere, another name independent ones."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lth_keras.seeds import integer, stream

NAMES: list[tuple[str | int, ...]] = [
    (),
    ("",),
    ("a",),
    ("b",),
    ("a", "b"),
    ("b", "a"),
    ("ab",),
    ("a", ""),
    ("", "a"),
    (1,),
    ("1",),
    (1, 2),
    (12,),
    (-1,),
    ("1:a", 1),
    ("größe",),
]


def test_a_stream_depends_on_its_arguments_only() -> None:
    for names in NAMES:
        first = stream(3, *names).random(8)
        stream(3, "another").random(100)
        assert np.array_equal(first, stream(3, *names).random(8))


def test_every_seed_and_every_name_is_another_stream() -> None:
    seeds = [0, 1, 2, 2**31, 2**32, 2**40, 2**200]
    draws = {stream(seed, *names).bytes(16) for seed in seeds for names in NAMES}
    assert len(draws) == len(seeds) * len(NAMES)


def test_streams_are_not_correlated() -> None:
    draws = np.stack([stream(seed, name, i).random(2000) for seed in (0, 1) for name in "ab" for i in (0, 1)])
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_numbers_never_change() -> None:
    # Written down once: results of old runs are resumed with these streams.
    assert stream(7, "ties", 3).integers(1000, size=4).tolist() == [61, 302, 125, 871]
    assert integer(7, "ties", 3) == 132622173


def test_numbers_are_those_of_another_process() -> None:
    code = "from lth_keras.seeds import integer; print(integer(5, 'weights', 'a', 1))"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    assert int(printed) == integer(5, "weights", "a", 1)


def test_integers_fit_a_signed_32_bit_seed_and_use_its_range() -> None:
    values = [integer(0, i) for i in range(2000)]
    assert all(isinstance(value, int) and 0 <= value < 2**31 for value in values)
    assert max(values) > 0.99 * 2**31
    assert min(values) < 0.01 * 2**31


def test_numpy_integers_are_integers() -> None:
    assert integer(np.int64(3), np.int32(4)) == integer(3, 4)  # type: ignore[arg-type]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 or more.*-1"):
        stream(-1, "a")
    with pytest.raises(TypeError):
        stream(0.5, "a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"strings or integers.*0\.5"):
        stream(0, 0.5)  # type: ignore[arg-type]
