"""Density by kind of layer is that of all of the kind's weights together."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.plots import density_by_kind_figure
from tests.synthetic import KINDS, dataset, masks


def test_lines_are_the_share_of_the_kinds_weights_by_level() -> None:
    axes = density_by_kind_figure(dataset(trials=2, levels=8, kinds=KINDS)).axes[0]
    dense, output = axes.get_lines()
    assert [dense.get_label(), output.get_label()] == ["dense: 5,400 weights", "output: 50 weights"]
    kept = [{key.split("/")[0]: n for key, n in mask.counts().items()} for mask in masks(0, 8)[:9]]
    np.testing.assert_array_equal(dense.get_xdata(), range(9))
    np.testing.assert_allclose(dense.get_ydata(), [100 * (n["hidden_1"] + n["hidden_2"]) / 5400 for n in kept])
    np.testing.assert_allclose(output.get_ydata(), [100 * n["output"] / 50 for n in kept])
    assert axes.get_yscale() == "log"


def test_a_run_that_does_not_say_the_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="coordinates `kind` and `size`"):
        density_by_kind_figure(dataset(trials=1, levels=1))


def test_more_kinds_than_can_be_told_apart_are_refused() -> None:
    run = dataset(trials=1, levels=1, kinds=KINDS).isel(weight=[0, 0, 0, 0, 0])
    run = run.assign_coords(kind=("weight", list("abcde")))
    with pytest.raises(ValueError, match="at most 4 kinds"):
        density_by_kind_figure(run)
