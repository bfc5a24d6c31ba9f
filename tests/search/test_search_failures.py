"""What goes wrong in a search: each error says what and where, and finished levels are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import LevelError, Task, pending_tasks
from lth_keras.storage import InUseError, RunDirectory, open_run
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.network import Network
from tests import tiny
from tests.backend import BACKEND
from tests.few import few
from tests.search.whole import TASKS, expected_of
from tests.tiny import ALL, Witness, assert_same_numbers, make, masks_of


def test_a_loss_that_is_not_finite_is_named_and_finished_levels_are_kept(
    run: Run, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = network.draw_weights

    def poisoned(seed: int, *names: str | int, **options: bool) -> dict[str, np.ndarray]:
        poison = np.float32(np.nan if names == ("random_reinit", 2) else 0)
        return {key: value + poison for key, value in draw(seed, *names, **options).items()}

    monkeypatch.setattr(network, "draw_weights", poisoned)
    witness = Witness()
    search = make(network)
    message = "In trial 0, random_reinit, level 2: The training loss is not finite.* at step 1[. ].*levels are kept in"
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("finished") == [task for task in TASKS if task != (0, "random_reinit", 2)]
    monkeypatch.undo()
    path = tiny.prepare(search, 1, ALL, tmp_path).directory.path
    kept = expected_of(run, 1, 2).copy(deep=True)
    kept.test_accuracy_final[0, 1, 2] = np.nan
    np.testing.assert_array_equal(open_run(path).test_accuracy_final, kept.test_accuracy_final)
    assert_same_numbers(search.run(branches=ALL, out=tmp_path), expected_of(run, 1, 2))


def test_a_network_that_is_cut_through_is_named_and_finished_levels_are_kept(network: Network, tmp_path: Path) -> None:
    """The output layer has 48 weights: 5 at level 1, none at level 2."""
    search = make(network, rates={"dense": 0.2, "output": 0.9}, levels=4, min_per_layer=0)
    first, second = Witness(), Witness()
    message = (
        r"In trial 0, winning_ticket, level 2: .*no weight left in output/kernel, at density 0.466, and no way around.*"
        r"Keep min_per_layer at 1.*levels are kept in"
    )
    with (
        pytest.raises(LevelError, match=message),
        pytest.warns(UserWarning, match="Layer collapse: no weight is left in output/kernel"),
    ):
        search.run(branches=ALL, out=tmp_path, reporter=first)
    finished = pending_tasks((), [0], ALL, 1)
    assert first.tasks("finished") == finished
    (path,) = tmp_path.iterdir()
    kept = open_run(path)
    assert kept.sizes["level"] == 2 and np.isfinite(kept.test_accuracy_final).all()
    # Asked again it says the same and trains nothing; asked for the levels that there are, it has them.
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=second)
    assert second.events == []
    shallow = make(network, rates={"dense": 0.2, "output": 0.9}, levels=1, min_per_layer=0)
    assert shallow.identity == search.identity
    assert_same_numbers(shallow.run(branches=ALL, out=tmp_path, reporter=second), kept)
    assert second.events == []


@few(("rates", "scope", "level"), [(0.95, "layer", 2), (0.999, "global", 1)], (0.999, "global", 1))
def test_where_no_weight_is_left_at_all_the_level_before_is_kept(
    network: Network, tmp_path: Path, rates: float, scope: str, level: int
) -> None:
    search, witness = make(network, levels=3, min_per_layer=0, rates=rates, scope=scope), Witness()
    message = rf"winning_ticket, level {level}: .*no weight left in hidden/kernel, output/kernel, at density 0,"
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("finished") == pending_tasks((), [0], ALL, level - 1)
    assert open_run(next(tmp_path.iterdir())).sizes["level"] == level


def residual() -> keras.Model:
    """8-16-3, with a bottleneck of 16 + 16 weights beside a skip connection."""
    hidden = keras.layers.Dense(16, "relu", name="hidden")(x := keras.Input((8,)))
    beside = keras.layers.Dense(16, name="wide")(keras.layers.Dense(1, name="narrow")(hidden))
    return keras.Model(x, keras.layers.Dense(3, "softmax", name="output")(hidden + beside))


@pytest.mark.slow
def test_a_collapsed_layer_that_something_goes_around_is_no_error(tmp_path: Path) -> None:
    search = make(build=residual, rates={"dense": 0.9, "output": 0.0}, levels=2, min_per_layer=0)
    with pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"):
        run = search.run(branches=ALL, out=tmp_path)
    expected = {"hidden/kernel": 1, "narrow/kernel": 0, "wide/kernel": 0, "output/kernel": 48}
    for branch in ALL:
        assert masks_of(run, 0, branch, 2)[2].counts() == expected
    assert np.isfinite(run.dataset.test_accuracy_final).all()


def test_a_second_search_in_the_same_directory_is_refused(network: Network, tmp_path: Path) -> None:
    """For as long as the first one runs, to the last byte of run.h5."""

    class Second(Witness):
        def _hear(self, kind: str, task: Task) -> None:
            super()._hear(kind, task)
            with pytest.raises(InUseError, match="in use by process"):
                make(network).run(out=tmp_path)

    witness = Second()
    whole = make(network, levels=0).run(out=tmp_path, reporter=witness)
    assert witness.tasks("started") == witness.tasks("finished") == [Task(0, "dense", 0)]
    with RunDirectory.load(whole.directory.path).locked(), pytest.raises(InUseError):
        make(network).run(out=tmp_path)
    assert_same_numbers(make(network, levels=0).run(out=tmp_path), whole)


def test_a_directory_that_cannot_be_written_is_named(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError, match="Expected: an output directory that can be written.*file"):
        make(network).run(out=tmp_path / "file")


@few(
    ("optimizer", "advice"),
    [(tiny.adam, "Lower the learning rate"), (keras.optimizers.Adafactor, "Use epsilon_1=1e-16")],
    (tiny.adam, "Lower the learning rate"),
)
def test_weights_that_are_not_finite_are_named_though_the_loss_hides_them(monkeypatch, tmp_path, optimizer, advice):
    def train(self, *arguments, **options):
        for trained in original(self, *arguments, **options):
            weights = dict(trained.weights)
            weights["hidden/kernel"][0, 0] = np.nan
            yield trained._replace(weights=weights)

    original = Compiled.train
    monkeypatch.setattr(Compiled, "train", train)
    with pytest.raises(LevelError, match=f"trial 0, dense, level 0.*hidden/kernel.*{advice}"):
        tiny.make(optimizer=optimizer).run(out=tmp_path)


def diverging(seed: int) -> dict[str, Any]:
    """The data of trials 0 and 2; those of trials 1 and 3 are finite, and a weighted sum of them is not."""
    made = tiny.data(seed)
    return {name: (np.sign(x) * np.float32(3e38), y) for name, (x, y) in made.items()} if seed % 2 else made


CONFIG = {"name": "diverging"}


def failing(**changes: Any) -> TicketSearch:
    """A search of trials of which every other one diverges, importable by workers."""
    return make(**{"data": diverging, "levels": 1, "config": CONFIG, **changes})


@pytest.mark.parametrize("engine", ["compiled", "batched:2"])
@pytest.mark.slow
def test_trials_behind_one_that_diverges_are_trained_and_all_failures_are_said(tmp_path: Path, engine: str) -> None:
    if engine != "compiled" and BACKEND != "jax":
        pytest.skip("several tickets are trained at once on JAX only")
    for heard, trained in ((Witness(), [0, 2]), (Witness(), [])):  # a rerun goes on likewise
        with pytest.raises(LevelError) as error:
            failing(engine=engine).run(4, ("winning_ticket", "random_mask"), tmp_path, reporter=heard)
        first, *lines = str(error.value).splitlines()
        assert first.startswith("2 trainings failed; all other requested ones are finished. 4 that depend on ")
        assert ["In trial 1, dense, level 0: " in lines[0], "In trial 3, dense, level 0: " in lines[1]] == [True, True]
        assert all("is not finite" in line and "levels are kept in" in line for line in lines)
        assert {task.seed for task in heard.tasks("finished")} == set(trained)
    (path,) = tmp_path.iterdir()
    finished = pending_tasks((), [0, 2], ("winning_ticket", "random_mask"), 1)
    assert RunDirectory.load(path).finished() == set(finished)
    assert open_run(path).trial.values.tolist() == [0, 2]


def test_a_directory_that_is_deleted_meanwhile_is_not_said_to_be_kept(network: Network, tmp_path: Path) -> None:
    class Deleting(Witness):
        def finished(self, task: Task, scalars: Any) -> None:
            super().finished(task, scalars)
            shutil.rmtree(tmp_path / "out")

    with pytest.raises(
        FileNotFoundError, match="Received: none; it was deleted or moved with its finished levels"
    ) as error:
        make(network).run(out=tmp_path / "out", reporter=Deleting())
    assert "kept" not in str(error.value) and not list(tmp_path.rglob("level_*"))


@pytest.mark.usefixtures("bound_by_permissions")
@few(
    ("place", "mode"),
    [("levels", 0o300), ("levels", 0o500), ("levels/seed_0/dense", 0o300)],
    ("levels/seed_0/dense", 0o300),
)
def test_levels_that_cannot_be_read_or_written_are_named_before_anything_is_trained(
    network: Network, tmp_path: Path, place: str, mode: int
) -> None:
    done = make(network, levels=0).run(out=tmp_path)
    folder, witness = done.directory.path / place, Witness()
    folder.chmod(mode)
    try:
        with pytest.raises(PermissionError, match="Expected: a directory of levels that can be read and wr") as error:
            make(network, levels=1).run(out=tmp_path, reporter=witness)
    finally:
        folder.chmod(0o700)
    assert error.value.filename == str(folder) and not witness.events


def test_what_it_prints_is_short(network: Network, run: Run) -> None:
    assert repr(run) == f"Run({str(run.directory.path)!r})"
    assert repr(run.search).startswith("TicketSearch(name='search', levels=3, steps=20, batch_size=10, criterion='magn")
    assert repr(network).endswith("176 prunable weights, batch_size=10)")
