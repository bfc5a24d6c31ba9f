"""What a search trains: masks of the right size, made of the right weights, and its controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras.search.run import Run
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.search.whole import LEVELS, SEEDS
from tests.tiny import ALL, make, masks_of


@pytest.mark.parametrize("branch", ALL)
@pytest.mark.parametrize("seed", SEEDS)
def test_masks_nest_with_exact_counts_in_every_layer(run: Run, seed: int, branch: str) -> None:
    masks = masks_of(run, seed, branch, LEVELS)
    for n, mask in enumerate(masks):
        assert mask.counts() == {key: round(size * (1 - tiny.RATES[key]) ** n) for key, size in tiny.SIZES.items()}
        assert n == 0 or mask.is_subset(masks[n - 1])


def test_the_mask_is_of_the_largest_trained_weights(run: Run) -> None:
    for n in range(LEVELS):
        level = run.directory.read(0, "winning_ticket" if n else "dense", n, weights=True)
        assert level is not None and level.weights is not None
        for key, kept in level.next_mask.items():
            size = np.abs(level.weights[key])
            assert size[kept].min() > size[level.mask[key] & ~kept].max()


def masks_after(network: Network, out: Path, steps: int, criterion: str) -> list[Any]:
    return masks_of(make(network, steps=steps, criterion=criterion, levels=1).run(out=out), 0, "winning_ticket", 1)


def test_a_mask_changes_when_only_the_trained_weights_change(network: Network, tmp_path: Path) -> None:
    """The thesis' masks did not: they came from the initial weights."""
    assert masks_after(network, tmp_path, 20, "magnitude")[1] != masks_after(network, tmp_path, 40, "magnitude")[1]


def test_the_control_of_initial_magnitude_does_not_see_training(network: Network, tmp_path: Path) -> None:
    short = masks_after(network, tmp_path, 20, "initial_magnitude")[1]
    assert short == masks_after(network, tmp_path, 40, "initial_magnitude")[1]
    assert short != masks_after(network, tmp_path, 20, "magnitude")[1]
    initial = network.draw_weights(0, "initial")
    for key, kept in short.items():
        assert np.abs(initial[key])[kept].min() > np.abs(initial[key])[~kept].max()


def test_the_winning_ticket_is_rewound_to_the_initial_weights(run: Run, network: Network) -> None:
    initial = network.draw_weights(0, "initial")
    ticket = run.ticket(trial=0, level=2)
    mask = masks_of(run, 0, "winning_ticket", 2)[2]
    for layer in ticket.layers:
        kept = mask[f"{layer.name}/kernel"]
        np.testing.assert_array_equal(layer.kernel_mask, kept)
        np.testing.assert_array_equal(layer.kernel, initial[f"{layer.name}/kernel"] * kept)
        np.testing.assert_array_equal(layer.bias, initial[f"{layer.name}/bias"])


def test_random_reinit_has_the_winning_mask_and_other_weights(run: Run) -> None:
    assert masks_of(run, 0, "random_reinit", LEVELS) == masks_of(run, 0, "winning_ticket", LEVELS)
    winning = run.ticket(trial=0, level=2)
    for level in (2, 3):
        reinit = run.ticket(trial=0, level=level, branch="random_reinit")
        for one, other in zip(winning.layers, reinit.layers, strict=True):
            kept = np.array(other.kernel_mask)
            assert not np.isclose(np.array(one.kernel)[kept], np.array(other.kernel)[kept]).any()
            assert not np.isclose(one.bias, other.bias).any()
        winning = reinit  # and drawn anew for every level


def test_random_mask_has_the_same_weights_elsewhere(run: Run) -> None:
    winning, other = run.ticket(trial=0, level=2), run.ticket(trial=0, level=2, branch="random_mask")
    dense = run.ticket(trial=0, level=0, branch="random_mask")
    for one, two, full in zip(winning.layers, other.layers, dense.layers, strict=True):
        assert np.array(one.kernel_mask).sum() == np.array(two.kernel_mask).sum()
        assert (np.array(one.kernel_mask) != np.array(two.kernel_mask)).any()
        np.testing.assert_array_equal(two.kernel, np.array(full.kernel) * np.array(two.kernel_mask))
        np.testing.assert_array_equal(two.bias, full.bias)


def test_trials_have_their_own_weights_and_masks(run: Run) -> None:
    assert masks_of(run, 0, "winning_ticket", 1)[1] != masks_of(run, 1, "winning_ticket", 1)[1]
    one, other = (run.ticket(trial=seed, level=0).layers[0].kernel for seed in SEEDS)
    assert not np.isclose(one, other).any()


def test_global_scope_ranks_all_layers_together(network: Network, tmp_path: Path) -> None:
    run = make(network, scope="global", rates=0.3, levels=LEVELS).run(branches=ALL, out=tmp_path)
    total = sum(tiny.SIZES.values())
    for branch in ALL:
        masks = masks_of(run, 0, branch, LEVELS)
        assert [mask.kept for mask in masks] == [round(total * 0.7**n) for n in range(LEVELS + 1)]
        assert all(later.is_subset(earlier) for earlier, later in zip(masks, masks[1:], strict=False))
    assert masks[1].counts() != {key: round(size * 0.7) for key, size in tiny.SIZES.items()}


@few(
    "changes",
    [{"scope": "global", "rates": 0.98}, {"rates": {"dense": 0.98, "output": 0.98}}],
    {"scope": "global", "rates": 0.98},
)
def test_every_layer_keeps_a_weight_however_deep(network: Network, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = make(network, levels=2, steps=5, **changes).run(branches=ALL, out=tmp_path)
    for branch in ALL:
        assert masks_of(run, 0, branch, 2)[2].counts() == {"hidden/kernel": 1, "output/kernel": 1}


def test_a_layer_without_rate_stays_dense(network: Network, tmp_path: Path) -> None:
    run = make(network, rates={"dense": 0.5, "output": 0}, levels=1).run(out=tmp_path)
    assert masks_of(run, 0, "winning_ticket", 1)[1].counts() == {"hidden/kernel": 64, "output/kernel": 48}
