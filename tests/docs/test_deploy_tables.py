"""The numbers of docs/deploy.md are those of the benchmarks."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "results" / "benchmarks" / "epyc"
COLUMNS = {"conv6": 1, "mobilenet": 4}
"""The first of a network's three columns: milliseconds, times as fast, megabytes."""


def test_its_tables_have_the_numbers_of_the_benchmarks() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| (\d+%|half of the channels|a quarter of .*): ", line)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(rows) > 10
    for network, column in COLUMNS.items():
        measured = json.loads((MEASURED / f"inference_{network}.json").read_text(encoding="utf-8"))
        times = {one["of"]: one for one in measured["ratios"] if one["quantity"] == "ms, batch 64"}
        for row in rows:
            milliseconds, ratio, size = row[column : column + 3]
            if not size:
                continue
            found = measured["quantities"][row[0]]
            assert milliseconds == f"{found['ms, batch 64']['median']:.3g}"
            assert size == f"{found['file, MB']['median']:.3g}"
            if row[0] in times:
                one = times[row[0]]
                assert ratio == f"{one['median']:.2f} ({one['min']:.2f} - {one['max']:.2f})"
