"""A search that starts from a mask: level 0 has it, and each level keeps its share of what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.training.network import Network
from tests.few import few
from tests.tiny import ALL, RATES, SIZES, final_weights, make, masks_of

SHAPES = {"hidden/kernel": (8, 16), "output/kernel": (16, 3)}


def half() -> Mask:
    """Half of the first layer's weights and two thirds of the second's."""
    generator = np.random.default_rng(0)
    return Mask(
        {
            key: generator.permutation(np.arange(SIZES[key]) < kept).reshape(shape)
            for (key, shape), kept in zip(SHAPES.items(), (64, 32), strict=True)
        }
    )


@few("branch", ALL, "random_mask")
@few("scope", ["layer", "global"], "layer")
def test_levels_keep_a_share_of_the_weights_of_the_first_mask(
    network: Network, tmp_path: Path, branch: str, scope: str
) -> None:
    rates: Any = {"dense": 0.3, "output": 0.2} if scope == "layer" else 0.3
    search = make(network, start_mask=half(), scope=scope, rates=rates, config={"scope": scope})
    run = search.run(branches=("winning_ticket", *{branch} - {"winning_ticket"}), out=tmp_path, keep_weights="all")
    masks = masks_of(run, 0, branch, 2)
    assert masks[0] == half()
    for level, (before, mask) in enumerate(zip(masks, masks[1:], strict=False), 1):
        assert mask.is_subset(before)
        if scope == "layer":
            assert mask.counts() == {
                key: round(kept * (1 - RATES[key]) ** level) for key, kept in half().counts().items()
            }
        else:
            assert mask.kept == round(96 * 0.7**level)
        for key, value in final_weights(run, 0, branch, level).items():
            assert key not in mask or not value[~mask[key]].any()
    assert [float(d) for d in run.dataset.density.sel(branch=branch)[0]] == [mask.density for mask in masks]


@pytest.mark.slow
def test_a_mask_of_ones_is_the_dense_network(network: Network, tmp_path: Path) -> None:
    plain = make(network, levels=1, config={"from": "dense"}).run(branches=ALL, out=tmp_path)
    ones = make(network, levels=1, config={"from": "ones"}, start_mask=Mask.ones(SHAPES))
    dataset = ones.run(branches=ALL, out=tmp_path).dataset
    for name in ("density", "validation_loss", "test_accuracy_final", "mask_overlap"):
        np.testing.assert_array_equal(dataset[name], plain.dataset[name])


def test_the_mask_names_the_run() -> None:
    dense, one, other = make(), make(start_mask=half()), make(start_mask=Mask.ones(SHAPES))
    assert len({str(search.identity) for search in (dense, one, other)}) == 3
    assert one.identity == make(start_mask=dict(half())).identity and "start_mask" not in dense.identity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_mask": 0.5}, "Expected start_mask to be a mask.*Received: 0.5"),
        ({"start_mask": half(), "rates": None, "densities": [0.3]}, r"Expected rates in.*densities=\(0.3,\)"),
        ({"start_mask": half(), "rates": 0.2, "scope": "erk"}, "Expected rates in layer or global scope.*'erk'"),
    ],
)
def test_masks_that_no_search_starts_from(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**{"levels": 1, **changes})


def test_a_mask_of_other_weights() -> None:
    with pytest.raises(ValueError, match="missing"):
        make(start_mask=Mask({"other/kernel": np.ones((2, 2), bool)})).network  # noqa: B018
