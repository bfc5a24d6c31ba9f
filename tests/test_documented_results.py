"""What a result's README shows is what its command prints from the committed run.h5."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

RESULT = Path(__file__).resolve().parents[1] / "results" / "thesis_postmortem"


def test_the_tables_of_the_post_mortem_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(RESULT / "compare.py"), run_name="__main__")
    tables = capsys.readouterr().out.strip().split("\n\n")
    page = RESULT.joinpath("README.md").read_text(encoding="utf-8")
    assert [table for table in page.split("\n\n") if table.startswith("|")] == tables
    assert len(tables) == 5
