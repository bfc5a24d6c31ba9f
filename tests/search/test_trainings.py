"""What decides a level's training beside its ticket, and at which step it is looked at."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests import tiny
from tests.tiny import ALL, make

jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only"
)


def only_in_the_first_training() -> keras.Optimizer:
    """Learns for 20 updates, which is a training's length here, and never again."""
    return keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([20], [0.1, 0.0]))


@pytest.mark.parametrize("engine", ["compiled", pytest.param("batched:3", marks=jax_only)])
def test_the_count_of_updates_goes_on_where_it_is_asked_to(tmp_path, engine):
    """From level to level, in controls too; by default each level begins anew."""

    parameters = {"optimizer": only_in_the_first_training, "engine": engine, "levels": 1}
    network = make(**parameters).network
    losses = {}
    for carry in (True, False):
        search = make(network, carry_step_count=carry, config={"carry": carry}, **parameters)
        losses[carry] = search.run(1, ALL, tmp_path).dataset.validation_loss.isel(trial=0)

    def learned(carry: bool, branch: str, level: int) -> bool:
        return len(set(losses[carry].sel(branch=branch, level=level).values)) > 1

    assert learned(True, "winning_ticket", 0) and learned(False, "winning_ticket", 0)
    for branch in ALL:
        assert learned(False, branch, 1) and not learned(True, branch, 1)


@pytest.mark.parametrize("engine", ["compiled", pytest.param("batched:2", marks=jax_only)])
@pytest.mark.slow
def test_with_patience_a_training_is_one_of_fewer_steps(tmp_path, engine):
    """Each ends where its validation loss has not fallen for so long: as if it had been asked for so many steps."""
    parameters = {"levels": 1, "optimizer": lambda: keras.optimizers.Adam(0.3), "engine": engine}
    kept = {"trials": 2, "keep_weights": "all"}
    search = make(patience=3, steps=400, test_every=100, **parameters)
    patient = search.run(out=tmp_path, **kept)
    ends = set()
    for seed in (0, 1):
        for branch, level in (("dense", 0), ("winning_ticket", 1)):
            ended = patient.directory.read(seed, branch, level, weights=True)
            end = int(ended.step[-1])
            ends.add(end)
            losses = ended.curves["validation_loss"]
            assert end < 400 and len(losses) - 1 - np.argmin(losses) == 3
            assert ended.scalars["early_stop_step"] == end - 15 and np.isfinite(ended.curves["test_loss"][-1])
            if level == 0:
                asked = make(search.network, steps=end, test_every=100, **parameters)
                short = asked.run(out=tmp_path / str(end), **kept)
                expected = short.directory.read(seed, branch, level, weights=True)
                for name in ("validation_loss", "test_accuracy"):
                    np.testing.assert_array_equal(ended.curves[name], expected.curves[name])
                assert dict(ended.scalars) | {"seconds": 0, "peak_memory_bytes": 0} == dict(expected.scalars) | {
                    "seconds": 0,
                    "peak_memory_bytes": 0,
                }
                for key, value in expected.weights.items():
                    np.testing.assert_array_equal(ended.weights[key], value)
                assert ended.next_mask == expected.next_mask
    assert len(ends) > 1, "trainings that end at different steps"
    assert np.isnan(patient.dataset.validation_loss.values).any()


def test_patience_that_nothing_decides_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected patience to be at least 1. Received: 0"):
        make(patience=0)
    empty = {**tiny.data(), "validation": (np.zeros((0, 8), np.float32), np.zeros(0, np.int32))}
    search = make(patience=2, data={**empty, "without_validation": True})
    with pytest.raises(ValueError, match=r"a validation split that decides\. Received: patience=2, without"):
        search.run(out=tmp_path)


@pytest.mark.parametrize("engine", ["compiled", pytest.param("batched:3", marks=jax_only)])
def test_scores_are_of_the_weights_at_a_step(tmp_path, engine):
    """Of a training that goes on to its end; 0 is before it, and the last step is the default."""

    network = make(engine=engine).network

    def run(out, **changes):
        search = make(network, levels=1, config={"name": str(changes)}, engine=engine, **changes)
        return search.run(out=tmp_path / out, keep_weights="all")

    plain, last, first, early = (
        run(str(i), **changes) for i, changes in enumerate(({}, {"score_at": 20}, {"score_at": 0}, {"score_at": 7}))
    )
    initial = run("initial", criterion="initial_magnitude")
    for other in (last, first, early, initial):
        for key, value in tiny.final_weights(plain, 0, "dense", 0).items():
            np.testing.assert_array_equal(tiny.final_weights(other, 0, "dense", 0)[key], value)
    masks = [tiny.masks_of(run, 0, "winning_ticket", 1)[1] for run in (plain, last, first, early, initial)]
    assert masks[0] == masks[1] and masks[2] == masks[4]
    assert masks[3] == tiny.masks_of(run("shorter", steps=7), 0, "winning_ticket", 1)[1]
    assert masks[0] != masks[2] and masks[0] != masks[3] and masks[2] != masks[3]
    with pytest.raises(ValueError, match=r"score_at in 0 ... 20.*Received: 21"):
        run("beyond", score_at=21)
