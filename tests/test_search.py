"""The level loop: what it trains, that it resumes bit for bit, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import xarray

from lth_keras.network import Network
from lth_keras.results import InUseError, RunDirectory, open_run
from lth_keras.run import Run
from lth_keras.search import TicketSearch
from lth_keras.tasks import LevelError, Task, pending_tasks
from tests import tiny
from tests.tiny import ALL, Witness, assert_same_numbers, final_weights, make, masks_of

jax_only = pytest.mark.skipif(keras.backend.backend() != "jax", reason="tickets are trained together on JAX only")

SEEDS, LEVELS = (0, 1), 3


@pytest.fixture(scope="module")
def network() -> Network:
    """One compiled network for all searches of this module."""
    return make().network


@pytest.fixture(scope="module")
def run(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two trials, three levels, all branches, never interrupted, all weights kept."""
    search = make(network, levels=LEVELS)
    return search.run(len(SEEDS), ALL, tmp_path_factory.mktemp("run"), keep_weights="all")


# What is trained


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


VARIANTS = {
    "early": {"score_at": 7},
    "first": {"score_at": 0},
    "other data": {"data": {name: (10 * x, y) for name, (x, y) in tiny.data().items()}},
    "other optimizer": {"optimizer": lambda: keras.optimizers.SGD(0.1)},
}


@pytest.mark.parametrize("vectorize", [1, pytest.param(4, marks=jax_only)])
def test_a_variant_is_the_search_with_its_changes(tmp_path, vectorize):
    """In the same run: with the same numbers as alone, its own level 0, and its own masks."""
    branches = ("winning_ticket", "random_mask", *VARIANTS)
    whole = tiny.make(variants=VARIANTS, config={"name": "whole"}, vectorize=vectorize).run(2, branches, tmp_path)
    assert whole.dataset.branch.values.tolist() == ["winning_ticket", "random_mask", *sorted(VARIANTS)]
    for name, changes in {"winning_ticket": {}, **VARIANTS}.items():
        alone = tiny.make(**changes, config={"name": name}, vectorize=vectorize).run(2, out=tmp_path / name)
        expected = tiny.numbers(alone).sel(branch="winning_ticket", drop=True).drop_vars("mask_overlap")
        own = ["score_at", "mask_overlap"]  # what it has beside the winning ticket
        received = tiny.numbers(whole).sel(branch=name, drop=True).drop_vars(own, errors="ignore")
        (xarray.testing.assert_equal if vectorize == 1 else xarray.testing.assert_allclose)(received, expected)
        assert masks_of(whole, 1, name, 2)[1:] == masks_of(alone, 1, "winning_ticket", 2)[1:]
    assert json.loads(whole.dataset.attrs["own_dense"]) == sorted(VARIANTS)
    shown = whole.dataset.score_at if "score_at" in whole.dataset.coords else None
    assert shown is None, "not all variants have a number there"


def test_numbers_that_variants_differ_in_are_coordinates(tmp_path):
    variants = {name: VARIANTS[name] for name in ("early", "first")}
    search = tiny.make(variants=variants, config={"name": "coordinates"})
    dataset = search.run(branches=("winning_ticket", *variants), out=tmp_path).dataset
    np.testing.assert_array_equal(dataset.score_at, [np.nan, 7, 0])
    assert dataset.score_at.dims == ("branch",)
    only = search.run(branches=("first",), out=tmp_path / "only").dataset  # no winning ticket is needed
    assert only.branch.values.tolist() == ["first"] and float(only.score_at[0]) == 0
    assert (tmp_path / "only").exists() and not list((tmp_path / "only").glob("*/levels/*/dense"))


def test_variants_share_a_program_where_they_can():
    search = tiny.make(variants=VARIANTS)
    networks = {name: search.of(name).network for name in VARIANTS}
    assert networks["early"] is networks["first"] is networks["other data"] is search.network
    assert networks["other optimizer"] is not search.network
    assert search.of("winning_ticket") is search and search.of("early") is search.of("early")


@pytest.mark.parametrize(
    "variants", [{"random_mask": {}}, {"dense": {}}, {"more": {"levels": 3}}, {"unknown": {"nothing": 1}}]
)
def test_variants_that_mean_nothing_are_refused(variants):
    with pytest.raises(ValueError, match="Expected variants with names of their own"):
        tiny.make(variants=variants)
    with pytest.raises(ValueError, match=r"Expected branches out of .*'early'.*Received: \['late'\]"):
        tiny.make(variants=VARIANTS).run(branches=("late",))


def only_in_the_first_training() -> keras.Optimizer:
    """Learns for 20 updates, which is a training's length here, and never again."""
    return keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([20], [0.1, 0.0]))


@pytest.mark.parametrize("vectorize", [1, pytest.param(3, marks=jax_only)])
def test_the_count_of_updates_goes_on_where_it_is_asked_to(tmp_path, vectorize):
    """From level to level, in controls too; by default each level begins anew."""

    def learned(carry: bool, branch: str, level: int) -> bool:
        parameters = {"optimizer": only_in_the_first_training, "vectorize": vectorize, "config": {"carry": carry}}
        run = make(carry_step_count=carry, levels=1, **parameters).run(1, ALL, tmp_path, keep_weights="all")
        curve = run.dataset.validation_loss.sel(branch=branch, level=level).isel(trial=0).values
        return len(set(curve)) > 1

    assert learned(True, "winning_ticket", 0) and learned(False, "winning_ticket", 0)
    for branch in ALL:
        assert learned(False, branch, 1) and not learned(True, branch, 1)


@pytest.mark.parametrize("vectorize", [1, pytest.param(2, marks=jax_only)])
def test_with_patience_a_training_is_one_of_fewer_steps(tmp_path, vectorize):
    """Each ends where its validation loss has not fallen for so long: as if it had been asked for so many steps."""
    parameters = {"levels": 1, "optimizer": lambda: keras.optimizers.Adam(0.3), "vectorize": vectorize}
    kept = {"trials": 2, "keep_weights": "all"}
    patient = make(patience=3, steps=400, test_every=100, **parameters).run(out=tmp_path, **kept)
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
                short = make(steps=end, test_every=100, **parameters).run(out=tmp_path / str(end), **kept)
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


@pytest.mark.parametrize("vectorize", [1, pytest.param(3, marks=jax_only)])
def test_scores_are_of_the_weights_at_a_step(tmp_path, vectorize):
    """Of a training that goes on to its end; 0 is before it, and the last step is the default."""

    def run(out, **changes):
        search = tiny.make(levels=1, config={"name": str(changes)}, vectorize=vectorize, **changes)
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
    shorter = tiny.make(levels=1, steps=7, config={"name": "shorter"}, vectorize=vectorize)
    assert masks[3] == tiny.masks_of(shorter.run(out=tmp_path / "shorter"), 0, "winning_ticket", 1)[1]
    assert masks[0] != masks[2] and masks[0] != masks[3] and masks[2] != masks[3]
    with pytest.raises(ValueError, match=r"score_at in 0 ... 20.*Received: 21"):
        run("beyond", score_at=21)


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


@pytest.mark.parametrize("changes", [{"scope": "global", "rates": 0.9}, {"rates": {"dense": 0.9, "output": 0.9}}])
def test_every_layer_keeps_a_weight_however_deep(network: Network, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = make(network, levels=5, steps=5, **changes).run(branches=ALL, out=tmp_path)
    for branch in ALL:
        assert masks_of(run, 0, branch, 5)[5].counts() == {"hidden/kernel": 1, "output/kernel": 1}


def test_a_layer_without_rate_stays_dense(network: Network, tmp_path: Path) -> None:
    run = make(network, rates={"dense": 0.5, "output": 0}, levels=1).run(out=tmp_path)
    assert masks_of(run, 0, "winning_ticket", 1)[1].counts() == {"hidden/kernel": 64, "output/kernel": 48}


# The same numbers


def test_controls_at_some_levels_have_the_numbers_of_controls_at_all(
    run: Run, network: Network, tmp_path: Path
) -> None:
    """Also where more levels are asked for later, above and below those that are there."""
    some = make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all", control_levels=(2,))
    assert np.isnan(some.dataset.density.sel(branch="random_mask", level=[1, 3])).all()
    assert_same_numbers(make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all"), run)


@pytest.mark.parametrize("levels", [(0,), (1, LEVELS + 1)])
def test_controls_at_no_level_of_the_search(network: Network, tmp_path: Path, levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"control_levels in 1 ... {LEVELS}. Received"):
        make(network, levels=LEVELS).run(1, ALL, tmp_path, control_levels=levels)


def test_everything_is_traced_once(run: Run, network: Network) -> None:
    """For all levels, branches and trials: a second trace would cost memory at every level."""
    assert network._program.traces == 1
    assert run.dataset.sizes["level"] == LEVELS + 1


def test_the_same_search_gives_the_same_bits(run: Run, network: Network, tmp_path: Path) -> None:
    again = make(network, levels=LEVELS).run(len(SEEDS), ALL, tmp_path, keep_weights="all")
    assert_same_numbers(again, run)
    for task in pending_tasks((), SEEDS, ALL, LEVELS):
        weights = final_weights(again, *task)
        for key, value in final_weights(run, *task).items():
            np.testing.assert_array_equal(value, weights[key])


def test_asked_again_it_trains_nothing(network: Network, tmp_path: Path) -> None:
    search, witness = make(network), Witness()
    first = search.run(out=tmp_path)
    assert_same_numbers(search.run(out=tmp_path, reporter=witness), first)
    assert not witness.events


TASKS = pending_tasks((), [0], ALL, 2)


INTERRUPTIONS = [("finished", task) for task in TASKS] + [("advanced", TASKS[i]) for i in (0, 1, 5)]


@pytest.mark.parametrize("kind, task", INTERRUPTIONS, ids=str)
def test_interrupted_anywhere_and_resumed_nothing_differs(
    run: Run, network: Network, tmp_path: Path, kind: str, task: Task
) -> None:
    search, first = make(network), Witness(kind, task)
    with pytest.raises(KeyboardInterrupt):
        search.run(branches=ALL, out=tmp_path, reporter=first)
    before = TASKS.index(task) + (kind == "finished")
    assert first.tasks("finished") == TASKS[:before]
    assert len(list(tmp_path.glob("*/run.h5"))) == (before > 0)
    second = Witness()
    resumed = make(network).run(branches=ALL, out=tmp_path, reporter=second)
    assert second.tasks("started") == second.tasks("finished") == TASKS[before:]
    assert_same_numbers(resumed, expected_of(run, 1, 2))


def expected_of(run: Run, trials: int, levels: int, branches: tuple[str, ...] = ALL) -> Any:
    """The part of the whole run that a smaller one has."""
    return run.dataset.isel(trial=slice(trials), level=slice(levels + 1)).sel(branch=list(branches))


def test_more_trials_branches_and_levels_change_no_other_numbers(run: Run, network: Network, tmp_path: Path) -> None:
    seen: dict[Path, bytes] = {}
    branches = ("winning_ticket", "random_mask")
    for trials, asked, levels in ((1, branches[:1], 1), (1, branches[:1], 2), (2, branches, 2), (2, ALL, LEVELS)):
        grown = make(network, levels=levels).run(trials, asked, tmp_path)
        assert_same_numbers(grown, expected_of(run, trials, levels, asked))
        files = {path: path.read_bytes() for path in grown.directory.path.rglob("level_*.h5")}
        assert seen.items() <= files.items(), "a finished level was written again"
        seen = files


def test_a_run_made_without_confusion_matrices_goes_on_with_them(run: Run, network: Network, tmp_path: Path) -> None:
    """Which change no other number; levels made before have none."""
    make(network, levels=1, config={"name": "older"}).run(len(SEEDS), ALL, tmp_path)
    search = make(network, levels=LEVELS, config={"name": "older"}, confusion=True)
    resumed = search.run(len(SEEDS), ALL, tmp_path).dataset
    added = [name for name in resumed.data_vars if name not in run.dataset]
    assert "test_confusion" in added and all(name == "test_confusion" or "_m" in str(name) for name in added)
    assert_same_numbers(resumed.drop_vars([*added, "true", "predicted"]), run.dataset)
    assert (resumed.test_confusion.sel(level=[0, 1]) == -1).all()
    assert np.isnan(resumed.test_f1_macro.sel(level=[0, 1])).all()
    tested = resumed.sel(level=slice(2, None)).dropna("step", subset=["test_accuracy"])
    assert (tested.test_confusion.sum(("true", "predicted")) == 40).all()
    for name in ("precision", "recall", "f1"):
        np.testing.assert_allclose(tested[f"test_{name}_micro"], tested.test_accuracy, rtol=1e-6)


def test_a_search_of_one_trial_is_the_same_as_that_trial_of_many(run: Run, network: Network, tmp_path: Path) -> None:
    alone = make(network, levels=LEVELS, seed=1).run(1, ALL, tmp_path)
    assert_same_numbers(alone, run.dataset.isel(trial=[1]))


@pytest.mark.parametrize(
    "task", [Task(0, "dense", 0), Task(0, "winning_ticket", 1), Task(0, "random_mask", 1)], ids=str
)
def test_a_truncated_level_is_named_set_aside_and_trained_again(
    run: Run, network: Network, tmp_path: Path, task: Task
) -> None:
    directory = make(network).run(branches=ALL, out=tmp_path).directory
    path = directory.level_path(*task)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    witness = Witness()
    with pytest.warns(UserWarning, match=f"{re.escape(path.name)}.*Set aside as 'level_0{task.level}.h5.damaged'"):
        again = make(network).run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("started") == [task]
    assert path.with_name(path.name + ".damaged").read_bytes() == whole[: len(whole) // 2]
    assert_same_numbers(again, expected_of(run, 1, 2))


def test_an_interrupted_change_of_trials_does_not_mix_them(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the data of trial 1 came and before its weights did, then asked for trial 0 again."""

    def interrupted(*names: Any) -> Any:
        raise KeyboardInterrupt

    search = make(network, data=tiny.data, config={"name": "mixed"})
    expected = search.run(out=tmp_path / "expected")
    monkeypatch.setattr(network, "draw_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.run(2, out=tmp_path / "expected")
    monkeypatch.undo()
    assert_same_numbers(search.run(out=tmp_path / "received"), expected)


# What a search takes


def test_epochs_are_passes_of_full_batches(network: Network, tmp_path: Path) -> None:
    by_epochs = make(network, steps=None, epochs=2, levels=1).run(out=tmp_path)
    assert by_epochs.dataset.step.values.tolist() == [5, 10, 15, 20, 24]
    assert_same_numbers(by_epochs, make(network, steps=24, levels=1).run(out=tmp_path))


def test_data_come_as_a_dict_an_object_or_a_function_of_the_seed(network: Network, tmp_path: Path) -> None:
    asked: list[int] = []

    def draw(seed: int) -> Any:
        asked.append(seed)
        return tiny.data(seed)

    def run(data: Any, **changes: Any) -> Run:
        return make(network, data=data, levels=0, **changes).run(changes.pop("trials", 1), out=tmp_path)

    expected = run(tiny.data(1))
    assert_same_numbers(run(SimpleNamespace(**tiny.data(1))), expected)
    drawn = make(network, data=draw, levels=0, config={"name": "drawn"}).run(2, out=tmp_path)
    assert asked == [0, 1]
    assert_same_numbers(
        drawn.dataset.isel(trial=[1]), make(network, data=tiny.data(1), levels=0, seed=1).run(out=tmp_path)
    )
    assert not drawn.dataset.train_loss[0].equals(drawn.dataset.train_loss[1])


@pytest.fixture
def set_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Hears which threads are set; TensorFlow would refuse them, now that it has run."""
    heard: list[int] = []
    monkeypatch.setattr("lth_keras.search.set_threads", heard.append)
    yield heard


def test_threads_are_set_before_a_model_exists(set_threads: list[int], tmp_path: Path) -> None:
    """TensorFlow refuses them after: with `config=None` the identity builds a model too."""
    built_with: list[list[int]] = []

    def build() -> keras.Model:
        built_with.append(list(set_threads))
        return tiny.build()

    make(build=build, threads=2).prepare(1, ALL, tmp_path, "none")
    assert built_with and all(threads == [2] for threads in built_with)


def test_threads_are_recorded_and_others_refused(set_threads: list[int], tmp_path: Path) -> None:
    directory, *_ = make(threads=2).prepare(1, ALL, tmp_path, "none")
    assert directory.threads == 2
    assert make(threads=2).prepare(1, ALL, tmp_path, "none")[0].path == directory.path
    for other in (1, None):
        with pytest.raises(ValueError, match=f"made with.*(received 1|Received: threads={other})"):
            make(threads=other).prepare(1, ALL, tmp_path, "none")


# What goes wrong


def test_a_loss_that_is_not_finite_is_named_and_finished_levels_are_kept(
    run: Run, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = network.draw_weights

    def poisoned(seed: int, *names: str | int) -> dict[str, np.ndarray]:
        poison = np.float32(np.nan if names == ("random_reinit", 2) else 0)
        return {key: value + poison for key, value in draw(seed, *names).items()}

    monkeypatch.setattr(network, "draw_weights", poisoned)
    witness = Witness()
    search = make(network)
    message = "In trial 0, random_reinit, level 2: The training loss is not finite.* at step 1[. ].*levels are kept in"
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("finished") == TASKS[:5]
    monkeypatch.undo()
    path = search.prepare(1, ALL, tmp_path, "none")[0].path
    kept = expected_of(run, 1, 2).copy(deep=True)
    kept.test_accuracy_final[0, 1:, 2] = np.nan
    np.testing.assert_array_equal(open_run(path).test_accuracy_final, kept.test_accuracy_final)
    assert_same_numbers(search.run(branches=ALL, out=tmp_path), expected_of(run, 1, 2))


def test_a_network_that_is_cut_through_is_named_and_finished_levels_are_kept(network: Network, tmp_path: Path) -> None:
    """The output layer has 48 weights: 5 at level 1, none at level 2."""
    search = make(network, rates={"dense": 0.2, "output": 0.9}, levels=4, min_per_layer=0)
    first, second = Witness(), Witness()
    message = (
        r"In trial 0, winning_ticket, level 2: .*no weight left in output/kernel, at density 0.466, and no way around.*"
        r"Keep min_per_layer at 1.*levels are kept in"
    )
    with (
        pytest.raises(LevelError, match=message),
        pytest.warns(UserWarning, match="Layer collapse: no weight is left in output/kernel"),
    ):
        search.run(branches=ALL, out=tmp_path, reporter=first)
    finished = pending_tasks((), [0], ALL, 1)
    assert first.tasks("finished") == finished
    (path,) = tmp_path.iterdir()
    kept = open_run(path)
    assert kept.sizes["level"] == 2 and np.isfinite(kept.test_accuracy_final).all()
    # Asked again it says the same and trains nothing; asked for the levels that there are, it has them.
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=second)
    assert second.events == []
    shallow = make(network, rates={"dense": 0.2, "output": 0.9}, levels=1, min_per_layer=0)
    assert shallow.identity == search.identity
    assert_same_numbers(shallow.run(branches=ALL, out=tmp_path, reporter=second), kept)
    assert second.events == []


@pytest.mark.parametrize("rates, scope, level", [(0.95, "layer", 2), (0.999, "global", 1)])
def test_where_no_weight_is_left_at_all_the_level_before_is_kept(
    network: Network, tmp_path: Path, rates: float, scope: str, level: int
) -> None:
    search, witness = make(network, levels=3, min_per_layer=0, rates=rates, scope=scope), Witness()
    message = rf"winning_ticket, level {level}: .*no weight left in hidden/kernel, output/kernel, at density 0,"
    with pytest.raises(LevelError, match=message):
        search.run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("finished") == pending_tasks((), [0], ALL, level - 1)
    assert open_run(next(tmp_path.iterdir())).sizes["level"] == level


def residual() -> keras.Model:
    """8-16-3, with a bottleneck of 16 + 16 weights beside a skip connection."""
    hidden = keras.layers.Dense(16, "relu", name="hidden")(x := keras.Input((8,)))
    beside = keras.layers.Dense(16, name="wide")(keras.layers.Dense(1, name="narrow")(hidden))
    return keras.Model(x, keras.layers.Dense(3, "softmax", name="output")(hidden + beside))


def test_a_collapsed_layer_that_something_goes_around_is_no_error(tmp_path: Path) -> None:
    search = make(build=residual, rates={"dense": 0.9, "output": 0.0}, levels=2, min_per_layer=0)
    with pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"):
        run = search.run(branches=ALL, out=tmp_path)
    expected = {"hidden/kernel": 1, "narrow/kernel": 0, "wide/kernel": 0, "output/kernel": 48}
    for branch in ALL:
        assert masks_of(run, 0, branch, 2)[2].counts() == expected
    assert np.isfinite(run.dataset.test_accuracy_final).all()


BAD_SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "rate of 1": ({"rates": 1.0}, r"Expected rates in \[0, 1\).*Received: 1.0"),
    "negative rate": ({"rates": {"dense": -0.1, "output": 0.1}}, r"Expected rates in \[0, 1\).*-0.1"),
    "NaN rate": ({"rates": float("nan")}, r"Expected rates in \[0, 1\)"),
    "rates in global scope": ({"scope": "global"}, "Expected one rate for global scope"),
    "rates in ERK scope": ({"scope": "erk"}, "Expected one rate for erk scope"),
    "samples": ({"samples_per_class": 0}, "Expected samples_per_class to be at least 1. Received: 0"),
    "scope": ({"scope": "model"}, "Expected scope to be one of 'layer', 'global', 'uniform', 'erk'. Received: 'model'"),
    "criterion": ({"criterion": "magnitud"}, "Expected a criterion: one of 'magnitude'.*Received: 'magnitud'"),
    "rewind": ({"rewind": "late"}, "Expected rewind to be one of.*Received: 'late'"),
    "steps and epochs": ({"epochs": 2}, "Expected steps or epochs. Received: steps=20, epochs=2"),
    "neither": ({"steps": None}, "Expected steps or epochs. Received: steps=None, epochs=None"),
    "no step": ({"steps": 0}, "Expected steps to be at least 1. Received: 0"),
    "negative levels": ({"levels": -1}, "Expected levels to be at least 0. Received: -1"),
    "empty batch": ({"batch_size": 0}, "Expected batch_size to be at least 1. Received: 0"),
    "negative seed": ({"seed": -1}, "Expected seed to be at least 0. Received: -1"),
    "no thread": ({"threads": 0}, "Expected threads to be at least 1. Received: 0"),
    "negative minimum": ({"min_per_layer": -1}, "Expected min_per_layer to be at least 0. Received: -1"),
    "test cadence": ({"test_every": 12}, "multiple of evaluate_every .5 steps.. Received: 12"),
}


@pytest.mark.parametrize("what", BAD_SEARCHES)
def test_parameters_that_mean_nothing_are_refused(what: str) -> None:
    changes, message = BAD_SEARCHES[what]
    with pytest.raises(ValueError, match=message):
        make(**changes)


BAD_RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "no trial": ({"trials": 0}, "Expected at least 1 trial. Received: 0"),
    "branch": ({"branches": ("winning_ticket", "lost")}, "Expected branches out of.*Received: .*'lost'"),
    "no winning ticket": ({"branches": ("random_mask",)}, "'winning_ticket' among them"),
    "keep_weights": (
        {"keep_weights": "some"},
        r"keep_weights to be one of \('none', 'last', 'all'\). Received: 'some'",
    ),
}


@pytest.mark.parametrize("what", BAD_RUNS)
def test_runs_that_mean_nothing_are_refused_and_leave_nothing(network: Network, tmp_path: Path, what: str) -> None:
    arguments, message = BAD_RUNS[what]
    with pytest.raises(ValueError, match=message):
        make(network).run(**{"out": tmp_path, **arguments})
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_shows_before_anything_is_trained(network: Network, tmp_path: Path) -> None:
    x, y = tiny.data()["train"]
    bad: tuple[tuple[TicketSearch, type[Exception], str], ...] = (
        (make(rates={"dense": 0.2}), ValueError, "'output/kernel' is of kind 'output'; add a rate"),
        (make(rates={"dense": 0.2, "hidden": 0.1, "output": 0.1}), ValueError, "Received: 'hidden'"),
        (make(build=lambda: "model"), TypeError, "Expected build.. to return a keras.Model. Received: str"),
        (make(build=lambda: keras.Sequential([keras.layers.Dense(3)])), ValueError, "is not built"),
        (make(optimizer=lambda: "adam"), TypeError, "Expected optimizer.. to return a keras.Optimizer"),
        (make(network, data={"train": (x, y)}), ValueError, "Expected data with"),
        (make(network, data={**tiny.data(), "train": (x, y + 1)}), ValueError, "Expected labels in 0"),
        (make(network, data={**tiny.data(), "train": (x[:9], y[:9])}), ValueError, "Expected at least one batch of 10"),
    )
    for search, error, message in bad:
        with pytest.raises(error, match=message):
            search.run(out=tmp_path)
    assert not list(tmp_path.rglob("level_*"))


def test_a_second_search_in_the_same_directory_is_refused(network: Network, tmp_path: Path) -> None:
    """For as long as the first one runs, to the last byte of run.h5."""

    class Second(Witness):
        def _hear(self, kind: str, task: Task) -> None:
            super()._hear(kind, task)
            with pytest.raises(InUseError, match="in use by process"):
                make(network).run(out=tmp_path)

    witness = Second()
    whole = make(network).run(out=tmp_path, reporter=witness)
    assert witness.tasks("started") == witness.tasks("finished") == pending_tasks((), [0], ("winning_ticket",), 2)
    with RunDirectory.load(whole.directory.path).locked(), pytest.raises(InUseError):
        make(network).run(out=tmp_path)
    assert_same_numbers(make(network).run(out=tmp_path), whole)


def test_a_directory_that_cannot_be_written_is_named(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError, match="Expected: an output directory that can be written.*file"):
        make(network).run(out=tmp_path / "file")


def test_weights_that_are_not_finite_are_named_though_the_loss_hides_them(monkeypatch, tmp_path):
    def train(self, *arguments, **options):
        curves = original(self, *arguments, **options)
        weights = dict(self.weights)
        weights["hidden/kernel"][0, 0] = np.nan
        self.weights = weights
        return curves

    original = Network.train
    monkeypatch.setattr(Network, "train", train)
    with pytest.raises(LevelError, match=r"trial 0, dense, level 0.*hidden/kernel"):
        tiny.make().run(out=tmp_path)
