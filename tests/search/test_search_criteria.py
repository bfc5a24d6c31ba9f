"""Every criterion and scope in a search: what it scores on, that it resumes bit for bit, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras import seeds
from lth_keras.backends import backend
from lth_keras.criteria import CRITERIA, State, criterion
from lth_keras.data.sampling import draw_samples
from lth_keras.mask import Mask
from lth_keras.masking.tables import LARGE
from lth_keras.pruning.densities import erk_counts
from lth_keras.pruning.model_derivatives import ModelDerivatives
from lth_keras.pruning.ranking import keep_highest
from lth_keras.search.tasks import Task
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import Witness, assert_same_numbers, make, masks_of

jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only"
)


def expected_mask(network: Network, name: str, level: Any, seed: int, per_class: int) -> Mask:
    """The next mask of a level that kept its weights, worked out from what its file has."""
    x, y = tiny.data()["train"]
    chosen = draw_samples(y, per_class, 3, seeds.stream(seed, "samples"))
    state = State(
        level.weights,
        level.mask,
        seeds.stream(seed, "criterion", level.level + 1),
        dict(network.draw_weights(seed, "initial")),
        ModelDerivatives(network.model, "sparse_categorical_crossentropy").on(lambda: (x[chosen], y[chosen])),
    )
    ties = seeds.stream(seed, "ties", level.level + 1)
    return keep_highest(criterion(name)(state), level.mask, level.next_mask.counts(), generator=ties)


@few("name", CRITERIA, "magnitude", "grasp")
def test_masks_are_of_the_criterions_scores_of_the_trained_weights(network: Network, tmp_path: Path, name: str) -> None:
    search = make(network, criterion=name, samples_per_class=4, levels=2)
    run = search.run(2, ("winning_ticket",), tmp_path, keep_weights="all")
    for seed in (0, 1):
        masks = masks_of(run, seed, "winning_ticket", 2)
        assert masks[2].is_subset(masks[1]) and masks[1].is_subset(masks[0])
        for task in (Task(seed, "dense", 0), Task(seed, "winning_ticket", 1)):
            level = run.directory.read(*task, weights=True)
            assert level is not None and level.weights is not None
            assert level.next_mask == expected_mask(network, name, level, seed, 4)


def words() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            keras.layers.Embedding(LARGE // 64 + 1, 64, name="table"),
            keras.layers.Conv1D(4, 2, activation="relu", name="conv"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(3, "softmax", name="output"),
        ]
    )


@few("name", ["grasp", "synflow"], "synflow")
def test_tables_that_are_trained_by_rows_are_scored_too(tmp_path: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    data = {
        split: (generator.integers(0, 1000, (size, 6)), np.arange(size) % 3)
        for split, size in (("train", 120), ("validation", 40), ("test", 40))
    }
    search = make(build=words, data=data, criterion=name, rates=0.5, scope="global", levels=1, test_every=5)
    assert len(search.network.tables) == int(backend().trains_by_rows)
    mask = masks_of(search.run(out=tmp_path), 0, "winning_ticket", 1)[1]
    assert mask.kept == round(0.5 * mask.size) and min(mask.counts().values()) > 0


def own(state: State) -> dict[str, np.ndarray]:
    return {key: abs(state.final[key]) * abs(state.gradients[key]) for key in state.mask}


@pytest.mark.slow
def test_a_criterion_of_ones_own_is_snip_where_it_scores_alike(network: Network, tmp_path: Path) -> None:
    mine = make(network, criterion=own, name="own").run(out=tmp_path)
    snip = make(network, criterion="snip", name="snip").run(out=tmp_path)
    assert masks_of(mine, 0, "winning_ticket", 2) == masks_of(snip, 0, "winning_ticket", 2)


@pytest.mark.slow
def test_interrupted_and_resumed_nothing_differs_and_training_is_not_touched(network: Network, tmp_path: Path) -> None:
    task = Task(0, "winning_ticket", 1)
    whole = make(network, criterion="grasp").run(out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make(network, criterion="grasp").run(out=tmp_path / "parts", reporter=Witness("started", task))
    assert_same_numbers(make(network, criterion="grasp").run(out=tmp_path / "parts"), whole)
    by_magnitude = make(network).run(out=tmp_path / "other")
    np.testing.assert_array_equal(by_magnitude.dataset.train_loss[0, 0, 0], whole.dataset.train_loss[0, 0, 0])


@pytest.mark.slow
def test_derivatives_are_traced_once_for_all_trials_and_levels_and_not_at_all_without(tmp_path: Path) -> None:
    search = make(criterion="magnitude", levels=1)
    search.run(out=tmp_path)
    assert search.network.derivatives.traces == 0
    search = make(search.network, criterion="grasp", levels=1)
    search.run(out=tmp_path)
    traces = search.network.derivatives.traces
    assert traces > 0
    make(search.network, criterion="grasp", levels=2).run(2, out=tmp_path)
    assert search.network.derivatives.traces == traces


@jax_only
def test_tickets_of_a_batch_are_scored_on_their_own_trials_data(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"criterion": "snip", "data": tiny.data, "levels": 1}
    batched = make(engine="batched:2", **arguments).run(2, out=tmp_path / "batched", keep_weights="all")
    alone = make(engine="compiled", **arguments).run(2, out=tmp_path / "alone", keep_weights="all")
    for seed in (0, 1):
        one, other = (masks_of(run, seed, "winning_ticket", 1)[1] for run in (batched, alone))
        assert one.jaccard(other) > 0.97  # float32 rounding may turn a weight at the threshold


def test_erk_scope_has_its_counts_at_every_level(network: Network, tmp_path: Path) -> None:
    run = make(network, scope="erk", rates=0.4, levels=3).run(out=tmp_path)
    masks = masks_of(run, 0, "winning_ticket", 3)
    for n, mask in enumerate(masks[1:], start=1):
        assert mask.kept == round(176 * 0.6**n)
        assert mask.counts() == erk_counts(masks[n - 1], mask.kept)
        assert mask.is_subset(masks[n - 1])


def test_uniform_scope_shows_that_the_first_layer_is_too_large_before_training() -> None:
    assert make(scope="uniform", rates=0.1, levels=2).network
    with pytest.raises(ValueError, match="the first layer, 'hidden/kernel', keeps all of its 128"):
        make(scope="uniform", rates=0.1, levels=3).network  # noqa: B018


def test_more_samples_than_there_are_show_before_training(network: Network, tmp_path: Path) -> None:
    witness = Witness()
    with pytest.raises(ValueError, match=r"no more samples than there are: \d+ of class 0. Received: 100"):
        make(network, criterion="snip", samples_per_class=100).run(out=tmp_path, reporter=witness)
    assert witness.events == []
    make(network, criterion="magnitude", samples_per_class=100, levels=1).run(out=tmp_path)
