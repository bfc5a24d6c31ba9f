"""Density by kind of layer is that of all of the kind's weights together."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.plots import density_by_kind_figure
from tests.results.synthetic import dataset, masks

KINDS = {"dense": {"hidden_1": 4800, "hidden_2": 600}, "output": {"output": 50}}


def test_lines_are_the_share_of_the_kinds_weights_by_level() -> None:
    axes = density_by_kind_figure(dataset(trials=2, levels=8), KINDS).axes[0]
    dense, output = axes.get_lines()
    assert [dense.get_label(), output.get_label()] == ["dense: 5,400 weights", "output: 50 weights"]
    kept = [{key.split("/")[0]: n for key, n in mask.counts().items()} for mask in masks(0, 8)[:9]]
    np.testing.assert_array_equal(dense.get_xdata(), range(9))
    np.testing.assert_allclose(dense.get_ydata(), [100 * (n["hidden_1"] + n["hidden_2"]) / 5400 for n in kept])
    np.testing.assert_allclose(output.get_ydata(), [100 * n["output"] / 50 for n in kept])
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    "kinds", [{}, {"dense": {"hidden_1": 4800}}, {**KINDS, "conv": {"lost": 1}}, {n: {n: 1} for n in "abcde"}]
)
def test_other_layers_than_those_of_the_run_are_refused(kinds: dict[str, dict[str, int]]) -> None:
    with pytest.raises(ValueError, match="Expected: 1 to 4 kinds with the layers"):
        density_by_kind_figure(dataset(trials=1, levels=1), kinds)
