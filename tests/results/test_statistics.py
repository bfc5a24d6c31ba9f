"""Statistics over trials count the trials that have a value, and warn of nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray

from lth_keras.results import spread


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
