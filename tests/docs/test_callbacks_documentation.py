"""What docs/callbacks.md shows runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_readme import run

PAGE = Path(__file__).parents[2] / "docs" / "callbacks.md"


@pytest.mark.slow
def test_the_examples_of_callbacks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(PAGE)
    density = names["lth"].get_mask(names["model"]).density
    assert density == pytest.approx(0.1, abs=1e-3)
    assert list(tmp_path.glob("logs/pruning/events*"))
