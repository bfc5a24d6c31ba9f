"""The table of a comparison, letter by letter, within 80 columns, and its CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import xarray
from rich.console import Console

from lth_keras.analysis import Comparison, compare
from lth_keras.report import compare_table, write_comparison
from tests.synthetic import dataset

WINNING = (98.31, 98.40, 98.25, 98.30, 98.36, 98.28, 98.33, 98.35)
REINIT = (97.85, 97.99, 97.80, 97.91, 97.78, 97.92, 97.88, 97.81)
MASK = (98.30, 98.43, 98.20, 98.28, 98.40, 98.31, 98.27, 98.34)

EIGHT = """\
test accuracy at the step of least validation loss, %, against
winning_ticket
branch                 mean, min-max    difference       p    d_z  trials
  verdict                     95% CI        95% CI    Holm      g  needed
─────────────────────────────────────────────────────────────────────────
80.1% density
1 winning_ticket   98.32 98.25-98.40
  baseline              98.28, 98.36
2 random_mask      98.32 98.20-98.43         -0.01  0.7109  -0.17       6
  not significant       98.26, 98.38  -0.04, +0.02  0.7109  -0.10       7
3 random_reinit    97.87 97.78-97.99         -0.46  0.0078  -6.16       7
  lower *               97.81, 97.93  -0.52, -0.40  0.0156  -7.09       8
Pairs: 8 shared seeds, 0 to 7. Differences: to winning_ticket, in points.
p: paired permutation test, two-sided, exact. Holm: corrected for the 2
comparisons of this table. higher *, lower *: significant, Holm's p is at
most 0.05.
95% CI of a mean: bootstrap, expanded percentiles. d_z: Cohen's, of the
pairs; g: Hedges'.
Trials needed: to find a difference of 0.1 points with probability 0.8 if
trials vary as these do, in a comparison alone and in this table.
"""
FIVE = """\
test accuracy at the step of least validation loss, %, against
winning_ticket
branch                mean, min-max    difference       p    d_z
  verdict                    95% CI        95% CI    Holm      g
────────────────────────────────────────────────────────────────
80.1% density
1 winning_ticket  98.32 98.25-98.40
  baseline             98.26, 98.39
2 random_mask     98.32 98.20-98.43         -0.00  1.0000  -0.05
  too few trials       98.22, 98.42  -0.04, +0.04  1.0000  -0.02
3 random_reinit   97.87 97.78-97.99         -0.46  0.0625  -6.19
  too few trials       97.78, 97.97  -0.56, -0.39  0.1250  -5.67
Pairs: 5 shared seeds, 0 to 4. Differences: to winning_ticket,
in points.
p: paired permutation test, two-sided, exact. Holm: corrected
for the 2 comparisons of this table. higher *, lower *:
significant, Holm's p is at most 0.05.
With 5 trials no p of this test is below 0.0625: nothing in this
table can be significant, whatever the difference. It takes at
least 6 trials for a comparison alone, and 7 for 2 with Holm's
correction.
95% CI of a mean: bootstrap, expanded percentiles. d_z: Cohen's,
of the pairs; g: Hedges'.
"""


def run_of(trials: int) -> xarray.Dataset:
    run = dataset(trials=trials, levels=1)
    values = np.array([WINNING, REINIT, MASK]).T[:trials] / 100
    run.test_accuracy_at_early_stop.loc[{"level": 1}] = values.astype(np.float32)
    return run


def printed(comparison: Comparison, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(compare_table(comparison))
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


def words(comparison: Comparison) -> str:
    return " ".join(printed(comparison).split())


def test_the_whole_table() -> None:
    assert printed(compare(run_of(8), difference=0.001)) == EIGHT


def test_five_trials_are_said_to_be_too_few() -> None:
    assert printed(compare(run_of(5))) == FIVE
    assert "whatever the difference" not in words(compare(run_of(5), test="welch"))
    assert "whatever the difference" not in words(compare(run_of(8)))


@pytest.mark.parametrize(
    ("test", "trials", "expected"),
    [
        ("permutation", 15, "paired permutation test, two-sided, 99,999 random sign flips."),
        ("wilcoxon", 8, "Wilcoxon's signed-rank test, two-sided, exact but for ties."),
        ("wilcoxon", 51, "Wilcoxon's signed-rank test, two-sided, by the normal distribution."),
        ("welch", 5, "Welch's t test, which ignores the pairs, two-sided."),
    ],
)
def test_the_caption_says_how_p_was_worked_out(test: str, trials: int, expected: str) -> None:
    run = dataset(trials=trials, levels=1, evaluations=10)
    assert expected in words(compare(run, test=test))


def test_it_fits_eighty_columns_without_cutting() -> None:
    long = tuple(f"stacked_magnitude_on_synflow_with_{name}_scores_as_weights" for name in ("snip", "[grasp]"))
    run = dataset(trials=6, levels=24, branches=("winning_ticket", *long))
    for variable in ("test_accuracy_at_early_stop", "early_stop_step", "seconds"):
        text = printed(compare(run, variable=variable, difference=0.01))
        assert all(len(line) <= 80 and "…" not in line for line in text.splitlines())
        assert "[grasp]" in "".join(text.split())


def test_unfinished_trials_are_counted() -> None:
    run = run_of(8)
    run = run.where(~((run.branch == "random_mask") & (run.trial > 4) & (run.level > 0)))
    text = words(compare(run))
    assert "Pairs: 5 to 8 shared seeds, 0 to 7." in text and "too few trials, 5 pairs" in text
    run = run.where(~((run.branch == "random_mask") & (run.trial > 0) & (run.level > 0)))
    assert "below 2 shared seeds" in words(compare(run))
    assert "7 shared seeds, 0, 2, 3, 4, 5, 6, 7." in words(compare(run_of(8).drop_sel(trial=1)))


def test_it_says_what_the_variable_is_where_its_name_does_not() -> None:
    text = words(compare(dataset(trials=6, levels=1, validated=False)))
    assert text.endswith("test_accuracy_at_early_stop: no validation split: the last step is taken for it.")
    assert "Differences: to winning_ticket, in steps." in words(
        compare(dataset(trials=6, levels=1), variable="early_stop_step")
    )


def test_what_has_no_variance_is_a_dash() -> None:
    run = run_of(8)
    run.test_accuracy_at_early_stop.loc[{"level": 1}] = np.array([0.9, 0.8, 0.7])
    row = printed(compare(run, test="welch")).splitlines()
    place = next(number for number, line in enumerate(row) if "random_reinit" in line)
    assert row[place].split()[-3:] == ["-10.00", "-", "-"] and row[place + 1].split()[-2:] == ["-", "-"]


def test_the_csv_has_every_number(tmp_path: Path) -> None:
    comparison = compare(run_of(8), difference=0.001)
    write_comparison(tmp_path / "table.csv", comparison)
    with open(tmp_path / "table.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert [record["branch"] for record in records] == ["winning_ticket", "random_mask", "random_reinit"]
    assert records[0]["verdict"] == "baseline" and records[0]["p_holm"] == records[0]["difference"] == ""
    row, record = comparison.rows[2], records[2]
    assert row.pairs is not None
    expected = {
        "mean": row.mean,
        "ci_low": row.interval.low,
        "difference": row.pairs.difference,
        "difference_ci_high": row.pairs.interval.high,
        "p_permutation": 0.0078125,
        "p_wilcoxon": row.pairs.p["wilcoxon"],
        "p_welch": row.pairs.p["welch"],
        "p_holm": 0.015625,
        "cohen_dz": row.pairs.cohen_dz,
        "trials_needed": 7,
        "trials_needed_in_table": 8,
        "pairs": 8,
    }
    assert {name: float(record[name]) for name in expected} == expected
    assert record["test"] == "permutation"
