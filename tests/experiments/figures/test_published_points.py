"""Published numbers: whose they are said to be, and which experiments have them."""

from __future__ import annotations

import pytest

from experiments.figures.published_points import AT_EARLY_STOP, FINAL, REFERENCES, STEP, references_of
from lth_keras.plots.references import densities_of
from tests.synthetic import dataset


@pytest.mark.parametrize("experiment", REFERENCES)
def test_what_is_known_says_whose_it_is_and_is_in_the_unit_of_run_h5(experiment: str) -> None:
    for reference in REFERENCES[experiment]:
        assert reference.label.split(":")[0].split(",")[0] in ("Unverzagt", "Frankle & Carbin")
        assert densities_of([reference])
        low, high = (-0.1, 0.1) if reference.to_dense and reference.variable != STEP else (0.2, 1)
        assert all(low <= value <= high for _, value in reference.points)


def test_only_the_experiment_that_repeats_them_has_them() -> None:
    run = dataset(trials=1, levels=1)
    assert references_of(run, FINAL) == ()
    (found,) = references_of(run.assign_attrs(experiment="newsgroups_end2end"), FINAL)
    assert found.points == ((1.0, 0.749), (0.328, 0.766), (0.107, 0.75))
    assert {r.variable for r in REFERENCES["cifar10_conv6"]} == {FINAL, AT_EARLY_STOP, STEP}
