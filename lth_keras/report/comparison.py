"""A comparison as a table, branches ranked at each density with the limits of the tests, and every number as CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.text import Text

from lth_keras.analysis import (
    EXACT_PAIRS,
    POWER,
    RESAMPLES,
    TESTS,
    WILCOXON_EXACT,
    Comparison,
    Interval,
    Row,
    least_p,
    least_trials,
    scale_of,
)
from lth_keras.report.table import percent
from lth_keras.storage import write_bytes
from lth_keras.system import Table, plain, printable

_TEST_NAMES = {
    "permutation": "paired permutation test",
    "wilcoxon": "Wilcoxon's signed-rank test",
    "welch": "Welch's t test, which ignores the pairs",
}
_VERDICTS = {"higher": "higher *", "lower": "lower *", "too few pairs": "below 2 shared seeds"}


class _Unit(NamedTuple):
    """How to write values: shares as percents and points, others unchanged."""

    scale: float
    values: str
    differences: str
    digits: int

    def value(self, value: float) -> str:
        return f"{self.scale * value:.{self.digits}f}"

    def signed(self, value: float) -> str:
        return f"{self.scale * value:+.{self.digits}f}"


def compare_table(comparison: Comparison) -> Table:
    """The branches at each density, best first, with their differences to the baseline; 80 characters wide.

    The caption states the methods, and whether the number of trials is too small for significance.

    Args:
        comparison: As `lth_keras.analysis.compare` gives it.
    """
    unit = _unit(comparison)
    table = Table(
        title=f"{comparison.long_name}, {unit.values}, against {comparison.baseline}",
        caption="\n".join(_caption(comparison, unit)),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_style="bold",
        caption_style="",
    )
    table.add_column("branch\n  verdict", overflow="fold")
    needed = [] if comparison.difference is None else ["trials\nneeded"]
    for head in ("mean, min-max\n95% CI", "difference\n95% CI", "p\nHolm", "d_z\ng", *needed):
        table.add_column(head, justify="right", no_wrap=True)
    most = _pairs(comparison)[-1]
    for row in comparison.rows:
        if row.rank == 1:
            table.add_section()
            table.add_row(Text(f"{percent(row.density)}% density", style="bold"))
        table.add_row(*_cells(row, comparison, unit, most))
    return table


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


def _unit(comparison: Comparison) -> _Unit:
    scale = scale_of(comparison.units)
    if scale == 100:
        return _Unit(scale, "%", "points", 2)
    largest = max(abs(row.high) for row in comparison.rows)
    digits = max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 0
    plural = comparison.units + ("s" if len(comparison.units) > 1 else "")
    return _Unit(scale, comparison.units, plural, digits)


def _cells(row: Row, comparison: Comparison, unit: _Unit, most: int) -> list[str | Text]:
    pairs = row.pairs
    fewer = f", {len(pairs.seeds)} pairs" if pairs and len(pairs.seeds) < most else ""
    significant = row.verdict in ("higher", "lower")
    name = plain(f"{row.rank} {row.cell.branch}\n", style="bold" if significant else "")
    name.append(printable(f"  {_VERDICTS.get(row.verdict, row.verdict)}{fewer}"))
    mean = f"{unit.value(row.mean)} {unit.value(row.low)}-{unit.value(row.high)}"
    cells: list[str | Text] = [name, f"{mean}\n{_interval(row.interval, unit.value)}"]
    if pairs is None:
        return cells
    cells += [
        f"{unit.signed(pairs.difference)}\n{_interval(pairs.interval, unit.signed)}",
        f"{_p(pairs.p[comparison.test])}\n{_p(row.p_holm)}",
        f"{_effect(pairs.cohen_dz)}\n{_effect(pairs.hedges_g)}",
    ]
    return cells if comparison.difference is None else [*cells, f"{pairs.needed}\n{pairs.needed_in_table}"]


def _caption(comparison: Comparison, unit: _Unit) -> list[str]:
    test, alpha, number = comparison.test, comparison.alpha, comparison.comparisons
    counted = "1 comparison" if number == 1 else f"{number} comparisons"
    lines = [
        f"Pairs: {_seeds(comparison)}. Differences: to {comparison.baseline}, in {unit.differences}.",
        f"p: {_TEST_NAMES[test]}, two-sided{_how(comparison)}. Holm: corrected for the {counted} of this table. "
        f"higher *, lower *: significant, Holm's p is at most {alpha:g}.",
        *_cannot(comparison),
        "95% CI of a mean: bootstrap, expanded percentiles. d_z: Cohen's, of the pairs; g: Hedges'.",
    ]
    if comparison.less_is_better:
        lines.append("Less is better: rank 1 has the least value.")
    if comparison.difference is not None:
        lines.append(
            f"Trials needed: to find a difference of {unit.scale * comparison.difference:g} {unit.differences} with "
            f"probability {POWER:g} if trials vary as these do, in a comparison alone and in this table."
        )
    return lines + ([f"{comparison.variable}: {comparison.comment}."] if comparison.comment else [])


def _cannot(comparison: Comparison) -> list[str]:
    """A note if no result can be significant with this number of trials."""
    test, most = comparison.test, _pairs(comparison)[-1]
    if most >= comparison.least_trials:
        return []
    alone = least_trials(test, 1, comparison.alpha)
    return [
        f"With {most} trials no p of this test is below {least_p(test, most):.4g}: nothing in this table can be "
        f"significant, whatever the difference. It takes at least {alone} trials for a comparison alone, and "
        f"{comparison.least_trials} for {comparison.comparisons} with Holm's correction."
    ]


def _how(comparison: Comparison) -> str:
    """How p was computed."""
    most = _pairs(comparison)[-1]
    if comparison.test == "permutation":
        return ", exact" if most <= EXACT_PAIRS else f", {RESAMPLES:,} random sign flips"
    if comparison.test == "wilcoxon":
        return ", exact but for ties" if most <= WILCOXON_EXACT else ", by the normal distribution"
    return ""


def _seeds(comparison: Comparison) -> str:
    seeds = sorted({seed for row in comparison.rows if row.pairs for seed in row.pairs.seeds})
    named = f"{seeds[0]} to {seeds[-1]}" if seeds[-1] - seeds[0] == len(seeds) - 1 else ", ".join(map(str, seeds))
    fewest, most = _pairs(comparison)[0], _pairs(comparison)[-1]
    return f"{most if fewest == most else f'{fewest} to {most}'} shared seeds, {named}"


def _pairs(comparison: Comparison) -> list[int]:
    """Numbers of pairs of the tested rows, sorted."""
    return sorted(len(row.pairs.seeds) for row in comparison.rows if row.pairs)


def _interval(interval: Interval, written: Callable[[float], str]) -> str:
    return f"{written(interval.low)}, {written(interval.high)}" if math.isfinite(interval.low) else "-"


def _p(p: float) -> str:
    if math.isnan(p):
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "<.0001"


def _effect(effect: float) -> str:
    return f"{effect:+.2f}" if math.isfinite(effect) else "-"


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
