"""Every number of a comparison as CSV."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from lth_keras.analysis import TESTS, Comparison, Row
from lth_keras.storage import write_bytes


def write_comparison(path: str | os.PathLike[str], comparison: Comparison) -> None:
    """Write the rows atomically as CSV with a header; docs/statistics.md explains the columns.

    Units are those of run.h5: accuracies and their differences are shares. Missing values are empty.

    Raises:
        OSError: The file could not be written.
    """
    records = [_record(row, comparison) for row in comparison.rows]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value != value else value for name, value in record.items()} for record in records)
    write_bytes(Path(os.path.expanduser(path)), text.getvalue().encode())


def _record(row: Row, comparison: Comparison) -> dict[str, object]:
    pairs = row.pairs
    return {
        "variable": comparison.variable,
        "baseline": comparison.baseline,
        "density": row.density,
        "rank": row.rank,
        "branch": row.cell.branch,
        "level": row.cell.level,
        "trials": len(row.cell.values),
        "mean": row.mean,
        "min": row.low,
        "max": row.high,
        "ci_low": row.interval.low,
        "ci_high": row.interval.high,
        "pairs": len(pairs.seeds) if pairs else None,
        "difference": pairs.difference if pairs else None,
        "difference_ci_low": pairs.interval.low if pairs else None,
        "difference_ci_high": pairs.interval.high if pairs else None,
        **{f"p_{test}": pairs.p[test] if pairs else None for test in TESTS},
        "cohen_dz": pairs.cohen_dz if pairs else None,
        "hedges_g": pairs.hedges_g if pairs else None,
        "test": comparison.test,
        "comparisons": comparison.comparisons,
        "p_holm": row.p_holm if pairs else None,
        "verdict": row.verdict,
        "difference_to_find": comparison.difference,
        "trials_needed": pairs.needed if pairs else None,
        "trials_needed_in_table": pairs.needed_in_table if pairs else None,
    }
