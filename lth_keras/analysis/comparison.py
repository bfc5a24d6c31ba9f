"""Branches ranked and compared with a baseline on shared seeds, over a whole table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray

from lth_keras.analysis.cells import Cell, at_densities, baseline_of, cells_of
from lth_keras.analysis.measured import at_early_stop, at_the_end, metric_of
from lth_keras.analysis.paired import TESTS, cohen_dz, hedges_g, holm, least_p, least_trials
from lth_keras.analysis.power import trials_for
from lth_keras.analysis.statistics import Interval, bootstrap_interval


class Pairs(NamedTuple):
    """A branch and the baseline on their shared seeds. Differences are the branch's values minus the baseline's."""

    seeds: tuple[int, ...]
    difference: float
    interval: Interval
    p: Mapping[str, float]  # of each test, uncorrected
    cohen_dz: float
    hedges_g: float
    needed: int | None  # trials to find the requested difference, at alpha
    needed_in_table: int | None  # the same, with alpha divided by the number of comparisons


class Row(NamedTuple):
    """A branch at a density; `pairs` is None for the baseline and for fewer than 2 shared seeds."""

    density: float  # of the baseline; rows are grouped by it
    rank: int
    cell: Cell
    mean: float
    low: float
    high: float
    interval: Interval
    pairs: Pairs | None
    p_holm: float
    verdict: str  # "baseline", "higher", "lower", "not significant", "too few trials" or "too few pairs"


class Comparison(NamedTuple):
    """A table of rows, the best at each density first, and its parameters."""

    variable: str
    long_name: str
    units: str
    comment: str | None  # of the variable, if its meaning differs from its name
    baseline: str
    test: str
    alpha: float
    difference: float | None  # to compute the needed trials for
    rows: tuple[Row, ...]
    comparisons: int  # rows that were tested
    least_trials: int  # with fewer trials no comparison can be significant
    less_is_better: bool  # rank 1 has the least value


def compare(
    runs: xarray.Dataset | Mapping[str, xarray.Dataset],
    *,
    baseline: str | None = None,
    densities: Sequence[float] | None = None,
    variable: str | None = None,
    test: str = "permutation",
    difference: float | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Rank the branches at each density, and test each against the baseline on the seeds that both have.

    docs/statistics.md explains the numbers and why the paired permutation test is the default.

    Args:
        runs: A run, or several by name; their branches are then named `<name>:<branch>`.
        baseline: A branch, or "dense" for the network before pruning; by default the winning ticket, else the first.
        densities: Shares of weights kept, each within 5% of one of the baseline's; by default all of these.
        variable: With axes trial, branch, level; by default the metric on the test split at early stop.
        test: One of `TESTS`, for Holm's correction and the verdicts.
        difference: In the unit of `variable`; rows state how many trials find it with probability 0.8.
        alpha: Probability of any false verdict in the whole table.

    Raises:
        ValueError: Unknown variable, branch, density or test; no finite values; nothing to compare; fewer than 2 shared
            seeds.
    """
    if test not in TESTS:
        raise ValueError(f"Expected: one of the tests {', '.join(TESTS)}. Received: {test!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"Expected: alpha between 0 and 1. Received: {alpha}")
    if difference is not None and not (math.isfinite(difference) and difference > 0):
        raise ValueError(f"Expected: a difference above 0. Received: {difference}")
    named = {"": runs} if isinstance(runs, xarray.Dataset) else runs
    variable = common_variable(named) if variable is None else variable
    cells = cells_of(named, variable)
    baseline = baseline_of(cells, baseline)
    groups = at_densities(cells, baseline, densities)
    others = [(cell, beside) for _, beside, near in groups for cell in near if cell is not beside]
    shared = [len(_seeds(cell, beside)) for cell, beside in others]
    if max(shared) < 2:
        of_others, of_baseline = (
            sorted({seed for cell in column for seed in cell.values}) for column in zip(*others, strict=True)
        )
        raise ValueError(
            f"Expected: at least 2 seeds at which both {baseline} and another branch are finished. "
            f"Received: {'1' if max(shared) else 'none'}, of the seeds {of_baseline} and {of_others}; ask for "
            "more --trials, and for two runs the same --seed"
        )

    tested = sum(number >= 2 for number in shared)
    fewest = least_trials(test, tested, alpha)
    first = next(iter(named.values()))
    meaning, units = first[variable].attrs, units_of(first, variable)
    if variable in (at_early_stop(first), at_the_end(first)):
        rising = metric_of(first).direction == "lower"
    else:  # steps, seconds, bytes and losses
        rising = units != "1" or "loss" in variable

    def order(cell: Cell) -> tuple[float, str]:
        mean = float(np.mean(list(cell.values.values())))
        return (mean if rising else -mean), cell.branch

    rows = []
    for density, beside, near in groups:
        for rank, cell in enumerate(sorted(near, key=order), 1):
            pairs = None if cell is beside else _pairs(cell, beside, test, difference, alpha, tested)
            values = np.array(list(cell.values.values()))
            summary = (float(values.mean()), float(values.min()), float(values.max()), bootstrap_interval(values))
            verdict = "baseline" if cell is beside else "too few pairs"
            rows.append(Row(density, rank, cell, *summary, pairs, math.nan, verdict))
    return Comparison(
        variable=variable,
        long_name=meaning.get("long_name", variable),
        units=units,
        comment=meaning.get("comment"),
        baseline=baseline,
        test=test,
        alpha=alpha,
        difference=difference,
        rows=tuple(_judged(rows, test, alpha)),
        comparisons=tested,
        least_trials=fewest,
        less_is_better=rising,
    )


def common_variable(runs: Mapping[str, xarray.Dataset]) -> str:
    """The variable that runs are compared by: the metric on the test split at early stop.

    Raises:
        ValueError: The runs have different metrics.
    """
    found = list(dict.fromkeys(at_early_stop(run) for run in runs.values()))
    if len(found) > 1:
        raise ValueError(f"Expected: runs with one metric, or the variable to compare. Received: {', '.join(found)}")
    return found[0]


def units_of(run: xarray.Dataset, variable: str) -> str:
    """The unit of a variable; "1" for shares, for counts without a unit, and if the run has no such variable."""
    return str(run[variable].attrs.get("units", "1")) if variable in run else "1"


def _judged(rows: Sequence[Row], test: str, alpha: float) -> list[Row]:
    """The rows with Holm's p over all tested rows, and their verdicts."""
    judged = list(rows)
    tested = [(place, row.pairs) for place, row in enumerate(rows) if row.pairs]
    corrected = holm([pairs.p[test] for _, pairs in tested])
    possible = holm([least_p(test, len(pairs.seeds)) for _, pairs in tested]) <= alpha
    for (place, pairs), p, could in zip(tested, corrected.tolist(), possible, strict=True):
        if p <= alpha:
            verdict = "higher" if pairs.difference > 0 else "lower"
        else:
            verdict = "not significant" if could else "too few trials"
        judged[place] = rows[place]._replace(p_holm=p, verdict=verdict)
    return judged


def _pairs(
    cell: Cell, beside: Cell, test: str, difference: float | None, alpha: float, comparisons: int
) -> Pairs | None:
    seeds = _seeds(cell, beside)
    if len(seeds) < 2:
        return None
    values, baseline = (np.array([of.values[seed] for seed in seeds]) for of in (cell, beside))
    needed = [
        None if difference is None else trials_for(difference, values, baseline, test, alpha, among)
        for among in (1, comparisons)
    ]
    return Pairs(
        seeds,
        float(np.mean(values - baseline)),
        bootstrap_interval(values - baseline),
        {name: p_of(values, baseline) for name, p_of in TESTS.items()},
        cohen_dz(values, baseline),
        hedges_g(values, baseline),
        *needed,
    )


def _seeds(cell: Cell, beside: Cell) -> tuple[int, ...]:
    return tuple(sorted(cell.values.keys() & beside.values.keys()))
