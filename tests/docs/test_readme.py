"""What README.md, docs/pruning.md and docs/search.md show runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run(page: Path) -> dict[str, Any]:
    """What the examples of a page leave behind, with short searches."""
    names: dict[str, Any] = {}
    short = {r"\b500\b": "100", "trials=2": "trials=1", r"(level\w*\W+)3\b": r"\g<1>1"}
    for code in blocks(page):
        for shown, instead in short.items():
            code = re.sub(shown, instead, code)
        exec(code, names)
    return names


def test_the_readme_is_short() -> None:
    prune, search = ([line for line in code.splitlines() if line] for code in blocks(README))
    assert len(README.read_text(encoding="utf-8").split()) <= 900
    assert len(prune) <= 12 and len(search) <= 15


def test_the_examples_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(README)
    assert abs(names["lth"].get_mask(names["pruned"]).density - 0.1) < 1e-3
    assert abs(names["lth"].get_mask(names["ticket"]).densities()["dense/kernel"] - 0.8) < 1e-3
    assert (tmp_path / "plain.keras").exists() and list(tmp_path.glob("runs/*/run.h5"))


def test_the_examples_of_pruning_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs" / "pruning.md")
    assert abs(names["mask"].density - 0.02) < 1e-3
    assert names["lth"].get_mask(names["copy"]) == names["mask"]
    assert (tmp_path / "masked.keras").exists() and (tmp_path / "plain.keras").exists()


@pytest.mark.slow
def test_the_examples_of_searches_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs" / "search.md")
    assert list(names["run"].dataset.branch.values) == ["winning_ticket", "early"]
    assert names["run"].dataset.test_accuracy_at_early_stop.notnull().all()
    filters = names["lth"].get_mask(names["few_filters"])["conv_32/kernel"].reshape(-1, 32)
    assert (filters.all(0) == filters.any(0)).all() and 0 < filters.any(0).sum() < 32
