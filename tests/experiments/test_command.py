"""The command that users type: what it prints, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import (
    digits_lenet_fcn,
    mnist_lenet_fcn,
    newsgroups_end2end,
)
from lth_keras.search.search import TicketSearch
from lth_keras.storage import DocumentLengths, Facts, RunDirectory, open_run
from lth_keras.storage.facts import document_lengths
from lth_keras.training.network import Network
from tests.experiments.commands import Config, make_search, run

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("here")
def test_what_a_run_prints(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = "--evaluate-every 5 --test-every 10 --batch-size 10 --threads 3".split()
    make = functools.partial(make_search, network)
    run(monkeypatch, make, *arguments, "--out", str(tmp_path))
    output, errors = capfd.readouterr()
    (directory,) = tmp_path.iterdir()
    todo = "8 of 8 trainings to do, 20 steps each, 1 at a time with 3 threads each; engine compiled (the default)"
    assert f"{todo}; in {directory}" in errors
    assert "1/8 trial 0, dense, level 0: density 100.00%, early stop at step" in errors
    assert "8/8 trial 1, random_mask, level 1: density 70.45%, early stop at step" in errors
    assert "tiny, mean and min-max over 2 trials" in output
    for expected in ("dense", "winning_ticket", "random_reinit", "random_mask", f"wrote {directory / 'run.h5'}", "in "):
        assert any(line.startswith(expected) for line in output.splitlines()), expected
    for kind in ("png", "svg"):
        assert str(next((directory / "figures").glob(f"*.{kind}"))) in output
    assert open_run(directory).sizes["trial"] == 2
    # Asked again without --threads it takes those of the run, and has nothing to do.
    monkeypatch.setattr("lth_keras.plots.save_figures", lambda dataset, path: [])
    run(monkeypatch, make, *arguments[:-2], "--out", str(tmp_path))
    assert "0 of 8 trainings to do, 20 steps each, 1 at a time with 3 threads each" in capfd.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_damaged_level_is_a_notice(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small = "--evaluate-every 5 --test-every 10 --batch-size 10 --trials 1 --levels 0 --out".split()
    monkeypatch.setattr("lth_keras.plots.save_figures", lambda dataset, path: [])
    run(monkeypatch, functools.partial(make_search, network), *small, str(tmp_path))
    (path,) = tmp_path.rglob("level_00.h5")
    path.write_bytes(path.read_bytes()[:1000])
    capfd.readouterr()
    run(monkeypatch, functools.partial(make_search, network), *small, str(tmp_path))
    errors = capfd.readouterr().err
    assert "Warning: Expected: a level file" in errors and "Renamed to 'level_00.h5.damaged'" in errors
    assert "1 of 1 trainings to do" in errors


@pytest.mark.usefixtures("here")
def test_a_directory_in_use_is_one_clear_line(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    identity = Config(out=tmp_path, evaluate_every=5, test_every=10, batch_size=10).identity()
    directory = RunDirectory.open(tmp_path, "tiny", identity, threads=1)
    arguments = "--evaluate-every 5 --test-every 10 --batch-size 10 --threads 1 --out".split()
    with directory.locked(), pytest.raises(SystemExit) as error:
        run(monkeypatch, functools.partial(make_search, network), *arguments, str(tmp_path))
    assert error.value.code == 1
    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert line.startswith("InUseError: Expected: a run directory that no other process is writing in.")
    assert str(directory.path) in line and f"process {os.getpid()} on" in line and "choose another --out" in line
    assert not output and not list(tmp_path.rglob("level_*"))


BAD = {
    "--trials 0": "Expected at least 1 trial. Received: 0",
    "--levels -1": "Expected levels to be at least 0. Received: -1",
    "--rate 1": r"Expected rates in [0, 1), the share pruned per level. Received: 1.0",
    "--rate nan": "Expected a finite number for --rate. Received: nan",
    "--workers 0": "Expected at least 1 worker. Received: 0",
    "--threads 0": "Expected threads to be at least 1. Received: 0",
    "--engine fast": "compact:native or native. Received: 'fast'.",
    "--vectorize 0": "compact:native or native. Received: 'batched:0'.",
    "--steps 0": "Expected steps to be at least 1. Received: 0",
    "--epochs 0": "Expected epochs to be at least 1. Received: 0",
    "--seed -1": "Expected seed to be at least 0. Received: -1",
    "--seed 9223372036854775808": "Expected seed to be at most 9,223,372,036,854,775,807.",
    "--evaluate-every 7": "Expected test_every to be a multiple of evaluate_every (7 steps). Received: 1000",
    "--branches random_mask": "Expected branches from",
    "--batch-size 1000": "Expected at least one batch of 1000 training examples. Received: 120",
    "--out setup.cfg": "Expected: an output directory that can be written. Received: out='setup.cfg'",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arguments", BAD)
def test_what_cannot_be_run_is_one_clear_line(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, functools.partial(make_search, None), "--out", str(tmp_path), *arguments.split())
    assert error.value.code == 1
    output, errors = capfd.readouterr()
    assert BAD[arguments] in errors.splitlines()[-1]
    assert "Traceback" not in errors and not output
    assert not list(tmp_path.rglob("level_*"))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arguments", ["--criterion lost", "--branches lost", "--levels two", "--backend numpy", "--lr 1", "--epochs 1.5"]
)
def test_what_cannot_be_read_shows_the_usage(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, None, *arguments.split())
    assert error.value.code == 2
    assert "tiny" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("module", [digits_lenet_fcn, mnist_lenet_fcn, newsgroups_end2end])
def test_help_explains_every_flag(
    module: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, None, "--help", config=module.Config)
    assert error.value.code == 0
    text = capfd.readouterr().out
    for field in dataclasses.fields(module.Config):
        found = re.search(rf"^│ --{field.name.replace('_', '-')}\b(.*?)(^│ --|^╰)", text, re.DOTALL | re.MULTILINE)
        assert found, field.name
        explained = [word for word in re.findall(r"\w+", found[1].partition("(default")[0]) if word.islower()]
        assert len(explained) > 1 or field.name == "backend", explained


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("workers, threads", [(1, 6), (2, 3), (4, 1), (7, 1)])
def test_threads_are_the_usable_cpus_shared_among_workers(
    workers: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(config: Config, threads: int) -> TicketSearch:
        asked.append(threads)
        raise ValueError("enough is known")

    monkeypatch.setattr("lth_keras.system.usable_cpus", lambda: 6)
    with pytest.raises(SystemExit):
        run(monkeypatch, make, "--workers", str(workers), "--out", str(tmp_path))
    assert asked == [threads]


@pytest.mark.usefixtures("here")
@pytest.mark.slow
def test_a_run_by_epochs(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two passes over 120 examples in batches of 10."""
    arguments = "--evaluate-every 5 --test-every 10 --batch-size 10 --trials 1 --branches winning_ticket --out".split()
    monkeypatch.setattr("lth_keras.plots.save_figures", lambda dataset, path: [])
    run(monkeypatch, functools.partial(make_search, network), *arguments, str(tmp_path), "--epochs", "2")
    assert "2 of 2 trainings to do, 2 epochs each" in capfd.readouterr().err
    (directory,) = tmp_path.iterdir()
    assert open_run(directory).step.values.tolist() == [5, 10, 15, 20, 24]


@dataclasses.dataclass(frozen=True)
class Talkative(Config):
    """An experiment with something to say."""

    def described(self) -> list[str]:
        return ["all about", "it"] if self.describe else []

    def notes(self) -> list[str]:
        return ["first [this]", "then that"]

    def facts(self) -> Facts:
        return Facts(documents=DocumentLengths({"train": np.arange(30)}, cut_off=10))


@pytest.mark.usefixtures("here")
def test_an_experiment_adds_notes_and_facts_or_describes_itself(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = "--evaluate-every 5 --test-every 10 --batch-size 10 --trials 1 --levels 0 --out".split()
    make = functools.partial(make_search, network)
    monkeypatch.setattr("lth_keras.plots.save_figures", lambda dataset, path: [])
    run(monkeypatch, make, *arguments, str(tmp_path), config=Talkative)
    output, errors = capfd.readouterr()
    assert errors.splitlines()[:2] == ["first [this]", "then that"]
    (directory,) = tmp_path.iterdir()
    assert f"wrote {directory / 'run.h5'}" in output.splitlines()
    assert document_lengths(open_run(directory)) is not None
    run(monkeypatch, None, "--describe", "--out", str(tmp_path / "none"), config=Talkative)
    assert capfd.readouterr().out.split() == ["all", "about", "it"]
    assert not (tmp_path / "none").exists()


def test_a_criterion_is_read_before_a_backend_is_chosen() -> None:
    """With KERAS_BACKEND set, as in the other tests, an early import of Keras would not be noticed."""
    code = "import sys; from experiments.flags import checked_criterion; checked_criterion('stacked(snip,synflow)')"
    code += "; sys.exit('keras' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
