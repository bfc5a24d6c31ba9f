"""A run keeps the engine that it was made with: its variants, workers and later commands, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from lth_keras.search.search import TicketSearch
from lth_keras.storage import RunDirectory
from lth_keras.training.engines import AUTO
from tests import tiny

CONFIG = {"name": "engines"}
EARLY = {"early": {"score_at": 5}}
jax_only = pytest.mark.skipif(keras.backend.backend() != "jax", reason="batches of tickets are on JAX only")


def search(**changes: Any) -> TicketSearch:
    return tiny.make(**{"levels": 1, "config": CONFIG, "optimizer": lambda: keras.optimizers.SGD(0.1), **changes})


def engines_of(directory: RunDirectory) -> set[Any]:
    return {(directory.made(*key) or {})["engine"] for key in directory.finished()}


@jax_only
def test_variants_go_on_with_the_batches_of_their_run(tmp_path: Path) -> None:
    branches = ("winning_ticket", "early")
    search(engine="batched:2", variants=EARLY).run(1, branches, tmp_path)
    run = search(variants=EARLY).run(2, branches, tmp_path)
    assert engines_of(run.directory) == {"batched:2"} and len(run.directory.finished()) == 8


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_auto_goes_on_with_the_engine_of_its_run(tmp_path: Path, workers: int) -> None:
    search(engine="compact").run(1, out=tmp_path)
    run = tiny.run(search, trials=2, out=tmp_path, workers=workers)
    assert engines_of(run.directory) == {"compact"}
    with pytest.raises(ValueError, match="Expected engine='compact'.*Received: engine='compiled'"):
        search(engine="compiled").run(3, out=tmp_path)


@jax_only
def test_a_search_is_run_elsewhere_with_the_engine_of_that_place(tmp_path: Path) -> None:
    one = search()
    one.run(1, out=tmp_path / "a")
    search(engine="batched:2").run(1, out=tmp_path / "b")
    assert engines_of(one.run(2, out=tmp_path / "b").directory) == {"batched:2"}
    assert engines_of(one.run(2, out=tmp_path / "a").directory) == {"compiled"}


@pytest.mark.slow
def test_closures_trained_by_workers_and_here_are_the_same_levels(tmp_path: Path) -> None:
    factor = 2.0

    def scaled(state: Any) -> Any:
        return {key: abs(state.final[key]) * factor for key in state.mask}

    def closed() -> TicketSearch:
        return search(criterion=scaled, build=lambda: tiny.build())

    closed().run(2, out=tmp_path / "workers", workers=2)
    run = closed().run(3, out=tmp_path / "workers")
    assert len(run.directory.finished()) == 6
    closed().run(1, out=tmp_path / "here")
    assert len(closed().run(2, out=tmp_path / "here", workers=2).directory.finished()) == 4
    with pytest.raises(ValueError, match="criterion"):
        search(build=lambda: tiny.build()).run(4, out=tmp_path / "workers")


def test_a_directory_of_dense_tables_of_version_0_1_is_found(tmp_path: Path) -> None:
    made = search(config=None, engine="compiled")
    RunDirectory.open(tmp_path, "search", {**made.identity, "embeddings": "dense"})
    prepared = tiny.prepare(made, 1, ("winning_ticket",), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1 and prepared.directory.config["embeddings"] == "dense"


def test_older_parameters_at_their_defaults_undo_those_of_a_search() -> None:
    with pytest.warns(DeprecationWarning):
        base = tiny.make(engine="compact", variants={"whole": {"compact": False}})
    assert base.search_of("whole").engine == AUTO
    with pytest.raises(ValueError, match="Expected start or initialise"):
        tiny.make(start="initial", initialise="bimodal(magnitude)")


def test_what_trials_begin_with_is_named_as_in_version_0_1() -> None:
    name = "scores_as_weights(learned(some/file.npz))"
    assert {"initialise": name}.items() <= describe_start(name).items()


def describe_start(start: str) -> dict[str, Any]:
    from lth_keras.search.variants import recorded_names

    return recorded_names({"start": start})
