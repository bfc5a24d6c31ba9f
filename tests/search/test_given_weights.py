"""Searches of models whose weights are loaded or frozen: what is kept, what is said, and what is recorded."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.masking import get_mask, mask_model, set_mask
from lth_keras.search.identity import describe
from lth_keras.search.search import TicketSearch
from tests import tiny


def fitted() -> list[np.ndarray]:
    """Weights of `loaded` that classify `tiny.data` well."""
    model = untrained()
    base, head = np.zeros((8, 16), np.float32), np.zeros((16, 3), np.float32)
    base[:2, 0], base[:2, 1], base[:2, 2:] = 1, -1, 0.01
    head[0], head[1] = (-4, 0, 4), (4, 0, -4)
    found = [base, np.zeros(16), head, np.array([-2, 0, -2])]
    assert [w.shape for w in found] == [tuple(w.shape) for w in model.weights]
    return [w.astype(np.float32) for w in found]


def untrained(frozen: bool = False) -> keras.Model:
    hidden = keras.layers.Dense(16, "relu", name="hidden", trainable=not frozen)
    return keras.Sequential([keras.Input((8,)), hidden, keras.layers.Dense(3, "softmax", name="output")])


def loaded(scale: float = 1.0, frozen: bool = False) -> keras.Model:
    model = untrained(frozen)
    model.set_weights([w * scale for w in fitted()])
    return model


TINY_STEP: dict[str, Any] = {
    "build": loaded,
    "optimizer": lambda: keras.optimizers.SGD(1e-8),
    "levels": 1,
    "steps": 5,
    "rates": 0.0,
}


def make(config: bool = True, **changes: Any) -> TicketSearch:
    return tiny.make(**{**TINY_STEP, **({"config": {"name": "given"}} if config else {}), **changes})


def test_a_pretrained_model_is_as_good_after_a_tiny_step_in_all_trials(tmp_path: Path) -> None:
    dense = loaded()
    dense.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    expected = dense.evaluate(*tiny.data()["test"], verbose=0)[1]
    search = make()
    with pytest.warns(UserWarning, match=r"build\(\) gives are kept .*hidden/kernel.*start='initial'"):
        run = search.run(2, ("winning_ticket", "random_reinit"), tmp_path)
    winning = run.dataset.test_accuracy_final.sel(branch="winning_ticket")
    np.testing.assert_allclose(winning, expected, atol=1e-6)
    assert expected > 0.85
    reinit = run.dataset.test_accuracy_final.sel(branch="random_reinit").isel(level=1)
    assert (reinit < 0.8).all(), "weights that are drawn know nothing"
    record = json.loads((run.directory.path / "start.json").read_text())
    assert set(record["given"]) == {"hidden/kernel", "output/kernel", "output/bias"} and record["start"] is None
    ticket = run.ticket(0, 1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ticket.get_layer("hidden").kernel), fitted()[0])
    with pytest.raises(ValueError, match="Expected(: the initial weights of| finished levels to be made with)"):
        make(start="initial").run(3, out=tmp_path)
    with pytest.raises(ValueError, match="Expected(: the initial weights of| finished levels to be made with)"):
        make(build=functools.partial(loaded, 2.0)).run(3, out=tmp_path)


def test_a_frozen_layer_is_left_out(tmp_path: Path) -> None:
    search = make(build=functools.partial(loaded, frozen=True), rates=0.5)
    with pytest.warns(UserWarning, match="Frozen layers keep the weights .* hidden/kernel, hidden/bias"):
        run = search.run(out=tmp_path, keep_weights="all")
    level = run.directory.read(0, "winning_ticket", 1, weights=True)
    assert level is not None and level.weights is not None
    assert level.mask.shapes == {"output/kernel": (16, 3)} and level.mask.density == 0.5
    np.testing.assert_array_equal(level.weights["hidden/kernel"], fitted()[0])
    assert float(run.dataset.density.isel(level=1, trial=0).sel(branch="winning_ticket")) == 0.5


def test_given_weights_count_in_the_identity() -> None:
    described = [
        describe(make(config=False, **changes))
        for changes in (
            {},
            {"build": functools.partial(loaded, 2.0)},
            {"build": functools.partial(loaded, frozen=True)},
            {"build": functools.partial(loaded, 2.0, frozen=True)},
            {"start": "given"},
            {"start": "given", "build": functools.partial(loaded, 2.0)},
            {"start": "initial"},
        )
    ]
    texts = [json.dumps(identity, sort_keys=True) for identity in described]
    assert len(set(texts)) == len(texts)
    assert describe(make(config=False)) == described[0]
    assert "given" not in described[-1] and "given" not in describe(tiny.make())


@pytest.mark.slow
def test_a_variant_has_weights_of_its_own(tmp_path: Path) -> None:
    search = make(build=untrained, variants={"loaded": {"build": loaded}})
    with pytest.warns(UserWarning, match=r"Variant 'loaded': Weights that build\(\) gives"):
        run = search.run(branches=("winning_ticket", "loaded"), out=tmp_path)
    accuracy = run.dataset.test_accuracy_final.isel(level=1, trial=0)
    assert float(accuracy.sel(branch="loaded")) > 0.85 > 0.8 > float(accuracy.sel(branch="winning_ticket"))
    assert not (run.directory.path / "start.json").exists() and (run.directory.path / "start-loaded.json").exists()


@pytest.mark.slow
def test_nothing_is_said_where_all_is_drawn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run = make(build=untrained, levels=0).run(out=tmp_path)
    assert not list(run.directory.path.glob("start*"))


@pytest.mark.slow
def test_workers_begin_with_the_same_weights(tmp_path: Path) -> None:
    alone = make().run(2, out=tmp_path / "alone")
    together = tiny.run(make, trials=2, out=tmp_path / "workers", workers=2)
    tiny.assert_same_numbers(together, alone)
    assert (together.directory.path / "start.json").read_text() == (alone.directory.path / "start.json").read_text()


def test_masks_that_build_gives_are_not_used() -> None:
    def pruned() -> keras.Model:
        model = mask_model(tiny.build())
        set_mask(model, {key: np.indices(mask.shape).sum(0) % 2 == 0 for key, mask in get_mask(model).items()})
        return model

    with pytest.warns(UserWarning, match="dense network.*masks that keep 50.0% of the weights; the search does not"):
        make(build=pruned).network  # noqa: B018
