"""Searches by each engine: the same tickets, resumed to the same bits, recorded, and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import xarray

from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import LevelError, Task
from lth_keras.storage import RunDirectory
from lth_keras.training.engines import native
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few

ON_JAX = keras.backend.backend() == "jax"
jax_only = pytest.mark.skipif(not ON_JAX, reason="several tickets are trained at once on JAX only: KERAS_BACKEND=jax")
CONFIG = {"name": "engines"}
ENGINES = [
    pytest.param("batched:4", marks=jax_only),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("native", "compact", "compact:native")),
]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads of the native kernel wait for each other, which takes long where other tests have the processors."""
    monkeypatch.setattr(native, "threads", lambda: 1)


def search(**changes: Any) -> TicketSearch:
    """Half of the weights a level, so that smaller networks are worth it."""
    own = {"jit_compile": None} if "native" in changes.get("engine", "") else {}
    return tiny.make(**{"data": tiny.data, "config": CONFIG, "rates": 0.5, **own, **changes})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two trials and three branches by the compiled engine."""
    return search(engine="compiled").run(2, tiny.ALL, tmp_path_factory.mktemp("alone"), keep_weights="all")


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same four at a time, never interrupted."""
    return search(engine="batched:4").run(2, tiny.ALL, tmp_path_factory.mktemp("batched"), keep_weights="all")


@pytest.mark.parametrize("engine", ENGINES)
def test_it_finds_the_tickets_that_the_compiled_engine_finds(alone: Run, tmp_path: Path, engine: str) -> None:
    searched = search(engine=engine)
    run = searched.run(2, tiny.ALL, tmp_path, keep_weights="all")
    xarray.testing.assert_allclose(tiny.numbers(run), tiny.numbers(alone), rtol=2e-3, atol=1e-4)
    for seed in (0, 1):
        for branch in tiny.ALL:
            assert tiny.masks_of(run, seed, branch, 2) == tiny.masks_of(alone, seed, branch, 2)
            final = tiny.final_weights(run, seed, branch, 2)
            for key, value in tiny.final_weights(alone, seed, branch, 2).items():
                np.testing.assert_allclose(final[key], value, rtol=1e-3, atol=1e-4)
    assert (run.dataset.seconds > 0).all()
    if "compact" in engine:
        assert any(isinstance(made, Network) for made in searched.network.programs.values())
    made_with = run.directory.made(0, "dense", 0)
    assert made_with is not None and made_with["engine"] == engine


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "compact"])
def test_it_is_resumed_to_the_same_bits(tmp_path: Path, engine: str) -> None:
    whole = search(engine=engine).run(2, tiny.ALL[:2], tmp_path / "whole")
    search(engine=engine, levels=1).run(1, tiny.ALL[:2], tmp_path / "parts")
    tiny.assert_same_bits(search(engine=engine).run(2, tiny.ALL[:2], tmp_path / "parts"), whole)


@pytest.mark.parametrize(
    ("engine", "own"),
    [("native", {"fused": True}), ("compact", {"compact": True}), ("compact:native", {"compact": True, "fused": True})],
)
def test_runs_are_named_as_those_of_the_older_parameters(engine: str, own: dict[str, Any]) -> None:
    plain = search(config=None, data=tiny.data(), jit_compile=None)
    assert plain.changed(engine=engine).identity == {**plain.identity, **own}


def test_an_engine_that_cannot_train_it_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    decayed = {"engine": "compact", "optimizer": lambda: keras.optimizers.AdamW(1e-3)}
    with pytest.raises(ValueError, match="without weight decay"):
        search(variants={"decayed": decayed}).run(1, ("winning_ticket", "decayed"), tmp_path)
    assert not list(tmp_path.rglob("level_*.h5"))


@pytest.mark.slow
def test_a_variant_can_have_an_engine_of_its_own(tmp_path: Path) -> None:
    variants = {"kernel": {"engine": "native", "jit_compile": None}}
    losses = search(variants=variants).run(1, ("winning_ticket", "kernel"), tmp_path).dataset.train_loss
    one, other = losses.sel(branch="kernel"), losses.sel(branch="winning_ticket")
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)
    assert (one.sel(level=0) != other.sel(level=0)).any()


def wide() -> keras.Model:
    """24-32-3, of inputs that the native engine's kernel for kept weights takes."""
    layers = keras.layers
    return keras.Sequential([keras.Input((24,)), layers.Dense(32, "relu"), layers.Dense(3, "softmax")])


def wide_data(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (np.tile(x, 3), y) for name, (x, y) in tiny.data(seed).items()}


def sparse_search() -> TicketSearch:
    """Levels of 100, 30 and 9% of the weights, by the native engine."""
    changes = {"data": wide_data, "rates": 0.7, "engine": "native", "config": {"name": "sparse"}}
    return search(build=wide, **changes)


def test_sparse_levels_find_the_tickets_of_the_compiled_engine_and_resume(tmp_path: Path) -> None:
    run = sparse_search().run(1, tiny.ALL[:2], tmp_path / "whole", keep_weights="all")
    compiled = (
        sparse_search().changed(engine="compiled").run(1, tiny.ALL[:2], tmp_path / "compiled", keep_weights="all")
    )
    xarray.testing.assert_allclose(tiny.numbers(run), tiny.numbers(compiled), rtol=2e-3, atol=1e-4)
    for branch in tiny.ALL[:2]:
        assert tiny.masks_of(run, 0, branch, 2) == tiny.masks_of(compiled, 0, branch, 2)
    sparse_search().changed(levels=1).run(1, tiny.ALL[:2], tmp_path / "parts")
    tiny.assert_same_bits(sparse_search().run(1, tiny.ALL[:2], tmp_path / "parts"), run)


@pytest.mark.slow
def test_sparse_levels_of_workers_have_the_same_bits(tmp_path: Path) -> None:
    run = sparse_search().run(2, tiny.ALL[:2], tmp_path / "one")
    workers = sparse_search().run(2, tiny.ALL[:2], tmp_path / "workers", workers=2, remake=sparse_search)
    tiny.assert_same_bits(workers, run)


# Batches of tickets


@pytest.mark.skipif(ON_JAX, reason="what other backends say")
def test_a_batch_that_cannot_be_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected Keras on JAX.*engine='batched:4'"):
        search(engine="batched:4").run(1, out=tmp_path)
    assert not list(tmp_path.iterdir())


@jax_only
@few(
    ("kind", "task"),
    [
        ("finished", Task(0, "dense", 0)),
        ("finished", Task(0, "random_reinit", 1)),
        ("advanced", Task(1, "winning_ticket", 2)),
    ],
    ("finished", Task(0, "random_reinit", 1)),
)
def test_a_batch_interrupted_and_resumed_changes_no_bit(batched: Run, tmp_path: Path, kind: str, task: Task) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(engine="batched:4").run(2, tiny.ALL, tmp_path, reporter=tiny.Witness(kind, task))
    directory = RunDirectory.recorded(tmp_path, "search", CONFIG)
    done = directory.finished() if directory else set()
    # By the engine that is recorded, where one is.
    resumed, witness = search(engine="auto" if done else "batched:4"), tiny.Witness()
    tiny.assert_same_numbers(resumed.run(2, tiny.ALL, tmp_path, reporter=witness), batched)
    assert resumed.trainer.spelling == "batched:4" and not done & set(witness.tasks("started"))


@jax_only
@pytest.mark.slow
def test_more_trials_and_branches_change_no_bit_of_a_batch(batched: Run, tmp_path: Path) -> None:
    search(engine="batched:4").run(1, ("winning_ticket",), tmp_path)
    tiny.assert_same_numbers(search(engine="batched:4").run(2, tiny.ALL, tmp_path), batched)


@pytest.mark.slow
def test_another_engine_than_the_recorded_is_refused(alone: Run) -> None:
    with pytest.raises(ValueError, match=r"Expected engine='compiled', as .* Received: engine='native'"):
        search(engine="native").run(2, tiny.ALL, alone.directory.path.parent)


@jax_only
def test_a_trial_that_cannot_be_trained_costs_no_other(tmp_path: Path) -> None:
    def bad(seed: int) -> Any:
        data = tiny.data(seed)
        if seed != 1:
            return data
        x, y = data["train"]
        signs = np.where(np.arange(len(x)) % 2, -1, 1)[:, None]  # so that every unit overflows for some example
        return {**data, "train": (np.full_like(x, 3e38) * signs.astype(x.dtype), y)}

    with pytest.raises(LevelError, match=r"In trial 1, dense, level 0: .*not finite"):
        search(data=bad, engine="batched:3").run(3, out=tmp_path)
    directory = RunDirectory.recorded(tmp_path, "search", CONFIG)
    assert directory is not None
    finished = directory.finished()
    assert {(0, "dense", 0), (2, "dense", 0)} <= finished and (1, "dense", 0) not in finished


@jax_only
@pytest.mark.slow
def test_batches_are_trained_in_one_process(tmp_path: Path) -> None:
    pair = search(engine="batched:2")
    for out in (tmp_path / "new", tmp_path):
        with pytest.raises(ValueError, match=r"workers=1.*engine='batched:2'"):
            pair.run(workers=2, out=out)
        pair.run(out=tmp_path)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=r"workers=1.*engine='batched:2'"):
        search().run(workers=2, out=tmp_path)  # asks for none, but the run was made with two


@jax_only
@pytest.mark.slow
def test_as_long_as_nothing_is_finished_another_engine_may_be_asked_for(tmp_path: Path) -> None:
    def shapes(seed: int) -> Any:
        return {name: (x[seed:], y[seed:]) for name, (x, y) in tiny.data(seed).items()}

    with pytest.raises(ValueError, match=r"equal shapes.*engine='compiled'"):
        search(data=shapes, engine="batched:4").run(2, out=tmp_path)
    done = search(data=shapes, engine="compiled").run(2, out=tmp_path)
    assert len(done.directory.finished()) == 6


@jax_only
@few("width", [2, 4, 7], 2)
def test_data_are_loaded_once_for_each_trial(tmp_path: Path, width: int) -> None:
    asked: list[int] = []
    load: Callable[[int], Any] = lambda seed: (asked.append(seed), tiny.data(seed))[1]  # noqa: E731
    whole = search(data=load, engine=f"batched:{width}").run(5, tiny.ALL, tmp_path)
    assert sorted(asked) == [0, 1, 2, 3, 4]
    assert len(whole.directory.finished()) == 5 * 7
