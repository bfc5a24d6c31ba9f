"""The command that users type: what it prints, what it refuses, and that no signal loses more than a level."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from rich.console import Console

from experiments import (
    cifar10_conv2,
    cifar10_conv4,
    cifar10_conv6,
    command,
    digits_lenet_fcn,
    mnist_early_tickets,
    mnist_lenet_fcn,
    newsgroups_end2end,
    reuters,
    thesis_postmortem,
)
from lth_keras.criteria import CRITERIA
from lth_keras.network import Network
from lth_keras.results import DocumentLengths, Facts, RunDirectory, open_run
from lth_keras.results.record import path_of
from lth_keras.search import TicketSearch
from tests import tiny

ARGUMENTS = "--trials 1 --levels 2 --steps 60 --evaluate-every 20 --test-every 20".split()
ROOT = Path(__file__).parents[2]

# The command itself, with something done as soon as a level's first steps are done.
HOOKED = """
import os, runpy, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
from lth_keras.progress import ConsoleReporter
advanced = ConsoleReporter.advanced

def hooked(self, task, done, steps):
    advanced(self, task, done, steps)
    if task.level == {level} and 0 < done < steps:
        ConsoleReporter.advanced = advanced
        {action}

ConsoleReporter.advanced = hooked
runpy.run_module("experiments.digits_lenet_fcn", run_name="__main__", alter_sys=True)
"""
SIGNAL_SOON = "threading.Timer(0.2, os.kill, (os.getpid(), signal.{name})).start()"


def digits(out: Path, *arguments: str, hook: str | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-m", "experiments.digits_lenet_fcn"] if hook is None else ["-c", hook]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *program, *arguments, "--out", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_killed_in_a_level_and_run_again_nothing_differs(tmp_path: Path) -> None:
    whole = digits(tmp_path / "whole", *ARGUMENTS)
    assert whole.returncode == 0, whole.stderr
    hook = HOOKED.format(level=1, action="os.kill(os.getpid(), signal.SIGKILL)")
    killed = digits(tmp_path / "killed", *ARGUMENTS, hook=hook)
    assert killed.returncode == -signal.SIGKILL
    (run,) = (tmp_path / "killed").iterdir()
    assert [path.name for path in run.rglob("level_*.h5")] == ["level_00.h5"]
    resumed = digits(tmp_path / "killed", *ARGUMENTS)
    assert resumed.returncode == 0, resumed.stderr
    assert "6 of 7 trainings to do" in resumed.stderr and "trial 0, dense" not in resumed.stderr
    tiny.assert_same_numbers(open_run(run), open_run(tmp_path / "whole" / run.name))
    lines = whole.stdout.splitlines()
    assert any(line.startswith("winning_ticket") for line in lines)
    assert f"wrote {tmp_path / 'whole' / run.name / 'run.h5'}" in lines
    for line in lines:
        if line.startswith("wrote "):
            assert Path(line.removeprefix("wrote ")).stat().st_size > 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_stops_a_training_and_says_how_to_resume(tmp_path: Path, name: str) -> None:
    """Sent while the compiled program runs, in a level that would take days."""
    out = tmp_path / "with space"
    stopped = digits(out, "--steps", "1000000000", hook=HOOKED.format(level=0, action=SIGNAL_SOON.format(name=name)))
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert last == (
        "Stopped. Finished levels are kept; resume with: python -m experiments.digits_lenet_fcn --steps 1000000000 "
        f"--out '{out}'"
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny.make().network


@dataclasses.dataclass(frozen=True)
class Config(command.Options):
    """An experiment for these tests."""

    trials: int = 2
    levels: int = 1
    steps: command.Length = 20
    rate: float = 0.3


def make_search(network: Network | None, config: Config, threads: int) -> TicketSearch:
    cadence = {
        "batch_size": config.batch_size,
        "evaluate_every": config.evaluate_every,
        "test_every": config.test_every,
    }
    search = tiny.make(
        network,
        name="tiny",
        config=config.identity(),
        rates=config.rate,
        levels=config.levels,
        steps=config.steps,
        epochs=config.epochs,
        criterion=config.criterion,
        seed=config.seed,
        threads=threads,
        **cadence,
    )
    return search


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command in this process: what it changes for the whole process is put back."""
    monkeypatch.setattr("lth_keras.search.set_threads", lambda threads: None)  # TensorFlow has run: too late for it
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def run(monkeypatch: pytest.MonkeyPatch, make: Any, *arguments: str, config: Any = Config) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny", *arguments])
    command.main(config, make, "tiny")


@pytest.mark.usefixtures("here")
def test_what_a_run_prints(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = "--evaluate-every 5 --test-every 10 --batch-size 10 --threads 3".split()
    make = functools.partial(make_search, network)
    run(monkeypatch, make, *arguments, "--out", str(tmp_path))
    output, errors = capfd.readouterr()
    (directory,) = tmp_path.iterdir()
    assert f"8 of 8 trainings to do, 20 steps each, 1 at a time with 3 threads each; in {directory}" in errors
    assert "1/8 trial 0, dense, level 0: density 100.00%, early stop at step" in errors
    assert "8/8 trial 1, random_mask, level 1: density 70.45%, early stop at step" in errors
    assert "tiny, mean and min-max over 2 trials" in output
    for expected in ("dense", "winning_ticket", "random_reinit", "random_mask", f"wrote {directory / 'run.h5'}", "in "):
        assert any(line.startswith(expected) for line in output.splitlines()), expected
    for kind in ("png", "svg"):
        assert str(next((directory / "figures").glob(f"*.{kind}"))) in output
    assert open_run(directory).sizes["trial"] == 2
    # Asked again without --threads it takes those of the run, and has nothing to do.
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
    assert "Warning: Expected: a level file" in errors and "Set aside as 'level_00.h5.damaged'" in errors
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
    "--steps 0": "Expected steps to be at least 1. Received: 0",
    "--epochs 0": "Expected epochs to be at least 1. Received: 0",
    "--seed -1": "Expected seed to be at least 0. Received: -1",
    "--evaluate-every 7": "Expected test_every to be a multiple of evaluate_every (7 steps). Received: 1000",
    "--branches random_mask": "Expected branches out of",
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
    "arguments", ["--criterion lost", "--branches lost", "--levels two", "--backend torch", "--lr 1", "--epochs 1.5"]
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


@pytest.mark.parametrize("module", [digits_lenet_fcn, mnist_lenet_fcn])
def test_what_decides_no_number_does_not_name_the_run(module: Any) -> None:
    config = module.Config()
    other = module.Config(
        trials=9,
        levels=9,
        workers=9,
        threads=9,
        fresh_graphs=True,
        keep_weights="all",
        out=Path("x"),
        branches=("winning_ticket",),
    )
    assert config.identity() == other.identity()
    assert set(config.identity()) == {field.name for field in dataclasses.fields(config)} - {
        *command.NOT_HASHED,
        "epochs",
        "patience",
        "compact",
    }
    for changes in (
        {"steps": 1},
        {"patience": 1},
        {"epochs": 1},
        {"seed": 1},
        {"criterion": "random"},
        {"learning_rate": 1.0},
        {"output_rate": 0.3},
    ):
        assert module.Config(**changes).identity() != config.identity()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("workers, threads", [(1, 6), (2, 3), (4, 1), (7, 1)])
def test_threads_are_the_usable_cpus_shared_among_workers(
    workers: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(config: Config, threads: int) -> TicketSearch:
        asked.append(threads)
        raise ValueError("enough is known")

    monkeypatch.setattr("lth_keras.machine.usable_cpus", lambda: 6)
    with pytest.raises(SystemExit):
        run(monkeypatch, make, "--workers", str(workers), "--out", str(tmp_path))
    assert asked == [threads]


def parsed(config: Any, *arguments: str) -> Any:
    return tyro.cli(config, args=arguments)


@dataclasses.dataclass(frozen=True)
class ByEpochs(command.Options):
    """An experiment whose trainings are so many epochs long."""

    steps: command.Length = None
    epochs: command.Length = 5


@pytest.mark.parametrize("config, default", [(mnist_lenet_fcn.Config, (50_000, None)), (ByEpochs, (None, 5))])
def test_a_length_that_is_given_replaces_the_default(config: Any, default: Any) -> None:
    for arguments, expected in (((), default), (("--epochs", "3"), (None, 3)), (("--steps", "7"), (7, None))):
        received = parsed(config, *arguments)
        assert (received.steps, received.epochs) == expected
        assert received == dataclasses.replace(received), "what is kept is kept"
        unset = "epochs" if received.epochs is None else "steps"
        assert unset not in received.identity()


@pytest.mark.parametrize("config", [mnist_lenet_fcn.Config, digits_lenet_fcn.Config, ByEpochs])
@pytest.mark.parametrize("steps", [7, 50_000, 1500])  # defaults, too: given is given
def test_both_lengths_are_one_clear_error(config: Any, steps: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        parsed(config, "--steps", str(steps), "--epochs", "3")
    assert error.value.code == 2
    received = "".join(capsys.readouterr())
    assert "--steps and --epochs are not allowed together" in " ".join(received.split())
    with pytest.raises(ValueError, match="Expected steps or epochs. Received: steps=7, epochs=3"):
        config(steps=7, epochs=3)


@pytest.mark.parametrize(
    "module, arguments, directory",
    [
        (mnist_lenet_fcn, ("--steps", "20000"), "mnist_lenet_fcn-13002b2c"),
        (mnist_lenet_fcn, ("--steps", "20000", "--trials", "2", "--workers", "2"), "mnist_lenet_fcn-13002b2c"),
        (mnist_lenet_fcn, (), "mnist_lenet_fcn-0d2d4ae0"),
        (digits_lenet_fcn, (), "digits_lenet_fcn-48bb9eef"),
    ],
)
def test_runs_keep_their_directories(module: Any, arguments: tuple[str, ...], directory: str) -> None:
    """Names given before `--epochs` was: a run that was made then is resumed, and found again."""
    name = module.__name__.removeprefix("experiments.")
    assert path_of("", name, parsed(module.Config, *arguments).identity()).name == directory


@pytest.mark.usefixtures("here")
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


DESCRIBED = {
    cifar10_conv2: (("conv", 38_592, 38_720), ("dense", 4_259_840, 4_260_352), ("output", 2_560, 2_570)),
    cifar10_conv4: (("conv", 259_776, 260_160), ("dense", 2_162_688, 2_163_200), ("output", 2_560, 2_570)),
    cifar10_conv6: (("conv", 1_144_512, 1_145_408), ("dense", 1_114_112, 1_114_624), ("output", 2_560, 2_570)),
    digits_lenet_fcn: (("dense", 49_200, 49_600), ("output", 1_000, 1_010)),
    mnist_early_tickets: (("dense", 265_200, 265_600), ("output", 1_000, 1_010)),
    mnist_lenet_fcn: (("dense", 265_200, 265_600), ("output", 1_000, 1_010)),
    newsgroups_end2end: (
        ("embedding", 293_702_400, 293_702_400),
        ("conv", 165_600, 165_648),
        ("output", 960, 980),
    ),
    reuters: (("embedding", 6_000_300, 6_000_300), ("conv", 360_000, 360_300), ("output", 27_000, 27_090)),
    thesis_postmortem: (("dense", 265_200, 265_600), ("output", 1_000, 1_010)),
}


@pytest.mark.parametrize("experiment", DESCRIBED, ids=lambda module: module.__name__)
def test_every_experiment_describes_its_weights_and_training(experiment: Any) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    assert not list(experiment.Config().described())
    console.print(*experiment.Config(levels=2, describe=True).described())
    rows = [line.split() for line in console.export_text().splitlines()]
    for kind, prunable, in_all in DESCRIBED[experiment]:
        assert [kind, f"{prunable:,}", f"{in_all:,}"] in rows
    for word in ("length", "batch", "loss", "optimiser", "criterion"):
        assert any(word in row for row in rows), word
    assert any(row[:1] == ["2"] for row in rows) and not any(row[:1] == ["3"] for row in rows)


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
    run(monkeypatch, make, *arguments, str(tmp_path), config=Talkative)
    output, errors = capfd.readouterr()
    assert errors.splitlines()[:2] == ["first [this]", "then that"]
    (directory,) = tmp_path.iterdir()
    for kind in ("png", "svg"):
        assert (directory / "figures" / f"document_lengths.{kind}").stat().st_size > 0
        assert f"wrote {directory / 'figures' / f'document_lengths.{kind}'}" in output.splitlines()
    run(monkeypatch, None, "--describe", "--out", str(tmp_path / "none"), config=Talkative)
    assert capfd.readouterr().out.split() == ["all", "about", "it"]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "experiment",
    [
        cifar10_conv6,
        digits_lenet_fcn,
        mnist_early_tickets,
        mnist_lenet_fcn,
        reuters,
        thesis_postmortem,
    ],
)
def test_every_experiment_counts_outcomes_by_class_under_the_name_it_had(experiment: Any) -> None:
    config = experiment.Config()
    search = experiment.make_search(config, 1)
    assert search.confusion and "confusion" not in search.identity and search.identity == config.identity()


@pytest.mark.parametrize("name", [*CRITERIA, "stacked(snip,synflow)"])
def test_every_criterion_can_be_asked_for(name: str) -> None:
    config = tyro.cli(Config, args=["--criterion", name])
    assert config.criterion == name and config.identity() == Config(criterion=name).identity()
