"""Searches that train tickets together: the search one by one, resumed, and compiled once."""

import keras
import numpy as np
import pytest
import xarray

from lth_keras.search.runner import run
from lth_keras.search.tasks import LevelError, Task
from lth_keras.storage import RunDirectory
from lth_keras.training.together import Together
from tests import tiny

ON_JAX = keras.backend.backend() == "jax"
jax_only = pytest.mark.skipif(not ON_JAX, reason="tickets are trained together on JAX only: KERAS_BACKEND=jax")


@pytest.mark.skipif(ON_JAX, reason="what other backends say")
def test_a_width_that_cannot_be_is_not_recorded(tmp_path):
    with pytest.raises(ValueError, match=r"Expected Keras on JAX.*vectorize=4"):
        search(vectorize=4).run(1, out=tmp_path)
    assert not list(tmp_path.iterdir())
    search(vectorize=1).run(1, out=tmp_path)


CONFIG = {"name": "together"}


def search(**changes):
    return tiny.make(**{"data": tiny.data, "config": CONFIG, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two trials and three branches, four at a time, never interrupted."""
    return search(vectorize=4).run(2, tiny.ALL, tmp_path_factory.mktemp("together"), keep_weights="all")


@jax_only
def test_trials_of_the_same_data_have_their_own_weights(tmp_path):
    one, other = (
        search(data=tiny.data(), vectorize=n).run(2, tiny.ALL, tmp_path / str(n), keep_weights="all") for n in (4, 1)
    )
    xarray.testing.assert_allclose(tiny.numbers(one), tiny.numbers(other), rtol=1e-4)
    assert tiny.masks_of(one, 1, "winning_ticket", 2) == tiny.masks_of(other, 1, "winning_ticket", 2)


@jax_only
def test_a_search_together_is_the_search_one_by_one(whole, tmp_path):
    lone = search(vectorize=1).run(2, tiny.ALL, tmp_path, keep_weights="all")
    xarray.testing.assert_allclose(tiny.numbers(whole), tiny.numbers(lone), rtol=1e-4)
    for seed in (0, 1):
        for branch in tiny.ALL:
            assert tiny.masks_of(whole, seed, branch, 2) == tiny.masks_of(lone, seed, branch, 2)
            final = tiny.final_weights(whole, seed, branch, 2)
            for key, value in tiny.final_weights(lone, seed, branch, 2).items():
                np.testing.assert_allclose(final[key], value, rtol=1e-3, atol=1e-5)
    assert (whole.dataset.seconds > 0).all()


@jax_only
@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("finished", Task(0, "dense", 0)),
        ("finished", Task(0, "random_reinit", 1)),
        ("advanced", Task(1, "winning_ticket", 2)),
    ],
)
def test_interrupted_and_resumed_nothing_differs(whole, tmp_path, kind, task):
    with pytest.raises(KeyboardInterrupt):
        search(vectorize=4).run(2, tiny.ALL, tmp_path, reporter=tiny.Witness(kind, task))
    witness = tiny.Witness()
    done = RunDirectory.recorded(tmp_path, "search", CONFIG).finished()
    resumed = search().run(2, tiny.ALL, tmp_path, reporter=witness)  # takes the width that is recorded
    tiny.assert_same_numbers(resumed, whole)
    assert not done & set(witness.tasks("started"))


@jax_only
def test_more_trials_and_branches_change_no_bit(whole, tmp_path):
    search(vectorize=4).run(1, ("winning_ticket",), tmp_path)
    tiny.assert_same_numbers(search(vectorize=4).run(2, tiny.ALL, tmp_path), whole)


@jax_only
def test_the_width_is_recorded_and_checked(whole):
    out = whole.directory.path.parent
    assert RunDirectory.recorded(out, "search", CONFIG).vectorize == 4
    with pytest.raises(ValueError, match=r"made with 4 levels trained together, received 3.*pass --vectorize 4"):
        search(vectorize=3).run(2, tiny.ALL, out)


@jax_only
def test_it_is_compiled_once_for_all_levels(tmp_path, monkeypatch):
    made = []
    begin = Together.__init__
    monkeypatch.setattr(Together, "__init__", lambda self, *args: (begin(self, *args), made.append(self))[0])
    search(vectorize=6, data=tiny.data()).run(2, tiny.ALL, tmp_path)
    assert [together._programs.traces for together in made] == [1]


@jax_only
def test_a_trial_that_cannot_be_trained_costs_no_other(tmp_path):
    bad = lambda seed: tiny.data(seed) if seed != 1 else _overflowing(tiny.data(seed))  # noqa: E731
    with pytest.raises(LevelError, match=r"In trial 1, dense, level 0: .*not finite"):
        search(data=bad, vectorize=3).run(3, out=tmp_path)
    finished = RunDirectory.recorded(tmp_path, "search", CONFIG).finished()
    assert {(0, "dense", 0), (2, "dense", 0)} <= finished and (1, "dense", 0) not in finished


def _overflowing(data):
    x, y = data["train"]
    signs = np.where(np.arange(len(x)) % 2, -1, 1)[:, None]  # so that every unit overflows for some example
    return {**data, "train": (np.full_like(x, 3e38) * signs.astype(x.dtype), y)}


@jax_only
def test_together_there_is_one_process(tmp_path):
    for out in (tmp_path / "new", tmp_path):
        with pytest.raises(ValueError, match=r"one process.*vectorize=2"):
            run(tiny_pair, workers=2, out=out)
        tiny_pair().run(out=tmp_path)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=r"one process.*vectorize=2"):
        run(tiny.make, workers=2, out=tmp_path)  # asks for none, but the run was made with two


@jax_only
def test_as_long_as_nothing_is_finished_another_width_may_be_asked_for(tmp_path):
    shapes = lambda seed: {name: (x[seed:], y[seed:]) for name, (x, y) in tiny.data(seed).items()}  # noqa: E731
    with pytest.raises(ValueError, match=r"equal shapes.*vectorize=1"):
        search(data=shapes, vectorize=4).run(2, out=tmp_path)
    done = search(data=shapes, vectorize=1).run(2, out=tmp_path)
    assert done.directory.vectorize == 1 and len(done.directory.finished()) == 6


@jax_only
@pytest.mark.parametrize("width", [2, 4, 7])
def test_data_are_loaded_once_for_each_trial(tmp_path, width):
    asked = []

    def data(seed):
        asked.append(seed)
        return tiny.data(seed)

    whole = search(data=data, vectorize=width).run(5, tiny.ALL, tmp_path)
    assert sorted(asked) == [0, 1, 2, 3, 4]
    assert len(whole.directory.finished()) == 5 * 7


def tiny_pair():
    """A search of two tickets at a time, for workers."""
    return tiny.make(vectorize=2)
