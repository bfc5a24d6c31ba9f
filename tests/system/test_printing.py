"""Names of others reach the terminal as text: no control character, no markup."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from datasets.__main__ import main as datasets_main
from experiments.command import say
from lth_keras.cli import main
from lth_keras.report import layers_table, parameters_table
from lth_keras.search.tasks import Task
from lth_keras.storage import write_run
from lth_keras.system.printing import Table, plain, printable
from lth_keras.system.progress import ConsoleReporter
from tests.synthetic import dataset

EVIL = "a[/b]\x1b]0;title\x07\x1b[2J[red]\u202eb\x9b:smile:"
SHOWN = "a[/b]\\x1b]0;title\\x07\\x1b[2J[red]\\u202eb\\x9b:smile:"
FORBIDDEN = "\x1b\x07\x9b\u202e"


def drawn(content: object) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EVIL, SHOWN),
        ("größer, 数, µm\n\tnext line\u00a0here", "größer, 数, µm\n\tnext line\u00a0here"),
        ("over\rwritten\x00\x7f", "over\\rwritten\\x00\\x7f"),
        (os.fsdecode(b"\xff.h5"), "\\udcff.h5"),
        (Path("a\x1bb"), "a\\x1bb"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: object, expected: str) -> None:
    assert printable(text) == expected
    assert plain(text).plain == expected and plain("[red]x").spans == []


def test_a_table_takes_titles_columns_cells_and_captions_as_they_are() -> None:
    table = Table(title=f"title {EVIL}", caption=f"caption {EVIL}")
    table.add_column(f"column {EVIL}")
    table.add_row(f"cell {EVIL}")
    shown = drawn(table)
    for part in ("title", "caption", "column", "cell"):
        assert f"{part} {SHOWN}" in shown
    assert not set(FORBIDDEN) & set(shown)


def test_tables_of_reports_are_such_tables() -> None:
    class Layer:
        name, kind, output, prunable, biases = EVIL, "dense", (3,), 1, 1

    for table in (parameters_table(EVIL, {EVIL: EVIL}), layers_table(EVIL, [Layer()])):
        assert drawn(table).count(SHOWN) >= 2


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_any_branch(terminal: bool) -> None:
    file, task = io.StringIO(), Task(0, EVIL, 1)
    with ConsoleReporter(1, Console(file=file, width=200, force_terminal=terminal, color_system=None)) as reporter:
        reporter.started(task, 10)
        reporter.advanced(task, 10, 10)
        names = ("density", "early_stop_step", "test_accuracy_at_early_stop", "test_accuracy_final", "seconds")
        reporter.finished(task, dict.fromkeys(names, 1.0))
        reporter.failed(Task(0, EVIL, 2), EVIL)
    assert f"Failed: {SHOWN}" in file.getvalue() and f"trial 0, {SHOWN}, level 1" in file.getvalue()
    assert "\x1b]0" not in file.getvalue() and "\x9b" not in file.getvalue()


def test_the_command_line_of_experiments_says_any_name() -> None:
    file = io.StringIO()
    say(Console(file=file, width=20), EVIL)
    assert file.getvalue() == f"{SHOWN}\n"


def test_the_console_script_shows_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run, broken = (tmp_path / f"{kind} {EVIL.replace('/', '')}" for kind in ("whole", "broken"))
    for folder in (run, broken):
        folder.mkdir()
    write_run(
        run / "run.h5", dataset(trials=2, levels=2, branches=(EVIL, "winning_ticket")).assign_attrs(experiment=EVIL)
    )
    (broken / "run.h5").write_text("cut")
    for arguments in (["list", str(tmp_path)], ["report", str(run)], ["compare", str(run)]):
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert SHOWN in shown and not set(FORBIDDEN) & set(shown)
    assert main(["report", str(broken)]) == 2
    said = capsys.readouterr().err
    assert SHOWN.replace("/", "") in said and not set(FORBIDDEN) & set(said)


def test_the_command_of_data_sets_shows_any_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path / EVIL))
    assert datasets_main(["list"]) == 0
    assert datasets_main(["pack", "digits", "--out", str(tmp_path / EVIL)]) == 0
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) > 2 and not set(FORBIDDEN) & set(shown)
