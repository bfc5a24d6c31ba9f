"""Too little memory is an error with both numbers, before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.system import memory
from lth_keras.system.memory import (
    NotEnoughMemoryError,
    check_memory,
    checked_build,
    clear_memory_errors,
    needed_bytes,
    process_bytes,
    slots_of,
    training_bytes,
)
from tests import tiny

TABLES = [61_188 * 300 * 4] * 16
MASKS = 61_188 * 300 * 16


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_free(count: int) -> None:
        monkeypatch.setattr(memory, "free_memory_bytes", lambda: count)

    return set_free


def test_what_fits_passes_and_what_does_not_is_an_error_with_both_numbers(free: Any) -> None:
    free(3_000_000_000)
    check_memory(3_000_000_000, what="training")
    with pytest.raises(NotEnoughMemoryError, match=r"3\.50 GB more for training\. Received: 3\.00 GB free\. Use fewer"):
        check_memory(3_500_000_000, what="training")
    with pytest.raises(NotEnoughMemoryError, match=r"3\.20 GB more for training in 2 processes\. Received: 3\.00 GB"):
        check_memory(3_200_000_000, what="training in 2 processes")


@pytest.mark.parametrize(
    ("backend", "installed", "gigabytes"),
    [
        ("tensorflow", True, 1.05),
        ("jax", True, 1.08),
        ("jax", False, 0.63),
        ("torch", True, 1.15),
        ("torch", False, 0.70),
    ],
)
def test_a_process_takes_what_its_backend_takes(
    monkeypatch: pytest.MonkeyPatch, backend: str, installed: bool, gigabytes: float
) -> None:
    """Keras imports TensorFlow beside another backend, where it is installed."""
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: name if installed else None)
    assert process_bytes() == round(gigabytes * 1e9)
    tables, other = training_bytes(TABLES, masks=MASKS, slots=2), sum(TABLES) + MASKS
    assert needed_bytes(TABLES, masks=MASKS, slots=2) == tables + other + process_bytes()


def test_the_large_model_needs_what_its_parts_take() -> None:
    weights, adam = sum(TABLES), training_bytes(TABLES, masks=MASKS, slots=2)
    assert 3 * weights < adam < 3 * weights + 1.5e9
    assert adam - training_bytes(TABLES, masks=MASKS, slots=1) == weights
    assert 4 * weights + MASKS < needed_bytes(TABLES, masks=MASKS, slots=2) < 8e9 + weights


@pytest.mark.parametrize(
    "optimizer, slots",
    [
        (keras.optimizers.Adam(), 2),
        (keras.optimizers.SGD(0.1), 0),
        (keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.9), 1),
    ],
)
def test_slots_are_counted_and_the_optimizer_is_left_unbuilt(optimizer: keras.Optimizer, slots: int) -> None:
    assert slots_of(optimizer) == slots
    assert not optimizer.built


def test_a_model_is_checked_once_with_all_that_training_takes(free: Any) -> None:
    kernel, bytes_of_all = 8 * 16 * 4, 4 * (8 * 16 + 16 + 16 * 3 + 3)
    least = training_bytes([kernel, bytes_of_all - kernel], masks=bytes_of_all // 4, slots=2)
    free(bytes_of_all * 2)
    assert least > bytes_of_all * 2
    build = checked_build(tiny.build, tiny.adam)
    with pytest.raises(NotEnoughMemoryError, match="for training a model of 0.00 GB with Adam. Received: 0.00 GB"):
        build()
    free(2 * least)
    assert isinstance(build(), keras.Model)
    more = re.escape(f"{process_bytes() / 1e9:.2f} GB more for training")
    with pytest.raises(NotEnoughMemoryError, match=f"{more}.* with Adam in 2 processes"):
        checked_build(tiny.build, tiny.adam, 2)()
    free(0)
    assert isinstance(build(), keras.Model)  # checked already: to draw weights


def test_what_is_no_model_or_optimizer_is_left_to_the_network() -> None:
    assert checked_build(lambda: None, tiny.adam)() is None  # type: ignore[arg-type, return-value]
    assert isinstance(checked_build(tiny.build, lambda: "adam")(), keras.Model)  # type: ignore[arg-type, return-value]


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize(
    "error", [MemoryError(), ResourceExhaustedError("OOM"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_memory_that_runs_out_is_named(free: Any, error: Exception) -> None:
    free(123_000_000)
    with pytest.raises(NotEnoughMemoryError, match=r"enough for the model\. Received: 0\.12 GB free") as raised:
        with clear_memory_errors("the model"):
            raise error
    assert raised.value.__cause__ is error


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match="another"), clear_memory_errors("the model"):
        raise ValueError("another")


def test_a_search_that_does_not_fit_trains_nothing(free: Any, tmp_path: Path) -> None:
    free(1000)
    with pytest.raises(NotEnoughMemoryError, match="with Adam"):
        tiny.make(config={"name": "large"}).run(out=tmp_path)
    assert not list(tmp_path.rglob("level_*"))


def test_an_array_that_cannot_be_allocated_is_named(tmp_path: Path) -> None:
    def build() -> keras.Model:
        np.empty(2**62, np.uint8)
        return tiny.build()

    with pytest.raises(NotEnoughMemoryError, match="enough for the model and its optimiser"):
        tiny.make(build=build).run(out=tmp_path)


@pytest.mark.slow
def test_workers_count_those_that_are_to_come(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughMemoryError, match="with Adam in 2 processes. Received: 0.50 GB free"):
        tiny.run(tiny.make_poor, trials=2, out=tmp_path, workers=2)
    assert not list(tmp_path.rglob("level_*"))
