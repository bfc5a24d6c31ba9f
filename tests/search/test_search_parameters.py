"""What a search takes, and what it refuses before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
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

    expected = run(SimpleNamespace(**tiny.data(1)), seed=1)
    drawn = make(network, data=draw, levels=0, config={"name": "drawn"}).run(2, out=tmp_path)
    assert asked == [0, 1]
    assert_same_numbers(drawn.dataset.isel(trial=[1]), expected)
    assert make(network, data=tiny.data(1), levels=0, seed=1).identity == expected.search.identity
    assert not drawn.dataset.train_loss[0].equals(drawn.dataset.train_loss[1])


@pytest.fixture
def set_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Hears which threads are set; TensorFlow would refuse them, now that it has run."""
    heard: list[int] = []
    monkeypatch.setattr("lth_keras.search.search.set_threads", heard.append)
    yield heard


def test_threads_are_set_before_a_model_exists(set_threads: list[int], tmp_path: Path) -> None:
    """TensorFlow refuses them after: with `config=None` the identity builds a model too."""
    built_with: list[list[int]] = []

    def build() -> keras.Model:
        built_with.append(list(set_threads))
        return tiny.build()

    tiny.prepare(make(build=build, threads=2), 1, ALL, tmp_path)
    assert built_with and all(threads == [2] for threads in built_with)


def test_threads_are_recorded_and_others_refused(set_threads: list[int], tmp_path: Path) -> None:
    directory = tiny.prepare(make(threads=2), 1, ALL, tmp_path).directory
    assert directory.threads == 2
    assert tiny.prepare(make(threads=2), 1, ALL, tmp_path).directory.path == directory.path
    for other in (1, None):
        with pytest.raises(ValueError, match=f"made with.*(received 1|Received: threads={other})"):
            tiny.prepare(make(threads=other), 1, ALL, tmp_path)


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
    "steps as float": ({"steps": 2e4}, r"Expected steps to be an integer. Received: 20000.0 \(float\)"),
    "too many steps": ({"steps": 2**31}, "Expected steps to be at most 2,147,483,647. Received: 2147483648"),
    "levels as float": ({"levels": 2.0}, r"Expected levels to be an integer. Received: 2.0 \(float\)"),
    "levels as bool": ({"levels": True}, r"Expected levels to be an integer. Received: True \(bool\)"),
    "batch as text": ({"batch_size": "60"}, r"Expected batch_size to be an integer. Received: '60' \(str\)"),
    "no batch": ({"batch_size": None}, "Expected batch_size to be an integer. Received: None"),
    "no seed": ({"seed": None}, "Expected seed to be an integer. Received: None"),
    "large seed": (
        {"seed": 2**63},
        "Expected seed to be at most 9,223,372,036,854,775,807. Received: 9223372036854775808",
    ),
    "cadence as float": ({"evaluate_every": 5.0}, "Expected evaluate_every to be an integer. Received: 5.0"),
    "cadence of 0": ({"evaluate_every": 0}, "Expected evaluate_every to be at least 1. Received: 0"),
    "shots as float": ({"shots": 1.0}, "Expected shots to be an integer"),
    "threads as text": ({"threads": "all"}, "Expected threads to be an integer. Received: 'all'"),
    "flag as int": ({"confusion": 1}, r"Expected confusion to be True or False. Received: 1 \(int\)"),
    "flag as None": ({"prune_frozen": None}, "Expected prune_frozen to be True or False. Received: None"),
    "jit as text": ({"jit_compile": "auto"}, "Expected jit_compile to be True or False. Received: 'auto'"),
    "name": ({"name": 3}, "Expected name to be a string. Received: 3"),
    "scope as None": ({"scope": None}, "Expected scope to be a string. Received: None"),
    "rate as text": (
        {"rates": "0.2"},
        "Expected rates, if it is not a dict by kind of layer, to be a number. Received: '0.2'",
    ),
    "rate of a kind": ({"rates": {"dense": "0.2"}}, r"Expected rates\['dense'\] to be a number. Received: '0.2'"),
    "rate as bool": ({"rates": {"dense": True}}, r"Expected rates\['dense'\] to be a number. Received: True"),
    "one density": ({"rates": None, "densities": 0.5}, "Expected densities to be a list of numbers. Received: 0.5"),
    "a density as text": (
        {"rates": None, "densities": ["0.5"]},
        "Expected each density to be a number. Received: '0.5'",
    ),
    "optimizer by name": (
        {"optimizer": "adam"},
        "function that makes one, such as lambda: keras.optimizers.Adam.*'adam'",
    ),
    "optimizer itself": ({"optimizer": tiny.adam()}, "Expected optimizer to be a function that makes one.*an Adam"),
    "model itself": ({"build": tiny.build()}, "Expected build to be the function that makes the model.*the model 'seq"),
    "no builder": ({"build": None}, "Expected build to be a function that makes the model. Received: None"),
    "no loss": ({"loss": None}, "Expected loss to be a name, a keras.losses.Loss or a function.*Received: None"),
    "losses": ({"loss": ["mse", 3]}, "Expected loss to be a name, a keras.losses.Loss or a function"),
    "class of a loss": ({"loss": keras.losses.MeanSquaredError}, r"an instance, MeanSquaredError\(\)"),
    "unknown loss": (
        {"loss": "crossentropy!"},
        "Expected the name of a loss that Keras has. Received: 'crossentropy!'",
    ),
    "no criterion": ({"criterion": None}, "Expected a criterion"),
    "observe": ({"observe": True}, "Expected observe to be an Observation. Received: True"),
    "facts": ({"facts": {}}, "Expected facts as an argument of"),
    "config": ({"config": "mine"}, "Expected config to be a dict of JSON values. Received: 'mine'"),
    "variants": ({"variants": ["a"]}, "Expected variants to be a dict by name"),
    "a variant": ({"variants": {"a": 3}}, "Expected the parameters that variant 'a' changes as a dict. Received: 3"),
    "name of a variant": ({"variants": {"a/b": {}}}, "name of variant that can be part of a path. Received: 'a/b'"),
    "long variant": ({"variants": {"a" * 300: {}}}, "name of variant that can be part of a path"),
    "engine": ({"engine": "batched:1"}, "Expected engine to be auto, compiled, .*Received: 'batched:1'"),
    "no data": ({"data": None}, "Expected data with .*Received: NoneType whose 'train' is None"),
    "data as text": ({"data": "mnist"}, "Expected data with .*Received: str whose 'train' is None"),
    "data as a pair": ({"data": tiny.data()["train"]}, "Expected data with .*Received: tuple whose 'train' is None"),
    "test cadence": ({"test_every": 12}, "multiple of evaluate_every .5 steps.. Received: 12"),
}


@pytest.mark.parametrize("what", BAD_SEARCHES)
def test_parameters_that_mean_nothing_are_refused(what: str) -> None:
    changes, message = BAD_SEARCHES[what]
    with pytest.raises((ValueError, TypeError), match=message):
        make(**changes)


def with_split(name: str, part: Any) -> dict[str, Any]:
    return {**tiny.data(), name: part}


def sparse() -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(np.eye(4, 8))


LABELS = np.zeros(4, np.int32)
BAD_DATA: dict[str, tuple[Callable[[], Any], str]] = {
    "a fraction": (lambda: with_split("validation", 0.1), "'validation' is 0.1 .float.; split the arrays before"),
    "nothing": (lambda: with_split("validation", None), "say so by an attribute or key without_validation=True"),
    "a generator": (lambda: with_split("train", (i for i in range(2))), "'train': Expected batches .x, y. or .x, y, s"),
    "a generator of x": (
        lambda: with_split("train", (iter([1, 2]), LABELS)),
        "'train': Expected x as an array of all ex",
    ),
    "a sparse matrix": (
        lambda: with_split("test", (sparse(), LABELS)),
        r"'test': Expected x as an array.*\.toarray\(\)",
    ),
    "a dict of x and y": (
        lambda: with_split("test", {"x": 1, "y": 2}),
        "each a pair .x, y.. Received: dict whose 'test'",
    ),
    "three arrays": (lambda: with_split("test", (LABELS,) * 3), "each a pair .x, y.. Received: dict whose 'test'"),
    "no labels": (
        lambda: with_split("train", (np.zeros((4, 8)), None)),
        "'train': Expected y as an array. Received: None",
    ),
}


@few("what", BAD_DATA, "a fraction", "a generator", "a sparse matrix")
def test_data_that_are_no_arrays_are_refused_with_what_to_do(what: str, tmp_path: Path) -> None:
    given, message = BAD_DATA[what]
    with pytest.raises(ValueError, match=message):
        make(data=given(), config={"name": "data"})
    with pytest.raises(ValueError, match=message):
        make(data=lambda seed: given(), config={"name": "data"}).run(out=tmp_path)
    assert not list(tmp_path.iterdir()), "a run that is refused leaves nothing to list"


def test_class_indices_for_a_loss_of_one_hot_labels_are_refused(tmp_path: Path) -> None:
    loss = keras.losses.CategoricalCrossentropy()
    with pytest.raises(ValueError, match="Expected one-hot labels, of shape .*use sparse_categorical_crossentropy"):
        make(loss=loss).run(out=tmp_path)


def test_numbers_of_numpy_are_those_of_python() -> None:
    search = make(levels=np.int64(2), steps=np.int32(20), rates=np.float32(0.25), confusion=np.bool(False))
    types = type(search.training.steps), type(search.training.confusion)
    assert (search.identity, types) == (make(rates=0.25).identity, (int, bool))
    densities = make(rates=None, densities=np.array([0.5, 0.25]), levels=None)
    assert densities.pruning.densities == (0.5, 0.25) and densities.levels == 2


def test_without_a_validation_split_it_need_not_be_there(network: Network, tmp_path: Path) -> None:
    given = {key: value for key, value in tiny.data().items() if key != "validation"}
    run = make(network, data={**given, "without_validation": True}, levels=0).run(out=tmp_path)
    assert run.dataset.early_stop_step.values.item() == 20


BAD_RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "no trial": ({"trials": 0}, "Expected at least 1 trial. Received: 0"),
    "branch": ({"branches": ("winning_ticket", "lost")}, "Expected branches from.*Received: .*'lost'"),
    "no winning ticket": ({"branches": ("random_mask",)}, "with 'winning_ticket' if any other"),
    "trials as float": ({"trials": 2.0}, r"Expected trials to be an integer. Received: 2.0 \(float\)"),
    "seeds beyond what files hold": ({"trials": 2**63 + 1}, "Expected seeds of trials up to 9,223,372,036,854,775,807"),
    "one branch": (
        {"branches": "winning_ticket"},
        "Expected branches to be a list of names. Received: 'winning_ticket'",
    ),
    "one level": ({"control_levels": 2}, "Expected control_levels to be a list of levels. Received: 2"),
    "reporter": ({"reporter": print}, "Expected a reporter with methods started, advanced, finished"),
    "out": ({"out": None}, "Expected out to be a path. Received: None"),
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
    bad: tuple[tuple[Callable[[], TicketSearch], type[Exception], str], ...] = (
        (lambda: make(rates={"dense": 0.2}), ValueError, "'output/kernel' is of kind 'output'; add a rate"),
        (lambda: make(rates={"dense": 0.2, "hiden": 0.1, "output": 0.1}), ValueError, "Received: 'hiden'"),
        (lambda: make(network, data={"train": (x, y)}), ValueError, "Expected data with"),
        (lambda: make(network, data={**tiny.data(), "train": (x, y + 1)}), ValueError, "Expected labels in 0"),
    )
    for search, error, message in bad:
        with pytest.raises(error, match=message):
            search().run(out=tmp_path)
    assert not list(tmp_path.iterdir()), "a run that is refused leaves nothing to list"
