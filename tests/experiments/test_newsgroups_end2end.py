"""Newsgroups-End2End as a command: its tables, its cadence, what names its run, and a search on small postings."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro

from datasets.newsgroups import Lengths
from experiments import command, newsgroups_end2end
from experiments.newsgroups_end2end import Config, make_search
from lth_keras.plots import figures_of, save_figures
from tests import tiny


@pytest.fixture(autouse=True)
def _words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No packed parts, no vocabulary but that of the training documents, and none asked for over the network."""

    def none() -> None:
        raise newsgroups_vocabulary.DataUnavailable("20 Newsgroups", "none in this test.", "")

    from datasets import newsgroups_vocabulary

    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(newsgroups_vocabulary, "vocabulary_file", lambda: None)
    monkeypatch.setattr(newsgroups_vocabulary, "fetch_vocabulary", none)


def training(**changes: Any) -> Config:
    return Config(vocabulary="training", **changes)


def describe(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr("sys.argv", ["newsgroups_end2end", "--describe", *arguments])
    monkeypatch.setattr("lth_keras.search.search.TicketSearch.run", None)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    command.main(Config, make_search, "newsgroups_end2end")
    return capfd.readouterr()


def test_describe_prints_the_tables_of_the_thesis(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without data, and without a model: nothing here takes 1.2 GB."""
    monkeypatch.setattr(newsgroups_end2end, "make_search", None)
    rows = [line.split() for line in describe(monkeypatch, capfd)[0].splitlines() if line.strip()]
    for expected in (
        "a1_embedding 200 x 300 18,356,400",
        "a8_conv 179 x 3 19,803",
        "b8_pool 25 x 3 0",
        "features 48 0",
        "embedding 293,702,400 293,702,400",
        "conv 165,600 165,648",
        "output 960 980",
        "all 293,868,960 293,869,028",
        "length of a training 10 epochs",
        "steps per epoch 169",
        "batch size 60",
        "training documents 10,183",
        "loss sparse categorical cross-entropy",
        "optimiser Adam, learning rate 0.001",
        "pruning rate, conv 15% per level",
        "0 293,702,400 165,600 960 293,868,960 100.00",
        "5 96,240,400 73,472 315 96,314,187 32.77",  # the thesis' 32.8% and 10.7%
        "10 31,536,048 32,602 103 31,568,753 10.74",
    ):
        assert expected.split() in rows, expected


def test_describe_follows_the_flags(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    flags = "--validation 0 --tokens 100 --dimension 30 --levels 1 --embedding-rate 0.5".split()
    output, _ = describe(monkeypatch, capfd, *flags)
    rows = [line.split() for line in output.splitlines() if line.strip()]
    for expected in (
        "a1_embedding 100 x 30 1,835,640",
        "steps per epoch 188",
        "training documents 11,314",
        "validation documents none (the last step is reported as early stop)",
        "1 14,685,120 14,076 768 14,699,964 50.02",
    ):
        assert expected.split() in rows, expected


@pytest.mark.parametrize("flags", ["--levels -1", "--tokens 20", "--validation 11314", "--conv-rate 1"])
def test_what_cannot_be_described_is_one_clear_line(
    flags: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        describe(monkeypatch, capfd, *flags.split())
    assert error.value.code == 1
    output, errors = capfd.readouterr()
    assert errors.startswith("ValueError: Expected") and "Traceback" not in errors
    assert flags.split()[1] in errors.rpartition("Received: ")[2] or "rate" in flags


@pytest.mark.parametrize(
    "changes, cadence",
    [
        ({}, (169, 169)),
        ({"validation": 0}, (188, 188)),
        ({"batch_size": 100}, (101, 101)),
        ({"evaluate_every": 10}, (10, 10)),
        ({"evaluate_every": 10, "test_every": 20}, (10, 20)),
        ({"test_every": 338}, (169, 338)),
    ],
)
def test_it_evaluates_once_an_epoch_unless_told_otherwise(changes: dict[str, int], cadence: tuple[int, int]) -> None:
    search = make_search(training(**changes), 1)
    assert (search.training.evaluate_every, search.test_every) == cadence
    assert search.training.epochs == 10 and search.levels == 10 and search.pruning.scope == "layer"
    assert search.pruning.rates == {"embedding": 0.2, "conv": 0.15, "output": 0.2}


@pytest.mark.parametrize("changes", [{"validation": -1}, {"validation": 11_300}, {"batch_size": 0}])
def test_sizes_without_a_step_in_an_epoch_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Expected --validation of 0 or more, and at least one batch"):
        make_search(training(**changes), 1)


def test_the_run_says_which_vocabulary_and_how_many_weights() -> None:
    identity = training().identity()
    assert identity["vocabulary"] == "training" == identity["provenance"]["vocabulary_source"]
    assert "NOT the published ones" in identity["provenance"]["vocabulary"]
    assert identity["weights"] == {
        "embedding": {"prunable": 293_702_400, "with_biases": 293_702_400},
        "conv": {"prunable": 165_600, "with_biases": 165_648},
        "output": {"prunable": 960, "with_biases": 980},
    }
    notes = list(training().notes())
    assert "conv: 165,600 prunable weights, 165,648 with biases" in notes
    assert any("NOT the published ones" in note for note in notes)
    assert not any("thesis" in note or "early stop" in note for note in notes)


def test_a_vocabulary_that_has_to_replace_the_published_one_is_the_same_run_as_one_that_is_asked_for() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = Config()
        assert config.identity() == config.identity() == training().identity()
        list(config.notes())
    assert len(caught) == 1 and "published vocabulary cannot be had" in str(caught[0].message)


@pytest.mark.parametrize("changes", [{"tokens": 100}, {"dimension": 30}, {"tokens": 50, "dimension": 10}])
def test_another_model_than_the_thesis_is_said_and_another_run(changes: dict[str, int]) -> None:
    (note,) = [note for note in training(**changes).notes() if "thesis" in note]
    assert "NOT the thesis' model" in note and str(changes) in note
    identity = training(**changes).identity()
    assert identity != training().identity() and identity.items() >= changes.items()


def test_the_protocol_without_a_validation_split_is_said() -> None:
    (note,) = [note for note in training(validation=0).notes() if "validation split" in note]
    assert "11,314" in note and "last step" in note


def test_what_decides_no_number_does_not_name_the_run() -> None:
    other = training(trials=9, levels=9, workers=9, fresh_graphs=False, describe=True, branches=("winning_ticket",))
    assert training().identity() == other.identity()
    for name, value in {
        "learning_rate": 1.0,
        "embedding_rate": 0.1,
        "conv_rate": 0.1,
        "output_rate": 0.1,
        "validation": 0,
        "remove_footers": True,
        "remove_quotes": True,
        "epochs": 1,
    }.items():
        assert training(**{name: value}).identity() != training().identity(), name


def test_defaults_are_those_of_the_thesis() -> None:
    config = tyro.cli(Config, args=())
    assert (config.trials, config.levels, config.epochs, config.steps) == (1, 10, 10, None)
    assert (config.batch_size, config.validation, config.tokens, config.learning_rate) == (60, 1_131, 200, 1e-3)
    assert config.fresh_graphs and config.branches == tiny.ALL


@pytest.mark.slow
@pytest.mark.parametrize("validation", [60, 0])
def test_a_search_and_its_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, validation: int) -> None:
    """A model of 1 column and 28 tokens on made-up documents: every layer and every row of the real one."""
    generator = np.random.default_rng(0)

    def load(**arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        x, y = generator.integers(0, 61_188, (240, 28), dtype=np.int32), generator.integers(0, 20, 240)
        held_out = slice(120, 120 + arguments["validation"])
        return {
            "train": (x[:120], y[:120]),
            "validation": (x[held_out], y[held_out]),
            "test": (x[180:], y[180:]),
            "without_validation": arguments["validation"] == 0,
        }

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("datasets.newsgroups.load", load)
    monkeypatch.setattr("datasets.newsgroups.lengths", lambda **_: Lengths(np.arange(50), np.arange(30)))
    monkeypatch.setattr(
        "lth_keras.search.search.set_threads", lambda threads: None
    )  # TensorFlow has run: too late for it
    config = training(tokens=28, dimension=1, epochs=None, steps=2, levels=1, validation=validation, remove_quotes=True)
    run = make_search(config, 1).run(branches=config.branches, out=tmp_path, facts=config.facts)
    assert asked == [
        {
            "seed": 0,
            "validation": validation,
            "tokens": 28,
            "remove_footers": False,
            "remove_quotes": True,
            "vocabulary": "training",
        }
    ]
    density = run.dataset.weight_density.sel(trial=0, branch="random_mask", level=1).to_pandas()
    expected = {"a1_embedding/embeddings": 48_950 / 61_188, "a2_conv/kernel": 10 / 12, "b8_conv/kernel": 56 / 66}
    for key, share in expected.items():
        assert density[key] == pytest.approx(share, abs=1e-6), key
    assert len(density) == 33 and run.dataset.step.values.tolist() == [2]
    assert json.loads(run.dataset.attrs["config"])["provenance"]["vocabulary_source"] == "training"
    assert run.dataset.sizes["true"] == 20
    assert (run.dataset.test_confusion.sum(("true", "predicted")) == 60).all()
    np.testing.assert_allclose(run.dataset.test_recall_micro, run.dataset.test_accuracy, rtol=1e-6)
    assert ("comment" in run.dataset.early_stop_step.attrs) == (validation == 0)
    expected = ["convergence", "curves", "history", "density_by_kind", "document_lengths"]
    assert list(figures_of(run.dataset)) == (["accuracy", "early_stop"] if validation else []) + expected
    assert len(save_figures(run.dataset, tmp_path / "figures", ["svg"])) == len(figures_of(run.dataset))
