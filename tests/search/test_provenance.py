"""A run goes on with what made its levels, or is refused by name; other versions are said and recorded."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search import provenance
from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.storage import RunDirectory, read_level, write_level
from lth_keras.storage.levels import read_made
from lth_keras.training.network import Network
from tests import tiny
from tests.tiny import Witness, make

CONFIG = {"name": "made"}
MISSING = (1, "winning_ticket", 1)


@pytest.fixture(scope="module")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(network).run(2, out=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> RunDirectory:
    """A copy of the run without the last level of trial 1."""
    directory = RunDirectory.load(shutil.copytree(whole.directory.path, tmp_path / whole.directory.path.name))
    directory.level_path(*MISSING).unlink()
    return directory


def search(network: Network, **changes: Any) -> Any:
    return make(network, **{"levels": 1, "config": CONFIG, "data": tiny.data, **changes})


def sgd() -> keras.Optimizer:
    return keras.optimizers.SGD(0.02)


def other_data(changed: int) -> Any:
    """The data of one trial are shifted."""

    def data(seed: int) -> Any:
        splits = tiny.data(seed)
        if seed == changed:
            splits["train"] = (np.roll(splits["train"][0], 1, axis=1), splits["train"][1])
        return splits

    return data


def test_a_level_records_what_made_it(whole: Run) -> None:
    first, second = (read_made(whole.directory.level_path(seed, "winning_ticket", 1)) for seed in (0, 1))
    assert first["run"] == second["run"] == whole.directory.identity and first["data"] != second["data"]
    assert (first["floatx"], first["dtype_policy"], first["device"]) == ("float32", "float32", "cpu")
    assert first["versions"]["keras"] == keras.__version__
    assert first["training"]["optimizer"]["name"].endswith("Adam") and first["training"]["batch_size"] == 10
    assert read_level(whole.directory.level_path(0, "dense", 0)).made["training"] == first["training"]


def test_the_same_search_goes_on_without_a_word(run: RunDirectory, network: Network, whole: Run) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        again = search(network).run(2, out=run.path.parent)
    tiny.assert_same_bits(again, whole)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"optimizer": sgd}, r"optimizer.*Adam'?, expected '.*SGD"),
        ({"loss": "mse"}, r"training.loss='sparse_categorical_crossentropy', expected 'mse'"),
        ({"steps": 30}, r"training.steps=20, expected 30"),
        ({"batch_size": 12}, r"training.batch_size=10, expected 12"),
        ({"data": other_data(0)}, r"seed_0.*data='[0-9a-f]{64}', expected '[0-9a-f]{64}'"),
        ({"data": other_data(1)}, r"seed_1.*data='[0-9a-f]{64}', expected '[0-9a-f]{64}'"),
        ({"criterion": lambda state: state.final}, r"training.criterion='magnitude', expected"),
    ],
)
def test_another_search_under_the_same_name_is_refused(
    run: RunDirectory, network: Network, changes: dict[str, Any], message: str
) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    witness = Witness()
    with pytest.raises(ValueError, match=message):
        search(network, **changes).run(2, out=run.path.parent, reporter=witness)
    assert not witness.events and {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before


def test_another_data_type_is_refused(run: RunDirectory, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "floatx", lambda: "float16")
    with pytest.raises(ValueError, match="floatx='float32', expected 'float16'"):
        search(network).run(2, out=run.path.parent)


def test_the_data_of_a_trial_that_is_finished_count_too(run: RunDirectory, network: Network) -> None:
    with pytest.raises(ValueError, match=r"seed_0.*data="):
        search(network, data=other_data(0)).run(3, out=run.path.parent)


def test_a_level_of_another_run_is_refused(run: RunDirectory, network: Network, tmp_path: Path) -> None:
    other = search(network, config={"name": "other"}).run(2, out=tmp_path / "other")
    shutil.copy(other.directory.level_path(0, "winning_ticket", 1), run.level_path(0, "winning_ticket", 1))
    with pytest.raises(ValueError, match=f"run='{other.directory.identity}', expected '{run.identity}'"):
        search(network).run(2, out=run.path.parent)


def test_other_versions_are_said_and_recorded(
    run: RunDirectory, network: Network, monkeypatch: pytest.MonkeyPatch, whole: Run
) -> None:
    now = {**provenance.versions(), "keras": "99.0"}
    monkeypatch.setattr(provenance, "versions", lambda: now)
    with pytest.warns(UserWarning, match=rf"versions.keras='{keras.__version__}', expected '99.0'"):
        again = search(network).run(2, out=run.path.parent)
    assert read_made(run.level_path(*MISSING))["versions"]["keras"] == "99.0"
    tiny.assert_same_numbers(again, whole)


def test_levels_without_a_record_are_taken_and_said_so_once(run: RunDirectory, network: Network) -> None:
    for key in run.finished():
        path = run.level_path(*key)
        write_level(path, dataclasses.replace(read_level(path), made={}))
    with pytest.warns(UserWarning, match="some levels do not record their provenance") as said:
        search(network).run(2, out=run.path.parent)
    assert sum("do not record" in str(warning.message) for warning in said) == 1


def test_what_cannot_be_described_is_left_out_and_the_rest_compared(
    run: RunDirectory, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = provenance.describe

    def strict(search: Any, **replaced: Any) -> Any:
        if replaced.get("loss", search.loss) == "sparse_categorical_crossentropy":
            raise ValueError("give the search a config")
        return describe(search, **replaced)

    monkeypatch.setattr(provenance, "describe", strict)
    first = search(network).trained_by["training"]
    assert "loss" not in first and first["optimizer"]["name"].endswith("Adam") and first["model"]
    with pytest.raises(ValueError, match="optimizer"):
        search(network, optimizer=sgd).run(2, out=run.path.parent)


@pytest.mark.parametrize("config", [None, CONFIG])
@pytest.mark.slow
def test_a_model_whose_layers_draw_seeds_for_themselves_is_resumed(config: Any, tmp_path: Path) -> None:
    def build() -> keras.Model:
        layers = [keras.layers.RandomCrop(4, 4), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((4, 4, 1)), *layers])

    x, y = np.zeros((20, 4, 4, 1), np.float32), np.arange(20) % 3
    data = dict.fromkeys(("train", "validation", "test"), (x, y))
    paths = set()
    for trials in (1, 2):
        made = TicketSearch(
            build, data, lambda: keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", rates=0.2, levels=1,
            steps=1, batch_size=5, config=config,
        )  # fmt: skip
        paths.add(made.run(trials, out=tmp_path).directory.path)
    assert len(paths) == 1
