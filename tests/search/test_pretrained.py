"""Searches that start from a model that Keras trained, and from a pretrained backbone with a new head."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from lth_keras.masking import variables
from tests import tiny


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model that Keras' `fit` has trained and saved."""
    model = tiny.build()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*tiny.data()["train"], epochs=2, verbose=0)
    model.save(tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


@pytest.mark.slow
def test_a_search_starts_from_a_model_that_fit_has_trained(trained: Path, tmp_path: Path) -> None:
    search = tiny.make(build=lambda: keras.models.load_model(trained), start="given", levels=1, seed=3)
    expected = {key: np.array(value) for key, value in variables(keras.models.load_model(trained)).items()}
    for seed in (3, 4):
        for key, value in search.selection.initial_weights(seed).items():
            np.testing.assert_array_equal(value, expected[key])
    with pytest.warns(UserWarning, match="Trials begin with the weights that build"):
        run = search.run(out=tmp_path / "runs")
    ticket = run.ticket(trial=0, level=1)
    for layer in ticket.layers:
        kept = np.array(layer.kernel_mask)
        assert 0 < kept.sum() < kept.size
        np.testing.assert_array_equal(layer.kernel, expected[f"{layer.name}/kernel"] * kept)


def test_only_a_new_head_is_drawn(trained: Path) -> None:
    def with_new_head() -> keras.Model:
        backbone = keras.models.load_model(trained).layers[:-1]
        return keras.Sequential([keras.Input((8,)), *backbone, keras.layers.Dense(3, "softmax", name="head")])

    search = tiny.make(build=with_new_head)
    hidden = keras.models.load_model(trained).layers[0]
    one, other = (dict(search.network.draw_weights(seed, "initial")) for seed in (0, 1))
    for name in ("kernel", "bias"):
        for weights in (one, other):
            np.testing.assert_array_equal(weights[f"hidden/{name}"], getattr(hidden, name))
    assert not np.isclose(one["head/kernel"], other["head/kernel"]).any()
    assert set(search.network.given.given) == {"hidden/kernel", "hidden/bias"}
