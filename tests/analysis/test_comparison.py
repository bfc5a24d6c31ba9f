"""A comparison pairs the right values, at the right densities, and judges as its p-values say."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray

from lth_keras.analysis import Comparison, compare
from lth_keras.analysis.comparison import Row
from lth_keras.analysis.paired import holm, permutation_p, welch_p, wilcoxon_p
from lth_keras.analysis.power import trials_for
from lth_keras.analysis.statistics import bootstrap_interval
from lth_keras.storage import assemble
from tests.synthetic import CREATED, dataset, level_result

ACCURACY = "test_accuracy_at_early_stop"


def at(comparison: Comparison, branch: str, level: int) -> Row:
    (row,) = (row for row in comparison.rows if (row.cell.branch, row.cell.level) == (branch, level))
    return row


def without(run: xarray.Dataset, branch: str, trials: list[int]) -> xarray.Dataset:
    """The run, where a branch of these trials has no finished level but the dense one."""
    missing = (run.branch == branch) & run.trial.isin(trials) & (run.level > 0)
    return run.where(~missing)


def test_every_number_is_that_of_the_shared_seeds() -> None:
    run = without(dataset(trials=9, levels=2), "random_mask", [0, 4])
    run = without(run, "winning_ticket", [1])
    comparison = compare(run, difference=0.005)
    row = at(comparison, "random_mask", 2)
    shared = [2, 3, 5, 6, 7, 8]
    values, baseline = (run[ACCURACY].sel(level=2, branch=b) for b in ("random_mask", "winning_ticket"))
    own = values.values[np.isfinite(values.values)]
    assert (row.mean, row.low, row.high) == (own.mean(), own.min(), own.max()) and len(own) == 7
    assert row.interval == bootstrap_interval(own)
    values, baseline = (of.sel(trial=shared).values for of in (values, baseline))
    assert row.pairs is not None and row.pairs.seeds == tuple(shared)
    assert row.pairs.difference == pytest.approx(float((values - baseline).mean()))
    assert row.pairs.interval == bootstrap_interval(values - baseline)
    expected = {test(values, baseline) for test in (permutation_p, wilcoxon_p, welch_p)}
    assert set(row.pairs.p.values()) == expected
    assert row.pairs.needed == trials_for(0.005, values, baseline, "permutation", 0.05, 1)
    assert row.pairs.needed_in_table == trials_for(0.005, values, baseline, "permutation", 0.05, 4)


@pytest.mark.parametrize("test", ["permutation", "wilcoxon", "welch"])
def test_verdicts_follow_holm_over_the_whole_table(test: str) -> None:
    run = dataset(trials=9, levels=3)
    noise = (
        np.random.default_rng(0).normal(0, 0.02, run[ACCURACY].shape) * (run.branch == "random_reinit").values[:, None]
    )
    run[ACCURACY] = run[ACCURACY] + noise + 0.1 * ((run.branch == "random_mask") & (run.level == 1))
    comparison = compare(run, test=test)
    tested = [row for row in comparison.rows if row.pairs]
    assert comparison.comparisons == len(tested) == 6
    p = holm([row.pairs.p[test] for row in tested if row.pairs])
    assert [row.p_holm for row in tested] == p.tolist()
    for row in tested:
        assert row.pairs is not None
        sign = "higher" if row.pairs.difference > 0 else "lower"
        assert row.verdict == (sign if row.p_holm <= 0.05 else "not significant")
    assert {row.verdict for row in tested} == {"higher", "lower", "not significant"}
    assert {row.verdict for row in comparison.rows if not row.pairs} == {"baseline"}


def test_five_trials_are_too_few_whatever_they_differ_by() -> None:
    run = dataset(trials=5, levels=2)
    run[ACCURACY] = run[ACCURACY] - 0.5 * (run.branch == "random_mask") * (run.level > 0)
    comparison = compare(run)
    assert comparison.least_trials == 8
    assert {row.verdict for row in comparison.rows if row.pairs} == {"too few trials"}
    assert at(compare(run, test="welch"), "random_mask", 1).verdict == "lower"


@pytest.mark.parametrize(
    ("trials", "verdict"), [(5, "too few trials"), (6, "too few trials"), (7, "too few trials"), (8, "lower")]
)
def test_how_many_are_enough_depends_on_the_comparisons(trials: int, verdict: str) -> None:
    run = dataset(trials=trials, levels=2)
    assert at(compare(run), "random_mask", 2).verdict == verdict  # one of four
    alone = compare(run.sel(branch=["winning_ticket", "random_mask"]), densities=[0.64])
    assert at(alone, "random_mask", 2).verdict == ("lower" if trials > 5 else "too few trials")


def test_too_few_is_said_of_the_rows_that_are() -> None:
    run = without(dataset(trials=9, levels=1), "random_mask", [0, 1, 2, 3])
    comparison = compare(run)
    assert at(comparison, "random_mask", 1).verdict == "too few trials"
    assert at(comparison, "random_reinit", 1).verdict in ("lower", "not significant")
    one = compare(without(dataset(trials=9, levels=1), "random_mask", list(range(1, 9))))
    row = at(one, "random_mask", 1)
    assert row.verdict == "too few pairs" and row.pairs is None and math.isnan(row.p_holm) and one.comparisons == 1


def test_ranks_go_from_the_best_and_that_is_the_least_of_steps() -> None:
    run = dataset(trials=6, levels=2)
    for variable, sign in ((ACCURACY, -1), ("early_stop_step", 1)):
        rows = compare(run, variable=variable).rows
        for level in (1, 2):
            means = [sign * row.mean for row in rows if row.cell.level == level]
            assert means == sorted(means) and len(means) == 3
        assert [row.rank for row in rows] == [1, 2, 3] * 2


def test_densities_are_matched_and_not_levels() -> None:
    run = dataset(trials=6, levels=6)
    slower = run.sel(branch=["winning_ticket"], level=[0, 2, 4, 6]).assign_coords(level=[0, 1, 2, 3])
    comparison = compare({"fast": run, "slow": slower}, baseline="slow:winning_ticket", densities=[0.42])
    levels = {row.cell.branch: row.cell.level for row in comparison.rows}
    assert levels["slow:winning_ticket"] == 2 and levels["fast:winning_ticket"] == levels["fast:random_mask"] == 4
    whole = compare({"fast": run, "slow": slower})
    assert [row.cell.level for row in whole.rows if row.cell.branch == "slow:winning_ticket"] == [1, 2, 3]
    assert len({row.density for row in whole.rows}) == 6


def test_runs_are_paired_by_seed_whatever_their_order() -> None:
    run = dataset(trials=7, levels=1)
    other = run.isel(trial=[6, 4, 5, 3]).copy(deep=True)
    other[ACCURACY] = other[ACCURACY] + 0.01
    row = at(compare({"1": run, "2": other}, densities=[0.8]), "2:winning_ticket", 1)
    assert row.pairs is not None and row.pairs.seeds == (3, 4, 5, 6)
    assert row.pairs.difference == pytest.approx(0.01) and math.isnan(row.pairs.cohen_dz)


def test_the_dense_network_stands_beside_every_density() -> None:
    run = dataset(trials=6, levels=3)
    comparison = compare(run, baseline="dense")
    dense = [row for row in comparison.rows if row.cell.branch == "dense"]
    assert len(dense) == 3 and {row.verdict for row in dense} == {"baseline"}
    pairs = at(comparison, "winning_ticket", 2).pairs
    accuracy = run[ACCURACY].sel(branch="winning_ticket")
    assert pairs is not None
    assert pairs.difference == pytest.approx(float((accuracy.sel(level=2) - accuracy.sel(level=0)).mean()))
    assert "dense" not in {row.cell.branch for row in compare(run).rows}
    both = compare({"1": run, "2": run}, baseline="2:dense", densities=[1])
    assert [row.cell.branch for row in both.rows] == ["1:dense", "2:dense"] and both.comparisons == 1


def test_variants_have_a_dense_level_of_their_own() -> None:
    results = [level_result(seed, branch, 1) for seed in range(6) for branch in ("early", "late", "winning_ticket")]
    results += [level_result(seed, "winning_ticket", 0) for seed in range(6)]
    results += [replace(level_result(seed, "dense", 0), branch="late") for seed in range(6)]
    run = assemble(results, experiment="x", config={}, versions={}, created=CREATED)
    assert json.loads(run.attrs["own_dense"]) == ["late"]
    rows = compare(run, baseline="late").rows
    assert {row.cell.branch for row in rows if row.density == 1} == {"late", "dense"}
    assert {row.cell.branch for row in rows if row.density < 1} == {"late", "early", "winning_ticket"}


def test_the_default_baseline_is_not_the_best_but_a_fixed_one() -> None:
    run = dataset(trials=6, levels=1, branches=("winning_ticket", "random_mask"))
    run[ACCURACY] = run[ACCURACY] + 0.1 * (run.branch == "random_mask")
    assert compare(run).baseline == "winning_ticket"
    assert compare({"a": run, "b": run}).baseline == "a:winning_ticket"
    others = dataset(trials=6, levels=1, branches=("snip", "grasp"))
    assert compare(others).baseline == "grasp"


def test_the_same_run_gives_the_same_comparison() -> None:
    run = dataset(trials=6, levels=2)
    assert str(compare(run, difference=0.01)) == str(compare(run, difference=0.01))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "grasp"}, "one of the branches dense, winning_ticket, random_reinit, random_mask. Received: 'gr"),
        ({"variable": "accuracy"}, "density, early_stop_step, .* Received: 'accuracy'"),
        ({"variable": "test_loss"}, "by trial, branch and level"),
        ({"densities": [0.5]}, "within 5% of one of 0.8.*, 0.64.*Received: 0.5"),
        ({"densities": [21.0]}, "share of weights kept.*Received: 21"),
        ({"densities": [math.nan]}, "Received: nan"),
        ({"test": "bayes"}, "permutation, wilcoxon, welch. Received: 'bayes'"),
        ({"difference": 0.0}, "above 0. Received: 0"),
        ({"alpha": 1.5}, "alpha.*Received: 1.5"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"Expected: .*{message}"):
        compare(dataset(trials=6, levels=2), **changes)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 2 seeds.*Received: 1, of the seeds \[0\]"):
        compare(dataset(trials=1, levels=1))
    run = dataset(trials=6, levels=1)
    with pytest.raises(ValueError, match=r"at least 2 seeds.*Received: none.*\[0, 1\] and \[.*4, 5\].*same --seed"):
        compare(
            {"1": run.isel(trial=[0, 1], branch=[0]), "2": run.isel(trial=[4, 5], branch=[0])},
        )
    with pytest.raises(ValueError, match="another branch.*'dense' as the baseline"):
        compare(run.sel(branch=["winning_ticket"]))
    with pytest.raises(ValueError, match="values of 'test_accuracy_final'. Received: .* NaN"):
        compare(run.assign(test_accuracy_final=run.test_accuracy_final * math.nan), variable="test_accuracy_final")
