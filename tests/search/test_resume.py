"""The same numbers: interrupted, resumed, extended, damaged, asked for again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras.search.run import Run
from lth_keras.search.tasks import Task, pending_tasks
from lth_keras.training.network import Network
from tests import tiny
from tests.backend import EAGER
from tests.few import few
from tests.search.whole import LEVELS, SEEDS, TASKS, expected_of
from tests.tiny import ALL, Witness, assert_same_numbers, final_weights, make


@pytest.mark.slow
def test_controls_at_some_levels_have_the_numbers_of_controls_at_all(
    run: Run, network: Network, tmp_path: Path
) -> None:
    """Also where more levels are asked for later, above and below those that are there."""
    some = make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all", control_levels=(2,))
    assert np.isnan(some.dataset.density.sel(branch="random_mask", level=[1, 3])).all()
    assert_same_numbers(make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all"), run)


def test_controls_at_no_level_of_the_search(network: Network, tmp_path: Path) -> None:
    for levels in ((0,), (1, LEVELS + 1)):
        with pytest.raises(ValueError, match=f"control_levels in 1 ... {LEVELS}. Received"):
            make(network, levels=LEVELS).run(1, ALL, tmp_path, control_levels=levels)


@pytest.mark.skipif(EAGER, reason="it runs eagerly, and traces nothing")
def test_nothing_is_traced_again(run: Run, network: Network, tmp_path: Path) -> None:
    """For any level, branch or trial: another trace would cost memory at every level."""
    program = network.engine.program(network)
    before = program.traces
    make(network, levels=2).run(2, ALL, tmp_path)
    assert program.traces == before


def test_the_same_search_gives_the_same_bits(run: Run, network: Network, tmp_path: Path) -> None:
    again = make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all")
    assert_same_numbers(again, run)
    for task in pending_tasks((), SEEDS, ALL, LEVELS):
        weights = final_weights(again, *task)
        for key, value in final_weights(run, *task).items():
            np.testing.assert_array_equal(value, weights[key])
    witness = Witness()
    asked_again = make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, reporter=witness)
    assert_same_numbers(asked_again, run)
    assert not witness.events


INTERRUPTIONS = [("finished", task) for task in TASKS] + [("advanced", TASKS[i]) for i in (0, 1, 5)]


@few(("kind", "task"), INTERRUPTIONS, ("finished", TASKS[1]), ("advanced", TASKS[5]), ids=str)
def test_interrupted_anywhere_and_resumed_nothing_differs(
    run: Run, network: Network, tmp_path: Path, kind: str, task: Task
) -> None:
    search, first = make(network), Witness(kind, task)
    with pytest.raises(KeyboardInterrupt):
        search.run(branches=ALL, out=tmp_path, reporter=first)
    before = TASKS.index(task) + (kind == "finished")
    assert first.tasks("finished") == TASKS[:before]
    assert len(list(tmp_path.glob("*/run.h5"))) == (before > 0)
    second = Witness()
    resumed = make(network).run(branches=ALL, out=tmp_path, reporter=second)
    assert second.tasks("started") == second.tasks("finished") == TASKS[before:]
    assert_same_numbers(resumed, expected_of(run, 1, 2))


def test_more_trials_branches_and_levels_change_no_other_numbers(run: Run, network: Network, tmp_path: Path) -> None:
    seen: dict[Path, bytes] = {}
    branches = ("winning_ticket", "random_mask")
    for trials, asked, levels in ((1, branches[:1], 1), (2, branches, 2)):
        grown = make(network, levels=levels).run(trials, asked, tmp_path)
        assert_same_numbers(grown, expected_of(run, trials, levels, asked))
        files = {path: path.read_bytes() for path in grown.directory.path.rglob("level_*.h5")}
        assert seen.items() <= files.items(), "a finished level was written again"
        seen = files


@pytest.mark.slow
def test_a_run_made_without_confusion_matrices_goes_on_with_them(run: Run, network: Network, tmp_path: Path) -> None:
    """Which change no other number; levels made before have none."""
    make(network, levels=1, config={"name": "older"}).run(len(SEEDS), ALL, tmp_path)
    search = make(network, levels=LEVELS, config={"name": "older"}, confusion=True)
    resumed = search.run(len(SEEDS), ALL, tmp_path).dataset
    added = [name for name in resumed.data_vars if name not in run.dataset]
    assert "test_confusion" in added and all(name == "test_confusion" or "_m" in str(name) for name in added)
    assert_same_numbers(resumed.drop_vars([*added, "true", "predicted"]), run.dataset)
    assert (resumed.test_confusion.sel(level=[0, 1]) == -1).all()
    assert np.isnan(resumed.test_f1_macro.sel(level=[0, 1])).all()
    tested = resumed.sel(level=slice(2, None)).dropna("step", subset=["test_accuracy"])
    assert (tested.test_confusion.sum(("true", "predicted")) == 40).all()
    for name in ("precision", "recall", "f1"):
        np.testing.assert_allclose(tested[f"test_{name}_micro"], tested.test_accuracy, rtol=1e-6)


def test_a_search_of_one_trial_is_the_same_as_that_trial_of_many(run: Run, network: Network, tmp_path: Path) -> None:
    alone = make(network, levels=LEVELS, seed=1).run(1, ALL, tmp_path)
    assert_same_numbers(alone, run.dataset.isel(trial=[1]))


@pytest.mark.slow
@pytest.mark.parametrize("task", [TASKS[0], TASKS[1], TASKS[3]], ids=str)
def test_a_truncated_level_is_named_set_aside_and_trained_again(
    run: Run, network: Network, tmp_path: Path, task: Task
) -> None:
    directory = make(network).run(branches=ALL, out=tmp_path).directory
    path = directory.level_path(*task)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    witness = Witness()
    with pytest.warns(UserWarning, match=f"{re.escape(path.name)}.*Renamed to 'level_0{task.level}.h5.damaged'"):
        again = make(network).run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("started") == [task]
    assert path.with_name(path.name + ".damaged").read_bytes() == whole[: len(whole) // 2]
    assert_same_numbers(again, expected_of(run, 1, 2))


def test_an_interrupted_change_of_trials_does_not_mix_them(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the data of trial 1 came and before its weights did, then asked for trial 0 again."""

    def interrupted(*names: Any) -> Any:
        raise KeyboardInterrupt

    search = make(network, data=tiny.data, config={"name": "mixed"})
    expected = search.run(out=tmp_path / "expected")
    monkeypatch.setattr(network, "draw_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.run(2, out=tmp_path / "expected")
    monkeypatch.undo()
    assert_same_numbers(search.run(out=tmp_path / "received"), expected)
