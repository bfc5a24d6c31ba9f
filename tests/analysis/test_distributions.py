"""Distributions: what their numbers are of, and that files bring them back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy

from lth_keras.analysis import Distributions, distribution, rank_correlations
from lth_keras.analysis import distributions as module
from lth_keras.analysis.distributions import QUANTILES
from lth_keras.storage import DamagedFile, LevelResult, assemble, open_run, read_level, write_level, write_run
from lth_keras.storage.levels import summarise_level
from tests.synthetic import CREATED, SHAPES, level_result, levels_of, reseal


def distributed(result: LevelResult, seed: int = 0) -> LevelResult:
    """With distributions of made-up weights, and of scores at level 0."""
    generator = np.random.default_rng([seed, result.seed, result.level, *map(ord, result.branch)])

    def of_all() -> dict[str, module.Distribution]:
        return {key: distribution(generator.normal(size=result.mask[key].sum())) for key in SHAPES}

    found = Distributions({name: of_all() for name in ("initial", "final")})
    if result.level == 0:
        correlations = np.array([[1, generator.uniform(-1, 1)], [0, 1]])
        found = found._replace(scores={"snip": of_all(), "stacked(a,b/c)": of_all()}, correlations=correlations)
    return dataclasses.replace(result, distributions=found)


def assert_same(received: Distributions, expected: Distributions) -> None:
    for ours, theirs in ((received.weights, expected.weights), (received.scores, expected.scores)):
        assert list(ours) == list(theirs)
        for name in ours:
            assert list(ours[name]) == list(theirs[name])
            for key in ours[name]:
                for mine, their in zip(ours[name][key], theirs[name][key], strict=True):
                    np.testing.assert_array_equal(mine, their)
    np.testing.assert_array_equal(received.correlations, expected.correlations)  # type: ignore[arg-type]


def test_quantiles_are_of_either_sign_so_none_lies_in_a_gap_around_zero() -> None:
    values = np.random.default_rng(0).normal(size=(40, 50))
    values[np.abs(values) < 0.5] = 0
    shares, quantiles = distribution(values)
    np.testing.assert_allclose(shares, [(values < 0).mean(), (values > 0).mean()])
    negative, positive = quantiles
    assert negative.max() <= -0.5 and positive.min() >= 0.5 and quantiles.dtype == np.float32
    np.testing.assert_allclose(positive, np.quantile(values[values > 0], QUANTILES), rtol=1e-6)
    np.testing.assert_allclose(negative[[0, -1]], [values.min(), values[values < 0].max()], rtol=1e-6)


def test_of_no_values_all_is_nan_and_of_one_sign_the_others_quantiles_are() -> None:
    nothing = distribution(np.zeros(0))
    assert np.isnan(nothing.shares).all() and np.isnan(nothing.quantiles).all()
    shares, quantiles = distribution(np.array([3.0]))
    assert shares.tolist() == [0, 1] and np.isnan(quantiles[0]).all() and (quantiles[1] == 3).all()
    assert np.isnan(distribution(np.zeros(5)).quantiles).all()


def test_of_very_many_values_some_are_looked_at_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=20_011)
    whole = distribution(values)
    monkeypatch.setattr(module, "MOST", 5_000)
    some = distribution(values)
    np.testing.assert_allclose(some.shares, whole.shares, atol=0.02)
    np.testing.assert_allclose(some.quantiles[:, 2:-2], whole.quantiles[:, 2:-2], atol=0.1)
    np.testing.assert_array_equal(some.quantiles, distribution(values).quantiles)
    assert module.evenly(values, 7)[[0, -1]].tolist() == values[[0, -1]].tolist()


def test_rank_correlations_are_spearmans_over_all_weights_with_ties() -> None:
    generator = np.random.default_rng(0)
    first = {"a": generator.normal(size=(9, 5)), "b": generator.integers(0, 3, 20)}
    second = {"a": first["a"] ** 3, "b": generator.integers(0, 3, 20)}
    constant = {"a": np.ones((9, 5)), "b": np.ones(20)}
    found = rank_correlations([first, second, constant])
    flat = [np.concatenate([values.ravel() for values in arrays.values()]) for arrays in (first, second)]
    assert found[0, 1] == found[1, 0] == pytest.approx(scipy.stats.spearmanr(*flat).statistic)
    assert found[0, 0] == pytest.approx(1) and np.isnan(found[2]).all()


def test_a_sample_has_of_each_weight_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    first = {"a": generator.normal(size=8_000), "b": 50 + generator.normal(size=2_000)}
    second = {key: values + generator.normal(size=values.size) for key, values in first.items()}
    whole = rank_correlations([first, second])
    monkeypatch.setattr(module, "MOST", 1_000)
    np.testing.assert_allclose(rank_correlations([first, second]), whole, atol=0.05)


@pytest.mark.parametrize("level", [0, 2])
def test_level_files_bring_them_back(tmp_path: Path, level: int) -> None:
    result = distributed(level_result(level=level))
    write_level(tmp_path / "level.h5", result)
    assert_same(read_level(tmp_path / "level.h5").distributions, result.distributions)
    assert_same(summarise_level(tmp_path / "level.h5").distributions, result.distributions)


def test_level_files_without_them_have_none(tmp_path: Path) -> None:
    write_level(tmp_path / "level.h5", level_result())
    with h5py.File(tmp_path / "level.h5") as file:
        assert "distributions" not in file
    assert read_level(tmp_path / "level.h5").distributions == Distributions()


def test_what_is_no_distribution_is_damage(tmp_path: Path) -> None:
    write_level(tmp_path / "level.h5", distributed(level_result()))
    with h5py.File(tmp_path / "level.h5", "r+") as file:
        group = file["distributions/weights/final"]
        del group["hidden_1/kernel"]
        wrong = group.create_dataset("hidden_1/kernel", data=np.zeros((2, 5)))
        wrong.attrs.update({"shares": np.zeros(2), "position": 0})
    reseal(tmp_path / "level.h5")
    with pytest.raises(DamagedFile, match="a distribution of shapes"):
        read_level(tmp_path / "level.h5")


def test_a_run_has_them_by_trial_branch_and_level_and_nan_elsewhere(tmp_path: Path) -> None:
    results = [distributed(result) for result in levels_of(trials=2, levels=2)]
    older = next(i for i, r in enumerate(results) if (r.seed, r.branch, r.level) == (1, "random_mask", 2))
    results[older] = dataclasses.replace(results[older], distributions=Distributions())
    path = tmp_path / "run.h5"
    write_run(path, assemble(results, experiment="x", config={}, versions={}, created=CREATED))
    run = open_run(path)
    for result in results:
        branches = run.branch.values if result.branch == "dense" else [result.branch]
        for name, branch in ((name, branch) for name in ("initial", "final") for branch in branches):
            cell = run.sel(trial=result.seed, branch=branch, level=result.level)
            for key in SHAPES:
                found = cell.sel(weight=key)
                if result is results[older]:
                    assert found[f"{name}_weight_share"].isnull().all()
                    continue
                expected = result.distributions.weights[name][key]
                np.testing.assert_array_equal(found[f"{name}_weight_share"], expected.shares)
                np.testing.assert_array_equal(found[f"{name}_weight_quantile"], expected.quantiles)
        if result.level == 0:
            for criterion, by_weight in result.distributions.scores.items():
                own = run.sel(trial=result.seed, criterion=criterion, weight="output/kernel")
                np.testing.assert_array_equal(own.score_quantile, by_weight["output/kernel"].quantiles)
                np.testing.assert_array_equal(own.score_share, by_weight["output/kernel"].shares)
            correlations = run.score_correlation.sel(trial=result.seed)
            np.testing.assert_array_equal(correlations, result.distributions.correlations)
    assert run.sign.values.tolist() == ["negative", "positive"] and run["quantile"].values.tolist() == list(QUANTILES)
    plain = assemble(levels_of(1, 1), experiment="x", config={}, versions={}, created=CREATED)
    assert not {"sign", "quantile", "criterion"} & {*plain.dims, *plain.coords}
