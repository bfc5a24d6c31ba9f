"""What a search records beside its numbers: the distributions of its weights and scores, and nothing else changes."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from lth_keras.analysis import distribution, rank_correlations
from lth_keras.criteria import criterion
from lth_keras.search.identity import describe
from lth_keras.search.observation import Observation
from lth_keras.search.run import Run
from lth_keras.training.network import Network
from tests import tiny

CRITERIA = ("magnitude", "snip", "grasp", "synflow")
OBSERVED = Observation(weights=True, criteria=CRITERIA)
VARIANTS = {"snip_uss": {"criterion": "snip", "when": "before_training"}, "early": {"score_at": 5}}
SHARED = {"variants": VARIANTS, "densities": (0.3,), "levels": 1, "rates": None, "scope": "global"}
BRANCHES = ("winning_ticket", "random_reinit", *VARIANTS)
jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only"
)


@pytest.fixture(scope="module", params=["compiled", pytest.param("batched:3", marks=jax_only)])
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two trials and all branches, observed."""
    search = tiny.make(**SHARED, engine=request.param, observe=OBSERVED)
    return search.run(2, BRANCHES, tmp_path_factory.mktemp("observed"), keep_weights="all")


def test_it_changes_no_number_and_names_no_run(observed: Run, tmp_path: Path) -> None:
    plain = tiny.make(observed.search.network, **SHARED, engine=observed.search.engine)
    assert describe(plain) == describe(observed.search)
    before, after = plain.run(2, BRANCHES, tmp_path).dataset, observed.dataset
    added = {*after.data_vars} - {*before.data_vars}
    assert added == {
        *(f"{name}_weight_{what}" for name in ("initial", "final") for what in ("share", "quantile")),
        *("score_share", "score_quantile", "score_correlation"),
    }
    tiny.assert_same_numbers(after[list(before.data_vars)], before)


def test_weights_are_those_that_a_mask_keeps_at_the_start_and_at_the_end(observed: Run) -> None:
    drawn = observed.search.network.draw_weights(0, "initial")
    for branch in BRANCHES:
        result = observed.directory.read(0, branch, 1, weights=True)
        assert result is not None and result.weights is not None
        for key, mask in result.mask.items():
            cell = observed.dataset.sel(trial=0, branch=branch, level=1, weight=key)
            for name, values in (("initial", drawn[key]), ("final", result.weights[key])):
                expected = distribution(values[mask])
                same = np.array_equal(cell[f"{name}_weight_quantile"], expected.quantiles, equal_nan=True)
                assert same == (name == "final" or branch != "random_reinit")  # which has weights of its own
                if same:
                    np.testing.assert_array_equal(cell[f"{name}_weight_share"], expected.shares)


def test_scores_are_those_of_the_network_as_it_is_drawn(observed: Run) -> None:
    search, run = observed.search, observed.dataset
    assert run.criterion.values.tolist() == list(CRITERIA)
    for seed in (0, 1):
        scores = [criterion(name)(search.drawn_state(seed)) for name in CRITERIA]
        of_trial = run.sel(trial=seed)
        for name, of_all in zip(CRITERIA, scores, strict=True):
            for key in tiny.SIZES:
                expected = distribution(of_all[key])
                cell = of_trial.sel(criterion=name, weight=key)
                np.testing.assert_allclose(cell.score_quantile, expected.quantiles, rtol=1e-5)
                np.testing.assert_array_equal(cell.score_share, expected.shares)
        keyed = [{key: of_all[key] for key in tiny.SIZES} for of_all in scores]
        np.testing.assert_allclose(of_trial.score_correlation, rank_correlations(keyed), atol=1e-6)
    assert not run.score_quantile.sel(trial=0).equals(run.score_quantile.sel(trial=1))


@pytest.mark.slow
def test_a_run_made_without_goes_on_with_it(network: Network, tmp_path: Path) -> None:
    tiny.make(network, levels=1).run(1, out=tmp_path)
    run = tiny.make(network, observe=OBSERVED).run(1, out=tmp_path).dataset
    known = run.final_weight_share.notnull().all(("trial", "branch", "weight", "sign"))
    assert known.values.tolist() == [False, False, True] and "score_share" not in run


@pytest.mark.slow
def test_a_network_that_is_cut_through_has_none_of_what_is_gone(network: Network, tmp_path: Path) -> None:
    cut = {"rates": None, "densities": (0.5, 1 / 176), "scope": "global", "min_per_layer": 0, "cut_through": "train"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a layer collapses
        run = tiny.make(network, **cut, observe=OBSERVED).run(1, out=tmp_path).dataset
    gone = run.weight_density == 0
    assert gone.any()
    assert (run.final_weight_share.isnull().all("sign") == gone).all()


def test_a_criterion_that_is_none_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected a criterion"):
        tiny.make(observe=Observation(criteria=("sinp",))).run(1, out=tmp_path)
    assert not list(tmp_path.rglob("level_*.h5"))
