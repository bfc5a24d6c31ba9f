"""What `list` finds and says of each run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lth_keras.report import find_runs, list_table
from lth_keras.storage import RunDirectory, write_run
from tests.synthetic import dataset, levels_of


def rows(directory: Path) -> list[list[str]]:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(list_table(directory))
    return [line.split() for line in console.export_text().splitlines() if line.strip()]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = RunDirectory.open(tmp_path, "begun", {"a": 1})
    for result in levels_of(trials=2, levels=3, branches=("winning_ticket", "random_mask")):
        if result.branch != "random_mask" or result.level < 3 - result.seed:
            run.write(result)
    RunDirectory.open(tmp_path, "empty", {})
    (tmp_path / "copied").mkdir()
    write_run(tmp_path / "copied" / "run.h5", dataset(trials=3, levels=2, branches=("late",)))
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


def test_runs_begun_empty_and_copied_are_found(runs: Path) -> None:
    assert [path.name.split("-")[0] for path in find_runs(runs)] == ["begun", "copied", "empty"]
    assert find_runs(runs / "copied") == [runs / "copied"]


def test_each_branch_has_its_trials_and_levels(runs: Path) -> None:
    table = rows(runs)
    begun = next(n for n, row in enumerate(table) if row[0].startswith("begun"))
    assert table[begun][1:] == ["begun", "dense", "2", "1"]
    assert table[begun + 1] == ["winning_ticket", "2", "3"]
    assert table[begun + 2] == ["random_mask", "2", "1", "to", "2"]
    assert table[begun + 3] == ["copied", "synthetic", "dense", "3", "1"]
    assert table[begun + 4] == ["late", "3", "2"]
    assert table[begun + 5][1:] == ["empty", "none", "0"]


def test_a_run_that_cannot_be_read_does_not_hide_the_others(runs: Path) -> None:
    (runs / "copied" / "run.h5").write_text("cut")
    text = "\n".join(" ".join(row) for row in rows(runs))
    assert "copied cannot be read" in text and "winning_ticket 2 3" in text


def test_no_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="without runs"):
        list_table(tmp_path)
    with pytest.raises(FileNotFoundError):
        list_table(tmp_path / "nowhere")
