"""The console script: figures, tables, comparison, list; exit code 2 and one line for bad input."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lth_keras import __version__
from lth_keras.cli import main
from lth_keras.storage import RunDirectory, open_run, write_run
from tests.synthetic import levels_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = RunDirectory.open(tmp_path_factory.mktemp("made"), "synthetic", {"steps": 20_000})
    for result in levels_of(trials=2, levels=2):
        directory.write(result)
    directory.write_run()
    return directory


@pytest.fixture
def run(made: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the run."""
    return RunDirectory.load(shutil.copytree(made.path, tmp_path / made.path.name))


def test_plot_writes_beside_the_run_or_where_told(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(run.path), "--formats", "svg"]) == 0
    printed = capsys.readouterr().out.split()
    assert sorted(printed) == sorted(str(p) for p in (run.path / "figures").iterdir())
    assert len(printed) == 5
    target = tmp_path / "elsewhere"
    assert main(["plot", f"{run.path}/run.h5", "--out", str(target), "--style", "paper"]) == 0
    assert {path.suffix for path in target.iterdir()} == {".pdf"}
    assert main(["plot", str(run.path), "--baseline", "random_mask"]) == 2
    assert "a baseline only for experiments with figures by schedule" in capsys.readouterr().err


def test_report_prints_the_table(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert "2 trials" in printed and "winning_ticket" in printed and "random_mask" in printed


def test_export_writes_a_row_for_each_level_and_evaluation(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_run(run.path)
    for arguments, folder in (([], run.path), (["--out", str(tmp_path / "tables")], tmp_path / "tables")):
        assert main(["export", f"{run.path}/run.h5", "--to", "csv", *arguments]) == 0
        assert capsys.readouterr().out.split() == [str(folder / "levels.csv"), str(folder / "curves.csv")]
        levels, curves = (
            list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines())) for name in ("levels", "curves")
        )
        assert len(levels) == dataset.density.count() and len(curves) == dataset.validation_loss.count()
        place = {"trial": "1", "branch": "random_mask", "level": "2"}
        (row,) = [row for row in levels if place.items() <= row.items()]
        expected = dataset.sel(trial=1, branch="random_mask", level=2).test_accuracy_at_early_stop
        assert float(row["test_accuracy_at_early_stop"]) == float(expected)
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(run.path), "--to", "xlsx"])
    assert "invalid choice: 'xlsx'" in capsys.readouterr().err


def test_list_names_the_run(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(run.path.parent)]) == 0
    printed = capsys.readouterr().out
    assert "synthetic" in printed and "random_reinit" in printed


def test_compare_prints_the_ranked_table_and_writes_csv(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "table.csv"
    options = [
        "--density",
        "0.8",
        "--baseline",
        "dense",
        "--test",
        "welch",
        "--difference",
        "0.5",
        "--csv",
        str(target),
    ]
    assert main(["compare", str(run.path), *options]) == 0
    printed = capsys.readouterr().out
    assert "against dense" in printed and "1 winning_ticket" in printed and "Welch's t test" in printed
    assert "a difference of 0.5 points" in printed and printed.endswith(f"{target}\n")
    assert ",0.005," in target.read_text()


def test_compare_takes_two_runs(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(run.path)
    options = ["--variable", "early_stop_step", "--difference", "100", "--baseline", "2:random_mask"]
    assert main(["compare", path, path, *options]) == 0
    printed = capsys.readouterr().out
    assert "1:random_mask" in printed and "against 2:random_mask" in " ".join(printed.split())
    assert "".join(printed.split()).startswith(f"1:{path}2:{path}")
    assert "a difference of 100 steps" in " ".join(printed.split())


@pytest.mark.parametrize(
    "options",
    [["--baseline", "x"], ["--variable", "x"], ["--density", "0.5"], ["--difference", "-1"], ["nowhere"]],
)
def test_compare_refuses_what_it_cannot_do(
    run: RunDirectory, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(run.path), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("lth-keras: Expected: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["plot", "nowhere"],
        ["report", "nowhere/run.h5"],
        ["report", "damaged.h5"],
        ["list", "nowhere"],
        ["list", "damaged.h5"],
        ["list", "."],
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_two(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.h5").write_text("not a run")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("lth-keras: ")
    assert "Traceback" not in captured.err


def test_a_run_that_cannot_be_plotted_says_why_and_what_to_do(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another version, cut short, without a level; nothing is drawn."""
    copies = [tmp_path / name for name in ("newer.h5", "cut.h5", "unbegun")]
    write_run(copies[0], open_run(run.path).assign_attrs(schema_version=3))
    content = (run.path / "run.h5").read_bytes()
    copies[1].write_bytes(content[: len(content) // 2])
    copies[2] = RunDirectory.open(copies[2], "synthetic", {}).path
    reasons = ("Received: 3", "truncated", "run.h5 or a run directory that holds one")
    for path, reason in zip(copies, reasons, strict=True):
        target = tmp_path / "none"
        assert main(["plot", str(path), "--out", str(target)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("lth-keras: Expected: ") and reason in error and "; " in error
        assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["unknown"], ["plot"], ["plot", ".", "--formats", "bmp"], ["plot", ".", "--style", "x"], ["report", "--x"]],
)
def test_a_wrong_command_line_is_exit_code_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_looking_at_results_loads_no_backend(run: RunDirectory) -> None:
    code = (
        "import sys; from lth_keras.cli import main; import lth_keras.plots, lth_keras.report\n"
        "code = main(['report', sys.argv[1]])\n"
        "loaded = {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"lth_keras {__version__}\n"


def test_the_home_directory_is_meant_by_a_tilde(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(run.path.parent))
    monkeypatch.chdir(run.path)
    assert open_run(f"~/{run.path.name}").sizes == open_run(run.path).sizes
    opened = RunDirectory.open("~", "synthetic", {"steps": 20_000})
    assert opened.path == run.path == RunDirectory.load(f"~/{run.path.name}").path
    assert repr(opened) == f"RunDirectory({str(run.path)!r})"
    assert main(["list", "~"]) == main(["compare", f"~/{run.path.name}", "--csv=~/table.csv"]) == 0
    assert (run.path.parent / "table.csv").is_file()
    assert not (run.path / "~").exists()
