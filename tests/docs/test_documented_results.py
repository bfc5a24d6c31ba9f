"""What a result's README shows is what its command prints from the committed run.h5."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.few import few

RESULTS = Path(__file__).resolve().parents[2] / "results"
PUBLISHED = ("| the paper | here |", "| | micro-F1 | macro-F1 |")
"""Heads of tables that set publications beside numbers of other tables."""
NAMES = [path.parent.name for path in sorted(RESULTS.glob("*/compare.py"))]


def tables_of(text: str) -> list[list[str]]:
    """The Markdown tables of a text, as rows."""
    tables: list[list[str]] = [[]]
    for line in map(str.strip, text.splitlines()):
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


@few("name", NAMES, "mnist_lenet_fcn", "reuters")
def test_the_tables_of_a_result_come_out(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare.py"])
    runpy.run_path(str(RESULTS / name / "compare.py"), run_name="__main__")
    printed = tables_of(capsys.readouterr().out)
    shown = tables_of(RESULTS.joinpath(name, "README.md").read_text(encoding="utf-8"))
    own = [table for table in shown if table[0] not in PUBLISHED]
    assert own and [table for table in own if table not in printed] == []
