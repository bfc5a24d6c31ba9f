"""What every experiment's command has: lengths, names of runs, descriptions, counts of outcomes, criteria."""

from __future__ import annotations

import dataclasses
import io
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
    cifar10_resnet_rewinding,
    digits_lenet_fcn,
    digits_resnet_rewinding,
    mnist_early_tickets,
    mnist_lenet_fcn,
    newsgroups_end2end,
    reuters,
    thesis_postmortem,
)
from experiments.flags import Length
from experiments.options import NOT_HASHED, Options
from lth_keras.criteria import CRITERIA
from lth_keras.storage.record import path_of
from tests.experiments.commands import Config, parsed


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
        *NOT_HASHED,
        "epochs",
        "patience",
        "rewind",
        "pattern",
        "multiple_of",
    }
    for changes in (
        {"steps": 1},
        {"patience": 1},
        {"rewind": "step:5"},
        {"pattern": "units"},
        {"pattern": "units", "multiple_of": 4},
        {"epochs": 1},
        {"engine": "native"},
        {"seed": 1},
        {"criterion": "random"},
        {"learning_rate": 1.0},
        {"output_rate": 0.3},
    ):
        assert module.Config(**changes).identity() != config.identity()


def test_a_pattern_of_the_command_line_is_that_of_the_search() -> None:
    for flag, pattern in (("filters", "units"), ("2:4", "2:4")):
        config = parsed(digits_lenet_fcn.Config, "--pattern", flag, "--levels", "1")
        pruning = digits_lenet_fcn.make_search(config, 1).pruning
        assert pruning.pattern == pattern and (pruning.rates is None) == (flag == "2:4")
        assert config.identity() == digits_lenet_fcn.Config(pattern=pattern, levels=1).identity()


@dataclasses.dataclass(frozen=True)
class ByEpochs(Options):
    """An experiment whose trainings are so many epochs long."""

    steps: Length = None
    epochs: Length = 5


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


DESCRIBED = {
    cifar10_conv2: (("conv", 38_592, 38_720), ("dense", 4_259_840, 4_260_352), ("output", 2_560, 2_570)),
    cifar10_conv4: (("conv", 259_776, 260_160), ("dense", 2_162_688, 2_163_200), ("output", 2_560, 2_570)),
    cifar10_conv6: (("conv", 1_144_512, 1_145_408), ("dense", 1_114_112, 1_114_624), ("output", 2_560, 2_570)),
    cifar10_resnet_rewinding: (("conv", 270_256, 270_256), ("output", 640, 650)),
    digits_lenet_fcn: (("dense", 49_200, 49_600), ("output", 1_000, 1_010)),
    digits_resnet_rewinding: (("conv", 76_432, 76_432), ("output", 640, 650)),
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


def test_a_description_says_where_weights_are_ranked_and_how_many_a_global_scope_leaves() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(*cifar10_resnet_rewinding.Config(describe=True).described())
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["scope", "all", "layers", "together"] in rows
    assert ["1", "88,583", "32.70"] in rows and ["2", "28,967", "10.69"] in rows


def test_halved_images_are_means_of_four_pixels() -> None:
    x = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    halved = cifar10_resnet_rewinding.halved(x)
    assert halved.shape == (3, 16, 16, 3)
    np.testing.assert_allclose(halved[1, 5, 7, 2], x[1, 10:12, 14:16, 2].mean(), rtol=1e-6)


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
    assert search.training.confusion and "confusion" not in search.identity and search.identity == config.identity()


@pytest.mark.parametrize("name", [*CRITERIA, "stacked(snip,synflow)"])
def test_every_criterion_can_be_asked_for(name: str) -> None:
    config = tyro.cli(Config, args=["--criterion", name])
    assert config.criterion == name and config.identity() == Config(criterion=name).identity()
