"""Statistics over trials count the trials that have a value, and warn of nothing."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import xarray
from scipy import stats

from lth_keras.analysis import spread
from lth_keras.analysis.statistics import bootstrap_interval
from tests.few import few


def test_mean_and_range_over_the_trials_that_have_a_value() -> None:
    values = [[1.0, np.nan, np.nan], [2.0, 4.0, np.nan], [6.0, 5.0, np.nan]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = spread(xarray.DataArray(values, dims=("trial", "level")))
    np.testing.assert_array_equal(result.mean, [3.0, 4.5, np.nan])
    np.testing.assert_array_equal(result.low, [1.0, 4.0, np.nan])
    np.testing.assert_array_equal(result.high, [6.0, 5.0, np.nan])
    np.testing.assert_array_equal(result.trials, [3, 2, 0])


def test_the_trial_axis_may_stand_anywhere() -> None:
    values = xarray.DataArray(np.arange(6.0).reshape(2, 3), dims=("trial", "level"))
    for first, second in zip(spread(values), spread(values.T), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_variable_without_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="over 'trial'"):
        spread(xarray.DataArray([1.0], dims="level"))


@few(("trials", "least"), [(5, 0.90), (12, 0.93), (30, 0.93)], (5, 0.90))
def test_the_interval_holds_the_mean_about_as_often_as_it_says(trials: int, least: float) -> None:
    samples = np.random.default_rng(0).normal(3, 1, (400, trials))
    held = np.mean([low <= 3 <= high for low, high in map(bootstrap_interval, samples)])
    assert least - 3 * math.sqrt(0.1 * 0.9 / 400) <= held <= 0.99


def test_few_values_have_the_quantiles_that_students_t_asks_for() -> None:
    values = np.random.default_rng(1).normal(0, 1, 8)
    share = stats.norm.cdf(-math.sqrt(8 / 7) * stats.t.ppf(0.975, 7))
    means = values[np.random.default_rng(2).integers(0, 8, (200_000, 8))].mean(1)
    low, high = bootstrap_interval(values)
    np.testing.assert_allclose([low, high], np.quantile(means, [share, 1 - share]), atol=0.05)


def test_the_interval_is_the_same_each_time_and_moves_and_grows_with_the_values() -> None:
    values = np.array([1.0, 2.0, 4.0, 4.5, 6.0])
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (low, high)
    np.testing.assert_allclose(bootstrap_interval(10 * values + 3), [10 * low + 3, 10 * high + 3])
    assert bootstrap_interval(np.array([1.0, 2.0])) == (1.0, 2.0)


@pytest.mark.parametrize("trials", [2, 5, 30])
def test_values_that_are_all_the_same_have_an_interval_of_one_point(trials: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bootstrap_interval(np.full(trials, 0.5)) == (0.5, 0.5)


def test_one_value_has_no_interval() -> None:
    assert np.isnan(bootstrap_interval(np.array([1.0]))).all()
