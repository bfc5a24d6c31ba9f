"""Rewinding: each form restores the weights, the optimiser and the place in the schedule that it says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.search.rewinding import check_rewind, rewinding_of
from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import LevelError
from lth_keras.training.engines import batch_order
from tests import tiny
from tests.backend import JIT
from tests.few import few
from tests.tiny import assert_same_numbers, final_weights, make, masks_of

STEPS, POINT = 20, 7
Values = list[np.ndarray]


def build() -> keras.Model:
    """8-16-3 with batch normalisation, whose statistics are weights that are rewound too."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, name="hidden"),
            keras.layers.BatchNormalization(momentum=0.8, name="normalisation"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Dense(3, "softmax", name="output"),
        ]
    )


def warm_cosine() -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.CosineDecay(0.001, 16, alpha=0.1, warmup_target=0.05, warmup_steps=4)


def steps_down() -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.PiecewiseConstantDecay([6, 14], [0.2, 0.05, 0.01])


def adam() -> keras.Optimizer:
    return keras.optimizers.Adam(warm_cosine())


def momentum() -> keras.Optimizer:
    return keras.optimizers.SGD(steps_down(), momentum=0.9)


def averaged() -> keras.Optimizer:
    return keras.optimizers.Adam(warm_cosine(), use_ema=True, ema_momentum=0.8)


def search_of(rewind: str, **changes: Any) -> TicketSearch:
    return make(**{"build": build, "optimizer": adam, "rewind": rewind, "steps": STEPS, "levels": 2, **changes})


class ByHand:
    """The same search as a loop over Keras' `train_on_batch`, which knows nothing of this library but its masks."""

    def __init__(self, run: Run, optimizer: Any) -> None:
        self.run, self.make_optimizer = run, optimizer

    def train(
        self, level: int, weights: Values, optimizer: keras.Optimizer, start: int = 0, stop: int = STEPS
    ) -> tuple[Values, list[float]]:
        """Trains steps `start` + 1 to `stop` of a level; returns the weights and the losses."""
        model = self.run.ticket(level=level)
        mask = masks_of(self.run, 0, "winning_ticket", level)[level]
        kernels = {id(model.get_layer(name).kernel): mask[f"{name}/kernel"] for name in ("hidden", "output")}
        for variable, value in zip(plain(model), weights, strict=True):
            variable.assign(value * kernels.get(id(variable), 1))
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        else:  # the variables of another model
            values = [np.array(value) for value in optimizer.variables]
            optimizer = self.make_optimizer()
            optimizer.build(model.trainable_variables)
            for variable, value in zip(optimizer.variables, values, strict=True):
                variable.assign(value)
        self.optimizer, losses = optimizer, []
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=JIT)
        x, y = tiny.data()["train"]
        for batch in batch_order(len(x), 10, 0, "level", level).take(stop)[start:]:
            model.reset_metrics()
            losses.append(float(model.train_on_batch(x[batch], y[batch])))
        return [np.array(variable) for variable in plain(model)], losses

    def initial(self) -> Values:
        return [np.array(variable) for variable in plain(self.run.ticket(level=0))]

    def check(self, level: int, weights: Values) -> None:
        """Compares the weights with those that the search kept."""
        branch = "winning_ticket" if level else "dense"
        names = [f"{variable.path.split('/')[-2]}/{variable.name}" for variable in plain(self.run.ticket(level=0))]
        kept, mask = final_weights(self.run, 0, branch, level), masks_of(self.run, 0, "winning_ticket", level)[level]
        for name, value in zip(names, weights, strict=True):
            np.testing.assert_allclose(kept[name], value * mask.get(name, 1), atol=2e-5, err_msg=f"{level} {name}")


def plain(model: keras.Model) -> list[Any]:
    """The weights of a masked model without its masks and seeds."""
    return [variable for variable in model.variables if "mask" not in variable.name]


def found(rewind: str, optimizer: Any, out: Path) -> ByHand:
    return ByHand(search_of(rewind, optimizer=optimizer).run(out=out, keep_weights="all"), optimizer)


@few(
    ("rewind", "optimizer"),
    [("step:7", adam), ("epoch:1", momentum), ("step:7", momentum), ("epoch:1", adam)],
    ("step:7", adam),
)
def test_the_dense_network_is_restored_at_a_step(tmp_path: Path, rewind: str, optimizer: Any) -> None:
    hand = found(rewind, optimizer, tmp_path)
    point = POINT if rewind == "step:7" else 12
    weights, _ = hand.train(0, hand.initial(), optimizer(), 0, point)
    at_point = hand.optimizer
    state = hand.run.directory.read(0, "dense", 0, state=True).state  # type: ignore[union-attr]
    assert state is not None and state.step == point
    for stored, variable in zip(state.optimizer, at_point.variables, strict=True):
        np.testing.assert_allclose(stored, np.array(variable), atol=1e-5)
    values = [np.array(variable) for variable in at_point.variables]
    dense, _ = hand.train(0, weights, at_point, point)
    hand.check(0, dense)
    for level in (1, 2):
        at_point = optimizer()
        at_point.build(hand.run.ticket(level=0).trainable_variables)
        for variable, value in zip(at_point.variables, values, strict=True):
            variable.assign(value)
        for variable, value in zip(plain(hand.run.ticket(level=level)), weights, strict=True):
            if variable.name != "kernel":
                np.testing.assert_allclose(np.array(variable), value, atol=1e-5)
        final, losses = hand.train(level, weights, at_point, point)
        hand.check(level, final)
    curves = hand.run.dataset.isel(trial=0, branch=0).sel(level=2)
    steps = [step for step in (5, 10, 15, 20) if step > point]
    assert list(curves.step.values[np.isfinite(curves.train_loss)]) == steps
    first = np.mean(losses[: steps[0] - point])
    assert float(curves.train_loss.sel(step=steps[0])) == pytest.approx(first, rel=1e-4)


@few("optimizer", [adam, momentum], adam)
@few("rewind", ["learning_rate", "learning_rate:step:7", "fine_tune", "fine_tune:epoch:1", "none"], "fine_tune")
def test_the_weights_go_on_from_the_level_before(tmp_path: Path, rewind: str, optimizer: Any) -> None:
    hand = found(rewind, optimizer, tmp_path)
    weights, own = hand.initial(), optimizer()
    start = rewinding_of(rewind).step(12, STEPS)
    for level in (0, 1, 2):
        if level and rewind != "none":
            own = optimizer()
            own._learning_rate = _Moved(own._learning_rate, start, "fine" in rewind)
        weights, _ = hand.train(level, weights, own, start if level else 0)
        own = hand.optimizer
        hand.check(level, weights)


class _Moved(keras.optimizers.schedules.LearningRateSchedule):
    """The rates of a schedule from a step on, or its last one."""

    def __init__(self, schedule: Any, start: int, last: bool) -> None:
        self.schedule, self.start, self.last = schedule, start, last

    def __call__(self, step: Any) -> Any:
        return self.schedule(STEPS - 1 + 0 * step if self.last else self.start + step)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [adam, momentum])
def test_a_carried_step_count_goes_on_in_the_schedule(tmp_path: Path, optimizer: Any) -> None:
    run = search_of("init", optimizer=optimizer, carry_step_count=True).run(out=tmp_path, keep_weights="all")
    hand = ByHand(run, optimizer)
    for level in (0, 1, 2):
        own = optimizer()
        own.build(run.ticket(level=0).trainable_variables)
        own.iterations.assign(level * STEPS)
        hand.check(level, hand.train(level, hand.initial(), own)[0])


def test_step_0_is_the_beginning(tmp_path: Path) -> None:
    one, other = (search_of(rewind, levels=1).run(out=tmp_path, keep_weights="all") for rewind in ("init", "step:0"))
    assert one.directory.path != other.directory.path
    assert_same_numbers(other, one.dataset)


@few("rewind", ["step:7", "none", "learning_rate", "fine_tune:step:7"], "none")
@few("optimizer", [adam, averaged], averaged)
def test_levels_that_are_trained_again_have_the_same_bits(tmp_path: Path, rewind: str, optimizer: Any) -> None:
    run = search_of(rewind, optimizer=optimizer).run(out=tmp_path / "whole", keep_weights="all")
    copy = tmp_path / "cut" / run.directory.path.name
    shutil.copytree(run.directory.path, copy)
    (copy / "run.h5").unlink()
    for path in (copy / "levels" / "seed_0" / "winning_ticket").glob("*.h5"):
        if rewind != "none" or path.name != "level_01.h5":
            path.unlink()
    again = search_of(rewind, optimizer=optimizer).run(out=tmp_path / "cut", keep_weights="all")
    assert_same_numbers(again, run.dataset)
    for key, value in final_weights(run, 0, "winning_ticket", 2).items():
        np.testing.assert_array_equal(final_weights(again, 0, "winning_ticket", 2)[key], value)


def test_controls_of_a_rewound_search(tmp_path: Path) -> None:
    """A random mask is rewound like the ticket; newly drawn weights are trained from step 0."""
    run = search_of("step:7", levels=1).run(branches=tiny.ALL, out=tmp_path)
    state = run.directory.read(0, "dense", 0, state=True).state  # type: ignore[union-attr]
    assert state is not None
    masked = run.ticket(level=1, branch="random_mask")
    mask = run.directory.read(0, "random_mask", 1).mask  # type: ignore[union-attr]
    expected = state.weights["hidden/kernel"] * mask["hidden/kernel"]
    np.testing.assert_array_equal(np.array(masked.get_layer("hidden").kernel), expected)
    steps = run.dataset.isel(trial=0).sel(level=1).dropna("step", how="all", subset=["validation_loss"])
    missing = np.isnan(steps.validation_loss).sel(step=5)
    assert [bool(missing.sel(branch=branch)) for branch in tiny.ALL] == [True, False, True]
    plain = search_of("init", levels=1).run(branches=tiny.ALL[:2], out=tmp_path).dataset
    curve = run.dataset.validation_loss.sel(branch="random_reinit")
    np.testing.assert_array_equal(curve, plain.validation_loss.sel(branch="random_reinit"))


@pytest.mark.slow
def test_variants_compare_forms(tmp_path: Path) -> None:
    variants = {"late": {"rewind": "step:7"}, "tuned": {"rewind": "fine_tune"}}
    run = search_of("init", levels=1, variants=variants).run(branches=("winning_ticket", *variants), out=tmp_path)
    assert dict(zip(run.dataset.branch.values, run.dataset.rewind.values, strict=True)) == {
        "winning_ticket": "init",
        "late": "step:7",
        "tuned": "fine_tune",
    }
    dense = run.dataset.validation_loss.sel(level=0)
    for name in variants:
        np.testing.assert_array_equal(dense.sel(branch=name), dense.sel(branch="winning_ticket"))


def test_training_that_ends_before_the_step(tmp_path: Path) -> None:
    search = search_of("step:18", patience=1, optimizer=lambda: keras.optimizers.SGD(0.0), config={})
    with pytest.raises(LevelError, match="dense, level 0: expected a training that reaches step 18.*ended it at step"):
        search.run(out=tmp_path)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rewind": "step:-1"}, "Expected rewind to be one of 'init', 'step:K'.*Received: 'step:-1'"),
    ({"rewind": "step_500"}, "Expected rewind to be one of.*Received: 'step_500'"),
    ({"rewind": 7}, "Expected rewind to be one of.*Received: 7"),
    ({"rewind": "step:20"}, "Expected rewind to a step before the end of a training, 0 ... 19. Received: step 20"),
    ({"rewind": "epoch:2", "steps": None, "epochs": 2}, "0 ... 1. Received: epoch 2"),
    ({"rewind": "none", "when": "before_training"}, "Expected rewind='init' with when='before_training'"),
    ({"rewind": "none", "carry_step_count": True}, "Expected carry_step_count=False unless rewind='init'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[str(changes) for changes, _ in REFUSED])
def test_what_does_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_what_only_the_data_tell(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 ... 19. Received: epoch 2, which is step 24"):
        make(rewind="epoch:2").run(out=tmp_path)
    with pytest.raises(ValueError, match="Expected score_at in 7 ... 20.*Received: 3"):
        make(rewind="step:7", score_at=3).run(out=tmp_path)
    with pytest.raises(ValueError, match="without random_mask with rewind='none'.*criterion='random'"):
        make(rewind="none").run(branches=tiny.ALL, out=tmp_path)


def test_engines_that_train_whole_trainings_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="continue a training from the middle. Received: engine='compact'"):
        make(rewind="step:7", engine="compact", jit_compile=None).run(out=tmp_path)
    run = make(rewind="learning_rate", engine="compact", jit_compile=None, levels=1).run(out=tmp_path)
    assert run.directory.finished() == {(0, "dense", 0), (0, "winning_ticket", 1)}


def test_one_spelling_of_each() -> None:
    assert check_rewind("step:0500") == "step:500"
    assert check_rewind("fine_tune:step:0") == "fine_tune"
