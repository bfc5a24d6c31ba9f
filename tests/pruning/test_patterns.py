"""Masks in patterns: N of M, blocks, units, filters, columns and heads."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import lth_keras as lth
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, strip_masks, variables
from lth_keras.pruning.layouts import Layout
from lth_keras.pruning.n_of_m import NofM
from lth_keras.pruning.patterns import pattern_of
from tests.backend import JIT
from tests.few import few


@functools.cache  # prune changes no model
def images() -> keras.Model:
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(8, 3, activation="relu", name="first")(x)
    y = layers.DepthwiseConv2D(2, name="depthwise")(y)
    y = layers.SeparableConv2D(16, 2, activation="relu", name="separable")(y)
    y = layers.Conv2DTranspose(4, 2, name="transposed")(y)
    return keras.Model(x, layers.Dense(3, name="last")(layers.Dense(16, name="hidden")(layers.Flatten()(y))))


@functools.cache
def attention() -> keras.Model:
    x = keras.Input((5, 8))
    y = layers.MultiHeadAttention(4, 2, name="attention")(x, x)
    return keras.Model(x, layers.Dense(2, name="last")(layers.Flatten()(y)))


def magnitudes(model: keras.Model) -> dict[str, np.ndarray]:
    return {key: np.abs(np.array(value)) for key, value in variables(model).items()}


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_n_of_m_keeps_the_n_highest_of_every_group(data: st.DataObject) -> None:
    n, m = data.draw(st.sampled_from([(2, 4), (1, 2), (1, 4), (3, 4), (2, 8)]))
    lead = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    shape = (*lead, m * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4)))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores = np.round(generator.normal(size=shape), 1)  # with ties
    mask = NofM(n, m).mask({"a": scores}, Mask.ones({"a": shape}), {"a": Layout(shape)}, generator)["a"]
    groups = np.moveaxis(mask, -2, -1).reshape(-1, m)
    values = np.moveaxis(scores, -2, -1).reshape(-1, m)
    assert (groups.sum(1) == n).all()
    kept, gone = np.where(groups, values, np.inf).min(1), np.where(groups, -np.inf, values).max(1)
    assert (kept >= gone).all()


def test_two_of_four_holds_in_every_group_after_every_step() -> None:
    model = lth.prune(images(), pattern="2:4", exclude=["depthwise", "separable"])
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", jit_compile=JIT)
    x, y = np.random.default_rng(0).normal(size=(8, 6, 6, 4)).astype("float32"), np.arange(8) % 3
    for _ in range(3):
        for key, value in variables(strip_masks(model)).items():
            if key in get_mask(model):
                value = np.array(value)
                # A transposed convolution has its input channels last.
                inputs = np.moveaxis(value, -1 if "transposed" in key else -2, -1).reshape(-1, 4)
                assert (np.count_nonzero(inputs, axis=1) <= 2).all(), key
                assert np.mean(np.count_nonzero(inputs, axis=1) == 2) > 0.9
        model.train_on_batch(x, y)
    assert get_mask(model).density == 0.5


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_units_go_as_a_whole_and_the_outputs_of_the_model_stay(scope: str) -> None:
    model = images()
    mask = get_mask(lth.prune(model, 0.5, pattern="filters", scope=scope))
    by_filter = {
        "first/kernel": mask["first/kernel"].reshape(-1, 8),
        "depthwise/kernel": mask["depthwise/kernel"].reshape(-1, 8),
        "separable/depthwise_kernel": mask["separable/depthwise_kernel"].reshape(-1, 8),
        "separable/pointwise_kernel": mask["separable/pointwise_kernel"].reshape(-1, 16),
        "transposed/kernel": np.moveaxis(mask["transposed/kernel"], -2, -1).reshape(-1, 4),
        "hidden/kernel": mask["hidden/kernel"],
    }
    for key, array in by_filter.items():
        assert (array.all(0) == array.any(0)).all() and array.any(), key
        if scope == "layer":
            assert array.any(0).sum() == array.shape[1] / 2, key
    assert mask["last/kernel"].all()
    prunable = {key: array for key, array in mask.items() if key != "last/kernel"}
    kept = sum(int(array.sum()) for array in prunable.values()) / sum(array.size for array in prunable.values())
    assert 0.4 < kept <= 0.5
    norms = magnitudes(model)["first/kernel"].reshape(-1, 8).sum(0)
    chosen = by_filter["first/kernel"].any(0)
    assert norms[chosen].min() > norms[~chosen].max() if not chosen.all() else True


def test_columns_of_an_embedding() -> None:
    x = keras.Input((5,))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(20, 6)(x))))
    table = get_mask(lth.prune(model, 1 / 3, pattern="columns", scope="layer"))["embedding/embeddings"]
    assert table.any(0).sum() == 2 and (table.all(0) == table.any(0)).all()


def test_heads_go_as_a_whole_in_all_projections() -> None:
    model = attention()
    mask = get_mask(lth.prune(model, 0.5, pattern="heads", scope="layer"))
    heads = [mask[f"attention/{name}/kernel"] for name in ("query", "key", "value")]
    kept = {tuple(array.any((0, 2))) for array in heads} | {
        tuple(mask["attention/attention_output/kernel"].any((1, 2)))
    }
    (chosen,) = kept
    assert sum(chosen) == 2
    values = magnitudes(model)
    sums = sum(values[f"attention/{name}/kernel"].sum((0, 2)) for name in ("query", "key", "value"))
    sums = sums + values["attention/attention_output/kernel"].sum((1, 2))
    assert set(np.argsort(sums)[2:]) == set(np.flatnonzero(chosen))
    assert mask["last/kernel"].all()


def test_blocks() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(12), layers.Dense(4)])
    mask = get_mask(lth.prune(model, 0.25, pattern="4x2", scope="layer"))
    blocks = mask["dense/kernel"].reshape(2, 4, 6, 2)
    assert (blocks.all((1, 3)) == blocks.any((1, 3))).all() and blocks.any((1, 3)).sum() == 3


@few("scope", ["layer", "global"], "layer")
def test_numbers_of_units_are_rounded_to_a_multiple(scope: str) -> None:
    mask = get_mask(lth.prune(images(), 0.4, pattern="units", scope=scope, multiple_of=4))
    for key, axes in {
        "first/kernel": (0, 1, 2),
        "hidden/kernel": (0,),
        "separable/pointwise_kernel": (0, 1, 2),
    }.items():
        kept = mask[key].any(axes).sum()
        assert kept % 4 == 0 and kept >= 4, key


def test_several_shots_nest_and_a_pruned_model_stays_pruned() -> None:
    model = images()
    once = lth.prune(model, 0.75, pattern="units", scope="layer")
    again = lth.prune(once, 0.5, pattern="units", scope="layer", shots=3)
    assert get_mask(again).is_subset(get_mask(once))
    assert get_mask(again)["hidden/kernel"].any(0).sum() == 8


def test_groups_that_are_kept_do_not_bring_back_single_weights() -> None:
    once = lth.prune(images(), 0.5, "random")
    by_units = get_mask(lth.prune(once, 0.5, pattern="units", scope="layer"))
    before = get_mask(once)
    assert by_units.is_subset(before)
    kept = by_units["hidden/kernel"].any(0)
    assert kept.sum() == 8 and (by_units["hidden/kernel"][:, kept] == before["hidden/kernel"][:, kept]).all()


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (images, {"pattern": "2:4", "density": 0.3}, "Expected density=0.5, or none"),
        (images, {"pattern": "2:4"}, "multiple of 4, for the pattern 2:4. Received: depthwise/kernel with 2"),
        (images, {"pattern": "4:2"}, "Expected a pattern"),
        (images, {"pattern": "rows", "density": 0.5}, "Received: 'rows'"),
        (images, {"pattern": "2:4", "multiple_of": 8}, "multiple_of=8, which is of units, heads and channels"),
        (images, {"pattern": "5x1", "density": 0.5}, "multiples of 5 x 1. Received: first/kernel of shape"),
        (images, {"pattern": "heads", "density": 0.5}, "Expected weights that have heads"),
        (images, {"pattern": "units"}, "one density with the pattern 'units'"),
        (images, {"pattern": "units", "density": 0.5, "scope": "erk"}, "scope 'layer' or 'global'"),
        (attention, {"pattern": "units", "density": 0.5}, "a recurrent or attention layer. Leave it out"),
        (images, {}, "Expected density to be a number"),
        (
            images,
            {"pattern": "units", "density": 0.05, "scope": "layer"},
            "leaves 0 of 8 in first/kernel, 0 of 8 in dep",
        ),
        (
            images,
            {"pattern": "units", "density": 0.01},
            "Expected a density that leaves each layer at least 1 of its u",
        ),
    ],
)
def test_what_cannot_be_is_refused(build: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lth.prune(build(), **arguments)


def test_names_of_patterns() -> None:
    assert pattern_of("2:4") == NofM(2, 4)
    assert pattern_of("filters") == pattern_of("units") == pattern_of("columns")
