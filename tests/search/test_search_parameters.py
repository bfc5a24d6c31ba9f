"""What a search takes, and what it refuses before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from lth_keras.network import Network
from lth_keras.run import Run
from lth_keras.search import TicketSearch
from tests import tiny
from tests.tiny import ALL, assert_same_numbers, make


def test_epochs_are_passes_of_full_batches(network: Network, tmp_path: Path) -> None:
    by_epochs = make(network, steps=None, epochs=2, levels=1).run(out=tmp_path)
    assert by_epochs.dataset.step.values.tolist() == [5, 10, 15, 20, 24]
    assert_same_numbers(by_epochs, make(network, steps=24, levels=1).run(out=tmp_path))


def test_data_come_as_a_dict_an_object_or_a_function_of_the_seed(network: Network, tmp_path: Path) -> None:
    asked: list[int] = []

    def draw(seed: int) -> Any:
        asked.append(seed)
        return tiny.data(seed)

    def run(data: Any, **changes: Any) -> Run:
        return make(network, data=data, levels=0, **changes).run(changes.pop("trials", 1), out=tmp_path)

    expected = run(tiny.data(1))
    assert_same_numbers(run(SimpleNamespace(**tiny.data(1))), expected)
    drawn = make(network, data=draw, levels=0, config={"name": "drawn"}).run(2, out=tmp_path)
    assert asked == [0, 1]
    assert_same_numbers(
        drawn.dataset.isel(trial=[1]), make(network, data=tiny.data(1), levels=0, seed=1).run(out=tmp_path)
    )
    assert not drawn.dataset.train_loss[0].equals(drawn.dataset.train_loss[1])


@pytest.fixture
def set_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Hears which threads are set; TensorFlow would refuse them, now that it has run."""
    heard: list[int] = []
    monkeypatch.setattr("lth_keras.search.set_threads", heard.append)
    yield heard


def test_threads_are_set_before_a_model_exists(set_threads: list[int], tmp_path: Path) -> None:
    """TensorFlow refuses them after: with `config=None` the identity builds a model too."""
    built_with: list[list[int]] = []

    def build() -> keras.Model:
        built_with.append(list(set_threads))
        return tiny.build()

    make(build=build, threads=2).prepare(1, ALL, tmp_path, "none")
    assert built_with and all(threads == [2] for threads in built_with)


def test_threads_are_recorded_and_others_refused(set_threads: list[int], tmp_path: Path) -> None:
    directory, *_ = make(threads=2).prepare(1, ALL, tmp_path, "none")
    assert directory.threads == 2
    assert make(threads=2).prepare(1, ALL, tmp_path, "none")[0].path == directory.path
    for other in (1, None):
        with pytest.raises(ValueError, match=f"made with.*(received 1|Received: threads={other})"):
            make(threads=other).prepare(1, ALL, tmp_path, "none")


BAD_SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "rate of 1": ({"rates": 1.0}, r"Expected rates in \[0, 1\).*Received: 1.0"),
    "negative rate": ({"rates": {"dense": -0.1, "output": 0.1}}, r"Expected rates in \[0, 1\).*-0.1"),
    "NaN rate": ({"rates": float("nan")}, r"Expected rates in \[0, 1\)"),
    "rates in global scope": ({"scope": "global"}, "Expected one rate for global scope"),
    "rates in ERK scope": ({"scope": "erk"}, "Expected one rate for erk scope"),
    "samples": ({"samples_per_class": 0}, "Expected samples_per_class to be at least 1. Received: 0"),
    "scope": ({"scope": "model"}, "Expected scope to be one of 'layer', 'global', 'uniform', 'erk'. Received: 'model'"),
    "criterion": ({"criterion": "magnitud"}, "Expected a criterion: one of 'magnitude'.*Received: 'magnitud'"),
    "rewind": ({"rewind": "late"}, "Expected rewind to be one of.*Received: 'late'"),
    "steps and epochs": ({"epochs": 2}, "Expected steps or epochs. Received: steps=20, epochs=2"),
    "neither": ({"steps": None}, "Expected steps or epochs. Received: steps=None, epochs=None"),
    "no step": ({"steps": 0}, "Expected steps to be at least 1. Received: 0"),
    "negative levels": ({"levels": -1}, "Expected levels to be at least 0. Received: -1"),
    "empty batch": ({"batch_size": 0}, "Expected batch_size to be at least 1. Received: 0"),
    "negative seed": ({"seed": -1}, "Expected seed to be at least 0. Received: -1"),
    "no thread": ({"threads": 0}, "Expected threads to be at least 1. Received: 0"),
    "negative minimum": ({"min_per_layer": -1}, "Expected min_per_layer to be at least 0. Received: -1"),
    "test cadence": ({"test_every": 12}, "multiple of evaluate_every .5 steps.. Received: 12"),
}


@pytest.mark.parametrize("what", BAD_SEARCHES)
def test_parameters_that_mean_nothing_are_refused(what: str) -> None:
    changes, message = BAD_SEARCHES[what]
    with pytest.raises(ValueError, match=message):
        make(**changes)


BAD_RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "no trial": ({"trials": 0}, "Expected at least 1 trial. Received: 0"),
    "branch": ({"branches": ("winning_ticket", "lost")}, "Expected branches out of.*Received: .*'lost'"),
    "no winning ticket": ({"branches": ("random_mask",)}, "'winning_ticket' among them"),
    "keep_weights": (
        {"keep_weights": "some"},
        r"keep_weights to be one of \('none', 'last', 'all'\). Received: 'some'",
    ),
}


@pytest.mark.parametrize("what", BAD_RUNS)
def test_runs_that_mean_nothing_are_refused_and_leave_nothing(network: Network, tmp_path: Path, what: str) -> None:
    arguments, message = BAD_RUNS[what]
    with pytest.raises(ValueError, match=message):
        make(network).run(**{"out": tmp_path, **arguments})
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_shows_before_anything_is_trained(network: Network, tmp_path: Path) -> None:
    x, y = tiny.data()["train"]
    bad: tuple[tuple[TicketSearch, type[Exception], str], ...] = (
        (make(rates={"dense": 0.2}), ValueError, "'output/kernel' is of kind 'output'; add a rate"),
        (make(rates={"dense": 0.2, "hidden": 0.1, "output": 0.1}), ValueError, "Received: 'hidden'"),
        (make(build=lambda: "model"), TypeError, "Expected build.. to return a keras.Model. Received: str"),
        (make(build=lambda: keras.Sequential([keras.layers.Dense(3)])), ValueError, "is not built"),
        (make(optimizer=lambda: "adam"), TypeError, "Expected optimizer.. to return a keras.Optimizer"),
        (make(network, data={"train": (x, y)}), ValueError, "Expected data with"),
        (make(network, data={**tiny.data(), "train": (x, y + 1)}), ValueError, "Expected labels in 0"),
        (make(network, data={**tiny.data(), "train": (x[:9], y[:9])}), ValueError, "Expected at least one batch of 10"),
    )
    for search, error, message in bad:
        with pytest.raises(error, match=message):
            search.run(out=tmp_path)
    assert not list(tmp_path.rglob("level_*"))
