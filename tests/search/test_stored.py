"""Networks of finished levels from a run's files alone, and levels that are trained again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lth_keras as lth
from lth_keras import cli
from lth_keras.search import stored_level
from lth_keras.search.run import Run
from lth_keras.search.stored import stored_model
from lth_keras.storage import MODEL, RunDirectory, has_weights, read_level
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import ALL, make


def outputs(model: keras.Model) -> np.ndarray:
    return np.asarray(model.predict(tiny.data()["test"][0], verbose=0))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three branches, the controls at level 1 only, with what is kept by default."""
    return make().run(1, ALL, tmp_path_factory.mktemp("short"), control_levels=(1,))


@few("branch", ALL, "random_mask")
def test_the_files_alone_give_the_trained_network(run: Run, branch: str) -> None:
    directory = RunDirectory.load(run.directory.path)
    for level in (0, 2):
        stored = stored_level(directory, 1, level, branch)
        model = stored_model(directory, stored)
        assert (stored.trial, stored.branch, stored.level) == (1, branch, level)
        np.testing.assert_allclose(outputs(model), outputs(run.ticket(1, level, "final", branch=branch)), atol=1e-6)
        assert lth.get_mask(model).kept == stored.result.mask.kept


def test_each_branch_keeps_the_weights_of_its_own_last_level(short: Run) -> None:
    kept = {key[1:] for key in short.directory.finished() if has_weights(short.directory.level_path(*key))}
    assert kept == {("winning_ticket", 2), ("random_reinit", 1), ("random_mask", 1)}


def test_a_file_holds_the_values_that_the_mask_keeps(short: Run) -> None:
    path = short.directory.level_path(0, "winning_ticket", 2)
    result = read_level(path, weights=True)
    assert result.weights is not None
    for key, kept in result.mask.items():
        assert not result.weights[key][~kept].any() and result.weights[key][kept].all()
    assert path.stat().st_size < short.directory.level_path(0, "dense", 0).stat().st_size + 4 * result.mask.kept + 8_000


def test_the_last_level_is_taken_if_none_is_named(short: Run) -> None:
    assert stored_level(short.directory).level == 2 and stored_level(short.directory, branch="random_mask").level == 1
    assert stored_level(short.directory, branch="dense").level == 0


def test_a_level_is_trained_again_to_the_same_bits(run: Run, network: Network, tmp_path: Path) -> None:
    other = make(network).run(2, ALL, tmp_path, keep_weights="none")
    before = other.directory.level_path(1, "random_reinit", 1).read_bytes()
    model = other.ticket(1, 1, "final", branch="random_reinit", retrain=True)
    kept = run.ticket(1, 1, "final", branch="random_reinit")
    for ours, theirs in zip(model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert other.directory.level_path(1, "random_reinit", 1).read_bytes() == before


def test_other_numbers_than_the_runs_are_an_error(network: Network, tmp_path: Path) -> None:
    run = make(network).run(1, out=tmp_path, keep_weights="none")
    run.search.trial_data.loaded(0)
    changed = make(optimizer=lambda: keras.optimizers.Adam(0.03)).run(1, out=tmp_path / "other", keep_weights="none")
    with pytest.raises(RuntimeError, match="to train to the numbers of .* Received: others"):
        Run(changed.search, run.directory).ticket(level=1, weights="final", retrain=True)


def test_what_is_not_there_is_named(short: Run) -> None:
    directory = short.directory
    for asked, message in (
        ({"trial": 1}, r"trial in 0 \.\.\. 0, .* Received: 1"),
        ({"branch": "random"}, "branch to be one of dense, random_mask, random_reinit, winning_ticket. .*'random'"),
        ({"level": 3}, "finished level of trial 0, winning_ticket: 0, 1, 2. Received: 3"),
        ({"level": 2, "branch": "random_mask"}, "finished level of trial 0, random_mask: 0, 1. Received: 2"),
    ):
        with pytest.raises(ValueError, match=message):
            stored_level(directory, **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="winning_ticket, level 1; levels 2 have them. .* --retrain"):
        stored_model(directory, stored_level(directory, level=1))


@pytest.fixture
def noted(short: Run) -> Any:
    """The file of the model's configuration, which is put back."""
    file = short.directory.path / f"{MODEL}.json"
    content = file.read_text()
    yield file
    file.write_text(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "configuration of its model. Received: none: .* earlier version"),
        ({"none": "NotImplementedError: own"}, "Received: none: NotImplementedError: own"),
        ([], "as lth_keras writes it. Received: a list"),
        ({"model": {"class_name": "Unknown"}}, "that Keras can make a model of"),
    ],
)
def test_a_run_without_a_configuration_says_so(short: Run, noted: Path, content: Any, message: str) -> None:
    noted.unlink() if content is None else noted.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        stored_model(short.directory, stored_level(short.directory))


def test_the_command_writes_a_file_to_serve(short: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = outputs(short.ticket(0, 2, "final"))
    assert cli.main(["export", str(short.directory.path), "--to", "ticket", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "winning_ticket, trial 0, level 2, " in told and "after training, test accuracy" in told
    ticket = lth.load_ticket(tmp_path / "winning_ticket-trial-0-level-02.ticket.h5")
    np.testing.assert_allclose(outputs(ticket), expected, atol=1e-6)
    arguments = [
        "export",
        str(short.directory.path),
        "--to",
        "keras",
        "--branch",
        "random_mask",
        "--out",
        str(tmp_path),
    ]
    assert cli.main(arguments) == 0
    small = keras.models.load_model(tmp_path / "random_mask-trial-0-level-01.keras")
    np.testing.assert_allclose(outputs(small), outputs(short.ticket(0, 1, "final", branch="random_mask")), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "ticket", "--level", "1"], "levels 2 have them"),
        (["--to", "keras", "--int8"], "Expected values='float32' in a .keras file. Received: 'int8'"),
        (["--to", "ticket", "--retrain", "--level", "1"], "a run that a command of experiments/ has finished"),
        (["--to", "ticket", "--weights", "rewound"], "a run that a command of experiments/ has finished"),
    ],
)
def test_the_command_refuses_with_a_way_out(
    short: Run, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(short.directory.path), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_experiments_level_is_exported_by_training_it_again(tmp_path: Path) -> None:
    """In processes of their own, as the command sets the backend."""

    def call(*arguments: str) -> str:
        environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    small = ["--trials", "1", "--levels", "2", "--steps", "40", "--branches", "winning_ticket", "--threads", "1"]
    small += ["--backend", keras.backend.backend()]
    for keep in ("none", "all"):
        call("experiments.digits_lenet_fcn", *small, "--keep-weights", keep, "--out", str(tmp_path / keep))
    (forgot,), (kept,) = (list((tmp_path / keep).iterdir()) for keep in ("none", "all"))
    call("lth_keras.cli", "export", str(forgot), "--to", "ticket", "--level", "1", "--retrain")
    call("lth_keras.cli", "export", str(kept), "--to", "ticket", "--level", "1")
    name = "winning_ticket-trial-0-level-01.ticket.h5"
    one, other = (lth.load_ticket(path / name) for path in (forgot, kept))
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    call("lth_keras.cli", "export", str(forgot), "--to", "ticket", "--level", "1", "--weights", "rewound")
    rewound = lth.load_ticket(forgot / name)
    assert lth.get_mask(rewound).kept == lth.get_mask(one).kept
    assert any((a != b).any() for a, b in zip(rewound.get_weights(), one.get_weights(), strict=True))
