"""What docs/criteria.md shows runs as it stands, and its tables have everything."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from lth_keras.criteria import CRITERIA
from lth_keras.pruning.densities import SCOPES
from tests.tiny import make, masks_of

TEXT = (Path(__file__).parents[2] / "docs" / "criteria.md").read_text(encoding="utf-8")


def test_its_tables_have_every_criterion_and_scope() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert set(rows) == {*CRITERIA, *SCOPES} and rows[: len(CRITERIA)] == list(CRITERIA)


@pytest.mark.slow
def test_its_examples_run_and_the_criterion_of_ones_own_works_in_a_search(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (function,) = (node for node in ast.walk(ast.parse(examples[0])) if isinstance(node, ast.FunctionDef))
    assert function.end_lineno is not None and function.end_lineno - function.lineno < 10
    names: dict[str, Any] = {}
    for code in examples:
        exec(code, names)
    assert names["lth"].get_mask(names["pruned"]).kept == round(0.1 * (6400 + 1000))
    run = make(criterion=names[function.name], levels=1, config={"criterion": function.name}).run(out=tmp_path)
    assert masks_of(run, 0, "winning_ticket", 1)[1].counts() == {"hidden/kernel": 90, "output/kernel": 38}
