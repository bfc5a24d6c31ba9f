"""Variants: searches under other parameters in the same run."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import xarray

from tests import tiny
from tests.few import few
from tests.tiny import masks_of

jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only"
)


VARIANTS = {
    "early": {"score_at": 7},
    "first": {"score_at": 0},
    "other data": {"data": {name: (10 * x, y) for name, (x, y) in tiny.data().items()}},
    "other optimizer": {"optimizer": lambda: keras.optimizers.SGD(0.1)},
}


@pytest.mark.parametrize("engine", ["compiled", pytest.param("batched:4", marks=jax_only)])
@pytest.mark.slow
def test_a_variant_is_the_search_with_its_changes(tmp_path, engine):
    """In the same run: with the same numbers as alone, its own level 0, and its own masks."""
    branches = ("winning_ticket", "random_mask", *VARIANTS)
    whole = tiny.make(variants=VARIANTS, config={"name": "whole"}, engine=engine).run(2, branches, tmp_path)
    assert whole.dataset.branch.values.tolist() == ["winning_ticket", "random_mask", *sorted(VARIANTS)]
    beside = ["score_at", "mask_overlap", "mask_overlap_pairs", "other_branch"]
    for name, changes in {"winning_ticket": {}, **VARIANTS}.items():
        alone = tiny.make(**changes, config={"name": name}, engine=engine).run(2, out=tmp_path / name)
        expected = tiny.numbers(alone).sel(branch="winning_ticket", drop=True)
        received = tiny.numbers(whole).sel(branch=name, drop=True)
        received, expected = (numbers.drop_vars(beside, errors="ignore") for numbers in (received, expected))
        (xarray.testing.assert_equal if engine == "compiled" else xarray.testing.assert_allclose)(received, expected)
        assert masks_of(whole, 1, name, 2)[1:] == masks_of(alone, 1, "winning_ticket", 2)[1:]
    assert json.loads(whole.dataset.attrs["own_dense"]) == sorted(VARIANTS)
    shown = whole.dataset.score_at if "score_at" in whole.dataset.coords else None
    assert shown is None, "not all variants have a number there"


def test_numbers_that_variants_differ_in_are_coordinates(tmp_path, network):
    variants = {name: VARIANTS[name] for name in ("early", "first")}
    search = tiny.make(network, variants=variants, config={"name": "coordinates"}, levels=1)
    dataset = search.run(branches=("winning_ticket", *variants), out=tmp_path).dataset
    np.testing.assert_array_equal(dataset.score_at, [np.nan, 7, 0])
    assert dataset.score_at.dims == ("branch",)
    only = search.run(branches=("first",), out=tmp_path / "only").dataset  # no winning ticket is needed
    assert only.branch.values.tolist() == ["first"] and float(only.score_at[0]) == 0
    assert (tmp_path / "only").exists() and not list((tmp_path / "only").glob("*/levels/*/dense"))


def test_variants_share_a_program_where_they_can():
    search = tiny.make(variants=VARIANTS)
    networks = {name: search.search_of(name).network for name in VARIANTS}
    assert networks["early"] is networks["first"] is networks["other data"] is search.network
    assert networks["other optimizer"] is not search.network
    assert search.search_of("winning_ticket") is search and search.search_of("early") is search.search_of("early")


@pytest.mark.parametrize(
    "variants", [{"random_mask": {}}, {"dense": {}}, {"more": {"levels": 3}}, {"unknown": {"nothing": 1}}]
)
def test_variants_that_mean_nothing_are_refused(variants):
    with pytest.raises(ValueError, match="Expected variants with new names"):
        tiny.make(variants=variants)
    with pytest.raises(ValueError, match=r"Expected branches from .*'early'.*Received: \['late'\]"):
        tiny.make(variants=VARIANTS).run(branches=("late",))


@pytest.mark.parametrize("engine", ["compiled", pytest.param("batched:2", marks=jax_only)])
def test_a_step_to_score_at_is_one_of_the_variants_own_training(tmp_path, engine):
    search = tiny.make(variants={"late": {"score_at": 21}}, engine=engine, config={"name": "late"})
    with pytest.raises(ValueError, match=r"Expected score_at in 0 ... 20, .*Received: 21"):
        search.run(1, ("winning_ticket", "late"), tmp_path)


def powered(power):
    return lambda state: {key: np.abs(state.final[key]) ** power for key in state.mask}


CHANGED = {
    "score_at": ({"score_at": 7}, {"score_at": 8}),
    "criterion": ({"criterion": "random"}, {"criterion": "magnitude"}),
    "function": ({"criterion": powered(1)}, {"criterion": powered(2)}),
    "another parameter": ({"score_at": 7}, {"score_at": 7, "min_per_layer": 2}),
    "optimizer": tuple({"optimizer": lambda rate=rate: keras.optimizers.SGD(rate)} for rate in (0.1, 0.2)),
    "model": tuple(
        {
            "build": lambda n=n: keras.Sequential(
                [keras.Input((8,)), keras.layers.Dense(n), keras.layers.Dense(3, "softmax")]
            )
        }
        for n in (4, 5)
    ),
    "data": ({"data": tiny.data(3)}, {"data": tiny.data(4)}),
}


@few("config", [None, {"name": "changed"}], None)
@few("name", CHANGED, "score_at", "function", "optimizer", "data")
def test_another_variant_under_the_same_name_is_refused(tmp_path, network, name, config):
    before, after = CHANGED[name]

    def prepare(**variants):
        search = tiny.make(network, variants=variants, config=config)
        return tiny.prepare(search, 1, ("winning_ticket", *variants), tmp_path).directory

    prepare(one=after)
    directory = prepare(one=before)  # nothing was trained yet
    file = directory.level_path(0, "one", 0)
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(ValueError, match="Expected the variant 'one' whose levels are in"):
        prepare(one=after)
    assert prepare(one=before, other=after).path == directory.path
    assert prepare(other=after).variants.keys() == {"one", "other"}
    with pytest.raises(ValueError, match="Expected the variant 'one'"):
        prepare(other=after, one=after)


def test_a_changed_variant_is_refused_after_a_run(tmp_path, network):
    run = tiny.make(network, variants={"one": {"score_at": 7}}, levels=0).run(branches=("one",), out=tmp_path)
    before = (run.directory.path / "run.h5").read_bytes()
    with pytest.raises(ValueError, match="score_at=7, expected 8"):
        tiny.make(network, variants={"one": {"score_at": 8}}, levels=0).run(branches=("one",), out=tmp_path)
    assert (run.directory.path / "run.h5").read_bytes() == before
