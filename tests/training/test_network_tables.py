"""Networks with large embedding tables: 4.48 million weights, 18 MB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.training.network import Network
from tests.tiny import network_of

WORDS = 70_000


def large(*, rows: int = WORDS) -> keras.Model:
    x = keras.Input((6,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(rows, 64)(x))
    return keras.Model(x, keras.layers.Dense(3, "softmax")(pooled))


def documents(seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        name: (generator.integers(0, WORDS, (n, 6)).astype(np.int32), generator.integers(0, 3, n))
        for name, n in (("train", 30), ("validation", 10), ("test", 10))
    }


def network_of_rows(build: Callable[[], Any] = large, **changes: Any) -> Network:
    return network_of(build, **{"test_every": 5, **changes})


def test_large_tables_are_tested_whenever_they_are_evaluated() -> None:
    assert network_of_rows(test_every=None).test_every == 5
    with pytest.raises(ValueError, match="test_every to equal evaluate_every if.*Received: 10 and 5"):
        network_of_rows(test_every=10)


def test_large_tables_are_trained_densely_where_asked_or_needed(recwarn: pytest.WarningsRecorder) -> None:
    assert len(network_of_rows().tables) == len(network_of_rows(engine="rows:lazy").tables) == 1
    assert network_of_rows(engine="compiled", test_every=10).tables == []
    assert network_of_rows(lambda: large(rows=65_000)).tables == []
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    with pytest.warns(UserWarning, match="1 large embedding tables are trained densely.*RMSprop"):
        assert network_of_rows(optimizer=keras.optimizers.RMSprop, test_every=10).tables == []
    with pytest.raises(ValueError, match="beta_1 well below"):
        network_of_rows(optimizer=lambda: keras.optimizers.Adam(beta_2=0.9))


def test_a_network_with_large_tables_trains_to_the_same_bits_and_tests_its_early_stop() -> None:
    network = network_of_rows()
    network.load(documents())
    mask = Mask.ones(network.mask.shapes)
    results = []
    for _ in range(2):
        network.rewind(network.draw_weights(0, "initial"), mask)
        curves = network.train(20, seed=0, confusion=True)
        results.append((curves, network.weights["embedding/embeddings"].copy()))
    assert np.array_equal(results[0][0].train_loss, results[1][0].train_loss)
    np.testing.assert_array_equal(results[0][1], results[1][1])
    best = int(np.argmin(curves.validation_loss))
    assert network.test_metric_at_early_stop(curves) == curves.test_metric[best]
    assert np.isfinite(curves.test_metric).all() and network.evaluate("test")[1] == curves.test_metric[-1]
    assert curves.test_confusion is not None
    diagonals = curves.test_confusion.diagonal(axis1=1, axis2=2).sum(axis=1)
    np.testing.assert_allclose(diagonals / 10, curves.test_metric)
    network.load({**documents(), "validation": (np.empty((0, 6)), np.empty(0)), "without_validation": True})
    curves = network.train(7, seed=0)
    assert curves.early_stop_step == 7 and np.isnan(curves.validation_loss).all()
    assert network.test_metric_at_early_stop(curves) == curves.test_metric[-1]


@pytest.mark.parametrize("number", [-1, 50])
def test_row_numbers_that_no_table_has_name_their_split(number: int) -> None:
    network = network_of(lambda: keras.Sequential([keras.Input((6,)), keras.layers.Embedding(50, 2), *_head()]))
    splits = {name: (x % 50, y) for name, (x, y) in documents().items()}
    network.load(splits)
    splits["test"][0][3, 2] = number
    with pytest.raises(ValueError, match=rf"'test': Expected row numbers in 0 \.\.\. 49.*Received: .*{number}"):
        network.load(splits)


def _head() -> list[keras.layers.Layer]:
    return [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3, "softmax")]
