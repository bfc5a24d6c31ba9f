"""Reuters as a command: its tables, its groups, what names its run, and a search on a small Reuters-21578."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from sklearn.metrics import precision_recall_fscore_support

from experiments import command, reuters
from experiments.reuters import SIZES, Config, Size, make_search
from lth_keras.analysis import metric_name
from lth_keras.plots import figures_of
from lth_keras.storage import open_run
from tests.datasets import reuters_small
from tests.few import few

SMALL = {"tokens": 6, "words": 20, "dimension": 4, "filters": 3, "batch_size": 2, "validation": 0.3}
"""Of documents of 7 different words."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Reuters of 7 training and 2 test documents in the three categories of R(90)."""
    monkeypatch.setattr(reuters, "SIZES", {**SIZES, "R(90)": Size(3, 7, 2), "R(115)": Size(5, 7, 2)})
    monkeypatch.setattr(
        "lth_keras.search.search.set_threads", lambda threads: None
    )  # TensorFlow has run: too late for it
    with reuters_small.installed(tmp_path / "data", monkeypatch):
        yield tmp_path


def command_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """What the command exits with, its output and its errors."""
    import keras

    monkeypatch.setattr("sys.argv", ["reuters", *arguments])
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    try:
        command.main(Config, make_search, "reuters")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capfd.readouterr()


def test_describe_prints_the_model_its_training_and_what_remains(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without data and without a model."""
    monkeypatch.setattr(reuters, "make_search", None)
    code, output, _ = command_line(monkeypatch, capfd, "--describe")
    rows = [line.split() for line in output.splitlines() if line.strip()]
    for expected in (
        "embedding 200 x 300 6,000,300",
        "conv_3 198 x 100 90,100",
        "conv_5 196 x 100 150,100",
        "output 90 27,090",
        "embedding 6,000,300 6,000,300",
        "conv 360,000 360,300",
        "output 27,000 27,090",
        "all 6,387,300 6,387,690",
        "steps per epoch 139",
        "categories 90, R(90)",
        "training documents 6,993",
        "validation documents 777",
        "test documents 3,019",
        "loss binary cross-entropy",
        "metric micro-F1",
        "pruning rate, output 10% per level",
        "0 6,000,300 360,000 27,000 6,387,300 100.00",
        "11 515,422 60,243 8,473 584,138 9.15",
    ):
        assert expected.split() in rows, expected
    assert code == 0


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("--group 10", ["output 10 3,010", "training documents 5,841", "test documents 2,545"]),
        ("--group R(115)", ["output 115 34,615", "training documents 6,997", "validation documents 778"]),
        ("--keep-negatives", ["output 90 27,090", "training documents 8,643", "test documents 3,299"]),
        ("--validation 0 --levels 0", ["steps per epoch 155", "training documents 7,770"]),
        ("--words 1000 --dimension 50", ["embedding 200 x 50 50,050"]),
    ],
)
def test_describe_follows_the_flags(
    flags: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, output, _ = command_line(monkeypatch, capfd, "--describe", *flags.split())
    rows = [line.split() for line in output.splitlines() if line.strip()]
    for row in expected:
        assert row.split() in rows, row


@pytest.mark.parametrize(
    "flags", ["--levels -1", "--tokens 4", "--validation 1", "--batch-size 0", "--conv-rate 1", "--words 0"]
)
def test_what_cannot_be_described_is_one_clear_line(
    flags: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, output, errors = command_line(monkeypatch, capfd, "--describe", *flags.split())
    assert code == 1 and errors.splitlines()[-1].startswith("ValueError: Expected")
    assert "Traceback" not in output + errors


@pytest.mark.parametrize("given, group", [("90", "R(90)"), ("R10", "R(10)"), ("R(115)", "R(115)")])
def test_a_group_has_short_names_that_are_the_same_run(given: Any, group: Any) -> None:
    assert Config(group=given).identity() == Config(group=group).identity()
    assert Config(group=given).identity()["group"] == group


def test_an_unknown_group_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, output, errors = command_line(monkeypatch, capfd, "--describe", "--group", "118")
    assert code != 0 and "118" in output + errors and "R(115)" in output + errors
    for group in ("118", "R(8)", "earn"):
        with pytest.raises(ValueError, match=r"Expected the group of categories .*R\(90\).* Received: "):
            Config(group=group)  # type: ignore[arg-type]


def test_groups_have_the_published_counts() -> None:
    """Which tests of the data set find in the real documents."""
    assert SIZES == {"R(10)": (10, 6_490, 2_545), "R(90)": (90, 7_770, 3_019), "R(115)": (115, 7_775, 3_019)}


def test_defaults_are_kims_where_they_can_be() -> None:
    config = tyro.cli(Config, args=())
    assert (config.batch_size, config.dropout, config.filters, config.dimension) == (50, 0.5, 100, 300)
    assert (config.trials, config.levels, config.steps, config.group) == (3, 11, None, "R(90)")
    search = make_search(config, 1)
    assert (search.training.evaluate_every, search.test_every, search.loss) == (139, 139, "binary_crossentropy")
    assert search.pruning.rates == {"embedding": 0.2, "conv": 0.15, "output": 0.1}


def test_what_decides_no_number_does_not_name_the_run() -> None:
    other = Config(trials=9, levels=9, workers=9, describe=True, branches=("winning_ticket",), control_levels=(1,))
    assert Config().identity() == other.identity()
    changes = {"group": "10", "keep_negatives": True, "validation": 0.2, "tokens": 9, "words": 9, "dimension": 9}
    changes |= {"filters": 9, "dropout": 0.1, "learning_rate": 1.0, "output_rate": 0.2, "epochs": 1, "batch_size": 60}
    for name, value in changes.items():
        assert Config(**{name: value}).identity() != Config().identity(), name


def test_notes_say_documents_categories_vocabulary_and_metric() -> None:
    notes = list(Config().notes())
    for expected in (
        "output: 27,000 prunable weights, 27,090 with biases",
        "documents of R(90): 6,993 to train on, 777 for validation, 3,019 to test on; 90 categories",
        "vocabulary: the 20,000 most frequent words of all 9,603 training documents",
        "multi-label: the metric is micro-F1",
    ):
        assert expected in notes
    assert not any("last step" in note for note in notes) and any(
        "last step" in n for n in Config(validation=0).notes()
    )


@few("group", ["90", "115"], "90")
def test_a_search_from_sgml_to_metrics_and_figures(small: Path, group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are scikit-learn's on the final weights, classes without a test example included."""
    config = Config(group=group, epochs=None, steps=4, levels=1, keep_weights="last", **SMALL)  # type: ignore[arg-type]
    search = make_search(config, 1)
    run = search.run(branches=config.branches, out=small, keep_weights="last")
    dataset = open_run(run.directory.path)
    classes = config.size.classes
    assert metric_name(dataset) == "micro_f1" and dataset.step.values.tolist() == [2, 4]
    assert dataset.test_counts.shape[-2:] == (classes, 3)
    assert json.loads(dataset.attrs["config"])["group"] == config.group
    model, test = run.ticket(trial=0, level=1, weights="final"), config.load(0).test
    predicted = np.array(model(test.x)) > 0.5
    cell = dataset.sel(trial=0, branch="winning_ticket", level=1, step=4)
    for average in ("macro", "micro"):
        expected = precision_recall_fscore_support(test.y, predicted, average=average, zero_division=0)[:3]
        received = [cell[f"test_{name}_{average}"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(received, expected, rtol=1e-6)
    assert float(cell.test_micro_f1) == pytest.approx(float(cell.test_f1_micro))
    unseen = int((test.y.sum(axis=0) == 0).sum())
    assert (f"{unseen} of them have no test example" in dataset.test_f1_macro.attrs["comment"]) == (unseen > 0)
    assert unseen == {3: 0, 5: 2}[classes]  # test documents: acq and wheat, and one of earn
    assert {"history", "convergence", "density_by_kind"} <= set(figures_of(dataset))


@pytest.mark.slow
def test_the_command_prints_micro_f1(
    small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    asked = "--steps 2 --trials 1 --levels 0 --threads 1 --out".split()
    code, output, errors = command_line(monkeypatch, capfd, *flags, *asked, str(small / "runs"))
    assert code == 0, errors
    assert "% test micro-F1, " in errors and "test micro-F1 at" in output and "test accuracy" not in output
    assert "documents of R(90): 5 to train on, 2 for validation, 2 to test on; 3 categories" in errors


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "cannot be read: reut2-000.sgm"),
    "a tag": (lambda text: text.replace(b"</TOPICS>", b"<TOPICS>", 1), "cannot be read: reut2-000.sgm"),
    "a topic": (lambda text: text.replace(b"<D>grain</D>", b""), "Expected the documents and categories of ModApte"),
}


@few("what", DAMAGES, "a topic")
def test_damaged_files_are_one_clear_error(
    what: str, small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small / "data" / "own" / "reuters21578" / "reut2-000.sgm"
    damage, message = DAMAGES[what]
    path.write_bytes(damage(path.read_bytes()))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    asked = "--steps 2 --trials 1 --levels 0 --threads 1 --out".split()
    code, output, errors = command_line(monkeypatch, capfd, *flags, *asked, str(small / "runs"))
    assert code == 1 and message in errors and "LTH_DATA_DIR" in errors and "Traceback" not in output + errors


def test_other_categories_than_the_published_ones_are_refused(small: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected the 10 categories of R\(10\). Received: 5 in "):
        Config(group="10", **{**SMALL, "validation": 0}).load(0)  # type: ignore[arg-type]
