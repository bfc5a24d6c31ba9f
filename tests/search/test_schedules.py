"""When and in how many shots masks are made: before training or level by level, and from which weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras import seeds
from lth_keras.criteria import Initialiser, State
from lth_keras.data.sampling import draw_samples
from lth_keras.masking import get_mask, mask_model, variables
from lth_keras.pruning.model_derivatives import ModelDerivatives
from lth_keras.pruning.oneshot import prune
from lth_keras.search.tasks import LevelError, Task, is_ready, pending_tasks, ready_together
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import ALL, Witness, assert_same_numbers, make, masks_of

jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only"
)

DENSITIES = (0.5, 0.2, 0.1)
LOSS = "sparse_categorical_crossentropy"
BEFORE: dict[str, Any] = {"rates": None, "densities": DENSITIES, "levels": 3, "when": "before_training"}
BEFORE |= {"scope": "global", "samples_per_class": 4}


def sample(seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = tiny.data()["train"]
    chosen = draw_samples(y, 4, 3, seeds.stream(seed, "samples"))
    return x[chosen], y[chosen]


def drawn_model(network: Network, seed: int) -> keras.Model:
    model = mask_model(tiny.build())
    for key, value in network.draw_weights(seed, "initial").items():
        variables(model)[key].assign(value)
    return model


@few(
    ("criterion", "shots", "schedule"),
    [("synflow", 20, "exponential"), ("snip", 3, "linear"), ("stacked(grasp,synflow)", 1, "exponential")],
    ("snip", 3, "linear"),
)
def test_masks_before_training_are_those_of_prune(
    network: Network, tmp_path: Path, criterion: str, shots: int, schedule: str
) -> None:
    search = make(network, criterion=criterion, shots=shots, shot_schedule=schedule, **BEFORE)
    run = search.run(2, out=tmp_path)
    for seed in (0, 1):
        model = drawn_model(network, seed)
        for level, density in enumerate(DENSITIES, start=1):
            pruned = prune(model, density, criterion, data=sample(seed), loss=LOSS, shots=shots, shot_schedule=schedule)
            found = run.directory.read(seed, "winning_ticket", level)
            assert found is not None and found.mask == found.next_mask == get_mask(pruned)
            assert found.mask.kept == round(176 * density)


@few("shot_schedule", ["exponential", "linear"], "linear")
def test_shots_at_the_end_of_a_level_score_what_the_one_before_left(
    network: Network, tmp_path: Path, shot_schedule: str
) -> None:
    seen: list[tuple[int, bool]] = []

    def own(state: State) -> dict[str, np.ndarray]:
        bias = (state.initial or {})["hidden/bias"]
        seen.append((state.mask.kept, np.array_equal(bias, state.final["hidden/bias"])))
        return {key: abs(state.final[key] * state.gradients[key]) for key in state.mask}

    changes = {**BEFORE, "densities": (0.5, 0.125), "levels": 2, "when": "after_training", "criterion": own}
    changes |= {"shots": 2, "shot_schedule": shot_schedule, "config": {"name": shot_schedule}}
    run = make(network, **changes).run(out=tmp_path)
    middle = {"exponential": (124, 44), "linear": (132, 55)}[shot_schedule]
    assert seen == [(176, False), (middle[0], False), (88, False), (middle[1], False)]
    masks = masks_of(run, 0, "winning_ticket", 2)
    assert [mask.kept for mask in masks] == [176, 88, 22] and masks[2].is_subset(masks[1])
    last = run.directory.read(0, "winning_ticket", 2)
    assert last is not None and last.next_mask == last.mask  # no density comes after it


def test_one_shot_to_a_density_is_what_rates_give(network: Network, tmp_path: Path) -> None:
    by_rates = make(network, rates=0.5, scope="global", criterion="snip").run(out=tmp_path)
    by_densities = make(network, rates=None, densities=(0.5, 0.25), levels=2, scope="global", criterion="snip")
    assert_same_numbers(by_densities.run(out=tmp_path), by_rates)


@pytest.mark.slow
def test_levels_before_training_are_the_same_in_any_order(network: Network, tmp_path: Path) -> None:
    search = make(network, criterion="snip", shots=2, **BEFORE)
    whole = search.run(2, ALL, tmp_path / "whole")
    back = tiny.prepare(make(network, criterion="snip", shots=2, **BEFORE), 2, ALL, tmp_path / "back")
    with back.directory.locked():
        for task in reversed(back.tasks()):
            search.train_level(back.directory, task)
    assert_same_numbers(search.run(2, ALL, tmp_path / "back"), whole)
    for level in (1, 2, 3):
        ticket, control = (whole.directory.read(0, name, level) for name in ("winning_ticket", "random_mask"))
        assert ticket is not None and control is not None
        assert control.mask.counts() == ticket.mask.counts() and control.mask != ticket.mask


def test_killed_and_resumed_before_training_nothing_differs(network: Network, tmp_path: Path) -> None:
    def search() -> Any:
        return make(network, criterion="grasp", shots=2, start="scores_as_weights(snip)", **BEFORE)

    whole = search().run(1, ALL, tmp_path / "whole", control_levels=(2,))
    witness = Witness("started", Task(0, "winning_ticket", 2))
    with pytest.raises(KeyboardInterrupt):
        search().run(1, ALL, tmp_path / "parts", control_levels=(2,), reporter=witness)
    assert_same_numbers(search().run(1, ALL, tmp_path / "parts", control_levels=(2,)), whole)
    controls = whole.dataset.density.sel(branch="random_mask").notnull().all("trial")
    np.testing.assert_array_equal(controls.sel(level=[1, 2, 3]), [False, True, False])


@pytest.mark.slow
def test_workers_train_levels_before_training_side_by_side(network: Network, tmp_path: Path) -> None:
    make_search = functools.partial(tiny.make, criterion="synflow", **BEFORE)
    witness = Witness()
    one = tiny.run(make_search, workers=2, out=tmp_path / "workers", reporter=witness)
    started, finished = ([kind for kind, _ in witness.events].index(kind) for kind in ("started", "finished"))
    assert started < finished
    assert_same_numbers(one, make(network, criterion="synflow", **BEFORE).run(out=tmp_path / "here"))


@jax_only
def test_all_levels_before_training_are_trained_in_one_batch(network: Network, tmp_path: Path) -> None:
    variants = {"ums": {"shots": 4, "criterion": "synflow"}, "iss": {"when": "after_training"}}
    changes = {**BEFORE, "criterion": "magnitude", "variants": variants}
    branches = ("winning_ticket", "ums", "iss")
    batched = make(engine="batched:16", **changes)
    witness = Witness()
    run = batched.run(2, branches, tmp_path / "batched", reporter=witness)
    first = [task for kind, task in witness.events[:16] if kind == "started"]
    assert len(first) == 16 and {task.level for task in first} == {0, 1, 2, 3}
    alone = make(network, engine="compiled", **changes).run(2, branches, tmp_path / "alone")
    for branch in ("winning_ticket", "ums"):
        assert masks_of(run, 1, branch, 3)[1:] == masks_of(alone, 1, branch, 3)[1:]
    np.testing.assert_allclose(run.dataset.train_loss[..., 0], alone.dataset.train_loss[..., 0], rtol=1e-4)


def test_variants_that_differ_in_masks_alone_share_the_dense_network(network: Network, tmp_path: Path) -> None:
    variants = {
        "uss": {"when": "before_training", "criterion": "snip"},
        "new_weights": {"when": "before_training", "start": "bimodal(snip)"},
        "iss": {"criterion": "snip"},
    }
    changes = {**BEFORE, "when": "after_training", "variants": variants}
    search = make(network, **changes)
    assert search.share_dense == {"uss"} and search.independent == {"uss", "new_weights"}
    run = search.run(1, tuple(variants), tmp_path)
    own = {branch for _, branch, level in run.directory.finished() if level == 0}
    assert own == {"dense", "new_weights", "iss"}
    accuracy = run.dataset.test_accuracy_final.sel(level=0, trial=0)
    assert accuracy.notnull().all() and accuracy.sel(branch="uss") == accuracy.sel(branch="iss")
    assert get_mask(run.ticket(0, 0, branch="uss")).density == 1


@few("drawn", [True, False], True)
def test_trials_start_from_the_weights_that_are_made_and_masks_are_of_either(
    network: Network, tmp_path: Path, drawn: bool
) -> None:
    name = "scores_as_weights(snip,global)"
    search = make(network, criterion="magnitude", start=name, masks_of_drawn=drawn, **BEFORE)
    run = search.run(out=tmp_path)
    model = drawn_model(network, 0)
    weights = dict(network.draw_weights(0, "initial"))
    derivatives = ModelDerivatives(model, LOSS).on(functools.partial(sample, 0))
    made = Initialiser(name)(State(weights, get_mask(model), seeds.stream(0), weights, derivatives))
    ticket = run.ticket(0, 2)
    mask = get_mask(ticket)
    for key, variable in variables(ticket).items():
        expected = made[key] * mask[key] if key in mask else made[key]
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-5)
    for key in made:
        variables(model)[key].assign(weights[key] if drawn else made[key])
    assert mask == get_mask(prune(model, 0.2))


@pytest.mark.slow
def test_a_network_that_is_cut_through_is_trained_as_it_is_where_asked(network: Network, tmp_path: Path) -> None:
    def only_hidden(state: State) -> dict[str, np.ndarray]:
        return {key: np.full(kept.shape, "hidden" in key, float) for key, kept in state.mask.items()}

    changes = {**BEFORE, "criterion": only_hidden, "min_per_layer": 0}
    for schedule, shots in (("before_training", 1), ("after_training", 2)):
        asked: dict[str, Any] = {**changes, "when": schedule, "shots": shots, "config": {"name": schedule}}
        with pytest.warns(UserWarning, match="Layer collapse"):
            run = make(network, cut_through="train", confusion=True, **asked).run(out=tmp_path)
        cut = run.dataset.isel(trial=0, branch=0).sel(level=3)
        assert cut.weight_density.sel(weight="output/kernel") == 0 and cut.density == round(17.6) / 176
        said = run.dataset.test_confusion.isel(trial=0, branch=0, step=-1).sel(level=3).sum("true")
        assert (said > 0).sum() == 1  # the same of every example
    with pytest.raises(LevelError, match="In trial 0, winning_ticket, level 1: .*the network is cut through"):
        make(network, config={"name": "refused"}, **changes).run(out=tmp_path)


def test_where_nothing_passes_masks_are_random_if_asked(network: Network, tmp_path: Path) -> None:
    def dead(state: State) -> dict[str, np.ndarray]:
        final = {**state.final, "output/bias": np.array([1e6, -1e6, -1e6], "float32")}
        return dict(State(final, state.mask, state.generator, None, state.derivatives, state.criterion).gradients)

    x, y = tiny.data()["train"]
    data = {**tiny.data(), "train": (x, np.zeros_like(y))}
    changes = {**BEFORE, "criterion": dead, "data": data}
    with pytest.raises(LevelError, match="In trial 0, winning_ticket, level 1: Criterion 'dead'.*nothing passes"):
        make(network, config={"name": "refused"}, **changes).run(out=tmp_path)
    run = make(network, config={"name": "dead"}, cut_through="train", **changes).run(out=tmp_path)
    assert [mask.kept for mask in masks_of(run, 0, "winning_ticket", 3)] == [176, 88, 35, 18]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": None}, "Expected rates or densities"),
        ({"densities": (0.5, 0.2)}, "Expected rates or densities"),
        ({"rates": None, "densities": (0.5, 0.6)}, "densities that fall from level to level"),
        ({"rates": None, "densities": (0.5, 0)}, r"densities in \(0, 1\]"),
        ({"levels": None}, "Expected levels, the number of prunings, beside rates"),
        ({"rates": None, "densities": (0.5,), "levels": 2}, "Expected a density for each of 2 levels"),
        ({"when": "later"}, "Expected when to be one of"),
        ({"shots": 0}, "Expected shots to be at least 1"),
        ({"shot_schedule": "steep"}, "Expected schedule to be one of 'exponential', 'linear'"),
        ({"when": "before_training", "score_at": 3}, "Expected score_at=None"),
        ({"start": "snip"}, r"Expected start to be one of .*Received: 'snip'"),
        ({"start": "bimodal(snap)"}, "Expected a criterion.*Received: 'snap'"),
        ({"masks_of_drawn": True}, "Expected masks_of_drawn=False unless"),
        ({"cut_through": "ignore"}, "Expected cut_through to be one of"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_what_is_wrong_with_a_variant_shows_before_training(network: Network, tmp_path: Path) -> None:
    search = make(network, variants={"fewer": {"rates": None, "densities": (0.5,)}})
    witness = Witness()
    with pytest.raises(ValueError, match="Expected a density for each of 2 levels"):
        search.run(1, ("winning_ticket", "fewer"), tmp_path, reporter=witness)
    assert witness.events == []


def test_there_are_as_many_levels_as_densities() -> None:
    assert make(rates=None, densities=DENSITIES, scope="global", levels=None).levels == 3
    assert make(rates=None, densities=DENSITIES, scope="global", levels=2).levels == 2


def test_independent_tasks_wait_for_nothing_and_share_the_dense_network() -> None:
    pending = pending_tasks((), [0], ("winning_ticket", "uss"), 2, share_dense={"uss"})
    assert [task for task in pending if task.level == 0] == [Task(0, "dense", 0)]
    uss = [task for task in pending if task.branch == "uss"]
    assert all(is_ready(task, (), {"uss"}) for task in uss) and not any(is_ready(task, ()) for task in uss[1:])
    assert ready_together(pending, (), 9, {"uss"}) == [Task(0, "dense", 0), *uss]
