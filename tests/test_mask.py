"""Mask: an immutable mapping whose measures, equality and packed bits are exact."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lth_keras.arrays import LazyArrays
from lth_keras.mask import Mask, PackedBits

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=7)
ARRAYS = hnp.arrays(bool, SHAPES)
MASKS = st.dictionaries(st.text(min_size=1, max_size=5), ARRAYS, min_size=1, max_size=4).map(Mask)


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    mask = draw(MASKS)
    other = {key: draw(hnp.arrays(bool, shape)) for key, shape in mask.shapes.items()}
    return mask, Mask(other)


@given(MASKS)
def test_pack_and_unpack_give_the_mask_back(mask: Mask) -> None:
    packed = mask.pack()
    for key, (bits, shape) in packed.items():
        assert bits.dtype == np.uint8
        assert bits.shape == (math.ceil(mask[key].size / 8),)
        assert shape == mask[key].shape
    unpacked = Mask.unpack(packed)
    assert unpacked == mask
    assert list(unpacked) == list(mask)


@given(MASKS)
def test_measures_agree_with_counting_one_by_one(mask: Mask) -> None:
    bits = {key: [bool(bit) for bit in array.ravel()] for key, array in mask.items()}
    assert mask.counts() == {key: sum(values) for key, values in bits.items()}
    assert mask.sizes == {key: len(values) for key, values in bits.items()}
    assert mask.shapes == {key: array.shape for key, array in mask.items()}
    assert mask.densities() == {key: sum(b) / len(b) for key, b in bits.items()}
    assert mask.kept == sum(map(sum, bits.values()))
    assert mask.size == sum(map(len, bits.values()))
    assert mask.density == mask.kept / mask.size


@given(mask_pairs())
def test_subset_and_jaccard_agree_with_sets(pair: tuple[Mask, Mask]) -> None:
    def kept(mask: Mask, key: str) -> set[tuple[str, int]]:
        return {(key, i) for i, bit in enumerate(mask[key].ravel()) if bit}

    mask, other = pair
    ours = {key: kept(mask, key) for key in mask}
    theirs = {key: kept(other, key) for key in mask}

    def overlap(a: set[tuple[str, int]], b: set[tuple[str, int]]) -> float:
        return len(a & b) / len(a | b) if a | b else 1.0

    all_ours, all_theirs = set().union(*ours.values()), set().union(*theirs.values())
    assert mask.is_subset(other) == (all_ours <= all_theirs)
    assert mask.jaccard(other) == overlap(all_ours, all_theirs)
    assert mask.jaccards(other) == {key: overlap(ours[key], theirs[key]) for key in mask}


@given(mask_pairs())
def test_equality_is_of_bits(pair: tuple[Mask, Mask]) -> None:
    mask, other = pair
    assert (mask == other) == (mask.is_subset(other) and other.is_subset(mask))


def test_equality_ignores_order_and_minds_keys_and_shapes() -> None:
    a, b = np.array([True, False]), np.array([False, True])
    assert Mask({"a": a, "b": b}) == Mask({"b": b, "a": a})
    assert Mask({"a": a}) != Mask({"b": a})
    assert Mask({"a": a}) != Mask({"a": a.reshape(2, 1)})
    assert Mask({"a": a}) != {"a": a}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Mask({"a": a}))


def test_a_mask_owns_its_bits_and_nobody_can_write_them() -> None:
    source = np.array([True, False, True])
    mask = Mask({"a": source})
    source[:] = False
    assert mask["a"].tolist() == [True, False, True]
    for same in (mask, copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
        assert same == mask
        with pytest.raises(ValueError, match="read-only"):
            same["a"][0] = False


def test_keys_keep_their_order() -> None:
    mask = Mask.ones({"b": (2,), "a": (3, 1)})
    assert list(mask) == list(mask.counts()) == list(mask.pack()) == ["b", "a"]
    assert mask.density == 1.0
    assert mask.shapes == {"b": (2,), "a": (3, 1)}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "bool"])
def test_exact_zeros_and_ones_of_any_type_are_taken(dtype: str) -> None:
    mask = Mask({"a": np.array([[0, 1], [1, 1]], dtype=dtype)})
    assert mask["a"].dtype == bool
    assert mask["a"].tolist() == [[False, True], [True, True]]


def test_masks_of_every_weight_and_of_none() -> None:
    shapes = {"b": (2, 3), "a": (4,)}
    full, none = Mask.ones(shapes), Mask.zeros(shapes)
    assert full.shapes == none.shapes == shapes
    assert full.counts() == {"b": 6, "a": 4} and none.counts() == {"b": 0, "a": 0}
    assert none.is_subset(full) and not full.is_subset(none)


@pytest.mark.parametrize("value", [0.5, 2, -1, np.nan, 1 + 1e-6])
def test_other_values_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"Expected booleans.*'dense/kernel'.*Received"):
        Mask({"dense/kernel": np.array([0, 1, value])})


def test_nothing_to_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to prune"):
        Mask({})
    with pytest.raises(ValueError, match=r"at least one element.*\(0, 3\).*'a'"):
        Mask({"a": np.ones((0, 3), bool)})
    with pytest.raises(TypeError, match="strings"):
        Mask({1: np.ones(3, bool)})  # type: ignore[dict-item]


def test_a_mask_of_another_model_is_named() -> None:
    mask = Mask.ones({"a": (2, 3), "b": (3,)})
    mask.check_same_weights({"b": (3,), "a": (2, 3)})
    mask.check_same_weights({"b": np.zeros(3), "a": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"missing: b; unexpected: c; shapes: a is \(3, 2\)"):
        mask.check_same_weights({"a": (3, 2), "c": (3,)})
    other = Mask.ones({"a": (2, 3)})
    for compare in (mask.is_subset, mask.jaccard, mask.jaccards, mask.check_same_weights):
        with pytest.raises(ValueError, match="mask of another model"):
            compare(other)


def test_long_lists_of_names_are_cut() -> None:
    other = Mask.ones({f"w{i}": (1,) for i in range(9)})
    with pytest.raises(ValueError, match="w4 and 4 more"):
        Mask.ones({"a": (1,)}).check_same_weights(other)


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        (np.zeros(2, np.uint8), (3,)),
        (np.zeros(1, np.uint8), (3, 3)),
        (np.zeros(1, np.int64), (3,)),
        (np.zeros((1, 1), np.uint8), (3,)),
        (np.zeros(1, np.uint8), (-1, -3)),
    ],
)
def test_damaged_bits_are_refused(bits: np.ndarray, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="packed mask of 'a'"):
        Mask.unpack({"a": PackedBits(bits, shape)})


def test_repr_is_short() -> None:
    mask = Mask({"a": [[1, 0], [0, 0]]})
    assert repr(mask) == "Mask(density=0.25, kept=1 of 4, 1 weight)"
    assert "2 weights" in repr(Mask.ones({"a": (300, 300), "b": (2,)}))


def test_arrays_are_copied_unless_given_away_or_of_a_mask() -> None:
    array = np.array([[True, False]])
    copied, taken = Mask({"a": array}), Mask({"a": array}, copy=False)
    assert not np.shares_memory(copied["a"], array)
    assert taken["a"] is array
    assert Mask(taken)["a"] is array and Mask(taken) == copied
    for locked in (array, copied["a"], Mask.unpack(copied.pack())["a"]):
        with pytest.raises(ValueError, match="read-only"):
            locked[0, 0] = False


def test_lazy_arrays_are_checked_by_their_shapes_alone() -> None:
    def make(key: str) -> np.ndarray:
        raise AssertionError(f"{key} was made")

    Mask.ones({"a": (2, 3)}).check_same_weights(LazyArrays({"a": (2, 3)}, make))
    with pytest.raises(ValueError, match="shapes: a"):
        Mask.ones({"a": (2, 3)}).check_same_weights(LazyArrays({"a": (3, 2)}, make))
