"""Figures of one experiment are drawn where the checkout has registered them, and named where it has not."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from lth_keras.cli import main
from lth_keras.plots import figures_of
from lth_keras.storage import DocumentLengths, open_run, write_run
from lth_keras.storage.facts import document_variables
from tests.few import few
from tests.plots.early_run import early_run
from tests.registered import ROOT
from tests.synthetic import dataset

RUNS = [path.parent for path in sorted((ROOT / "results").rglob("run.h5"))]
GENERAL = {"convergence", "curves", "history"}
OWN = {
    "composite_pruning": {"relative_accuracy", "accuracy_below_dense", "layers", "overlaps"},
    "mnist_early_tickets": {"early_tickets_accuracy", "early_tickets"},
    "newsgroups_end2end": {"document_lengths"},
    "thesis_postmortem": {"postmortem"},
}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@few("path", RUNS, *(path for path in RUNS if path.name == "reuters"), ids=lambda path: path.name)
def test_every_committed_run_is_opened_and_drawn(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*(files without a checksum|calls its micro-F1 accuracy)")
        run = open_run(path)
    figures = figures_of(run)
    expected = OWN.get(path.name, set())
    assert GENERAL | expected <= set(figures)
    for draw in figures.values():
        assert draw().axes
    if path.name in ("mnist_lenet_fcn", "newsgroups_end2end", "cifar10_conv6"):
        labels = [text.get_text() for legend in figures["convergence"]().legends for text in legend.get_texts()]
        assert any("Unverzagt, 2020" in label for label in labels)


def test_early_tickets_have_their_accuracy_in_place_of_the_general_one() -> None:
    names = set(figures_of(early_run(levels=2).assign_attrs(experiment="mnist_early_tickets")))
    assert {"early_tickets_accuracy", "early_stop", "early_tickets"} <= names and "accuracy" not in names
    assert "accuracy" in figures_of(early_run(levels=2))


def test_documents_are_there_whether_trainings_are_or_not() -> None:
    lengths = document_variables(DocumentLengths({"train": np.arange(30)}, cut_off=10))
    run = dataset(trials=1, levels=1).assign_attrs(experiment="newsgroups_end2end", trainings=99)
    figures = figures_of(run.merge(lengths, combine_attrs="override"))
    assert not texts(figures["document_lengths"]()) and texts(figures["convergence"]())
    assert "document_lengths" not in figures_of(run)


def test_without_the_checkout_general_figures_are_drawn_and_the_others_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [path for path in sys.path if not (Path(path or ".") / "experiments").is_dir()])
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    run: xarray.Dataset = dataset(trials=1, levels=1)
    write_run(tmp_path / "run.h5", run.assign_attrs(experiment="thesis_postmortem"))
    assert main(["plot", str(tmp_path), "--formats", "svg"]) == 0
    said = capsys.readouterr()
    assert "Not drawn: postmortem, published points of the experiment thesis_postmortem." in said.err
    assert "get a checkout" in said.err and "convergence.svg" in said.out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(figures_of(run)) >= GENERAL
