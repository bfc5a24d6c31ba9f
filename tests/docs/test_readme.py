"""What README.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_examples_on_your_own_model_run(tmp_path, monkeypatch):
    section = README.read_text().split("## On your own model")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    assert code.count("search.run(") == 1 and "strip_masks" in code
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code.replace("steps=500", "steps=100"), names)
    assert abs(names["lth"].get_mask(names["pruned"]).density - 0.1) < 1e-3
    assert (tmp_path / "plain.keras").exists() and list(tmp_path.glob("runs/*/run.h5"))
