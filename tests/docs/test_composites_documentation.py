"""What docs/composites.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "composites.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_search_runs_and_rows_of_masks_alone_share_the_dense_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(code, names)
    assert names["run"].dataset.test_accuracy_at_early_stop.notnull().all()
    assert names["search"].share_dense == {"synflow_before", "snip_before", "stacked_before"}
