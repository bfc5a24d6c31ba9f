"""Recurrent networks, a Transformer and a subclassed model, pruned in every way; masks hold through fit and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.masking import get_mask, prunable_weights, strip_masks
from tests.backend import JIT
from tests.masking.models import outputs
from tests.masking.test_inside import Transformer, X, Y, subclassed

Build = Callable[[], keras.Model]


def recurrent(layer: type[keras.layers.Layer]) -> Build:
    def build() -> keras.Model:
        x = keras.Input((6, 4))
        y = layers.Bidirectional(layer(3, return_sequences=True))(x)
        return keras.Model(x, layers.Dense(2, "softmax")(layer(4, dropout=0.1)(y)))

    return build


def transformer() -> keras.Model:
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(10, 4)(x)
    y = layers.GlobalAveragePooling1D()(Transformer()(Transformer()(y)))
    return keras.Model(x, layers.Dense(2, "softmax")(y))


MODELS: dict[str, Build] = {
    "lstm": recurrent(layers.LSTM),
    "gru": recurrent(layers.GRU),
    "transformer": transformer,
    "subclassed": subclassed,
}


def examples(name: str) -> np.ndarray:
    return np.arange(24 * 6).reshape(24, 6) % 10 if name == "transformer" else X


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", jit_compile=JIT)
    return model


def once(model: keras.Model, x: np.ndarray) -> keras.Model:
    return compiled(lth.prune(model, 0.5))


def gradually(model: keras.Model, x: np.ndarray) -> keras.Model:
    masked = compiled(lth.mask_model(model))
    masked.fit(x, Y, epochs=4, batch_size=8, verbose=0, callbacks=[lth.GradualPruning(0.5, end=8, frequency=2)])
    return masked


def dynamically(model: keras.Model, x: np.ndarray) -> keras.Model:
    masked = compiled(lth.mask_model(model))
    exchange = lth.DynamicSparseTraining(0.5, end=8, frequency=2)
    masked.fit(x, Y, epochs=4, batch_size=8, verbose=0, callbacks=[exchange])
    return masked


WAYS = {"once": once, "gradually": gradually, "dynamically": dynamically}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_masks_hold_through_fit_save_and_load(name: str, way: str, tmp_path: Path) -> None:
    x = examples(name)
    pruned = WAYS[way](MODELS[name](), x)
    mask = get_mask(pruned)
    assert abs(mask.kept - 0.5 * mask.size) <= len(mask)
    pruned.fit(x, Y, epochs=2, batch_size=8, verbose=0)
    assert get_mask(pruned) == mask
    expected = outputs(pruned, x)[0]
    for weight in prunable_weights(pruned):  # what a pruned entry holds has no effect
        value = np.array(weight.variable)
        weight.variable.assign(np.where(mask[weight.key], value, 9.0))
    np.testing.assert_array_equal(outputs(pruned, x)[0], expected)
    pruned.save(tmp_path / "masked.keras")
    loaded = keras.models.load_model(tmp_path / "masked.keras")
    assert get_mask(loaded) == mask
    np.testing.assert_allclose(outputs(loaded, x)[0], expected, rtol=1e-5, atol=1e-6)
    loaded.fit(x, Y, batch_size=8, verbose=0)
    assert get_mask(loaded) == mask
    np.testing.assert_allclose(outputs(strip_masks(pruned), x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "subclassed"])
def test_a_search_finds_tickets_in_them(name: str, tmp_path: Path) -> None:
    x = examples(name)
    data = {"train": (x, Y), "validation": (x[:8], Y[:8]), "test": (x[8:16], Y[8:16])}
    search = lth.TicketSearch(
        build=MODELS[name],
        data=data,
        optimizer=keras.optimizers.Adam,
        loss="sparse_categorical_crossentropy",
        rates={"*": 0.2},
        levels=2,
        steps=6,
        batch_size=8,
    )
    run = search.run(1, out=tmp_path)
    ticket = run.ticket(trial=0, level=2)
    counts, sizes = get_mask(ticket).counts(), get_mask(ticket).sizes
    assert {key: round(0.64 * size) for key, size in sizes.items()} == counts
    dense = run.ticket(trial=0, level=0)
    for one, other in zip(prunable_weights(ticket), prunable_weights(dense), strict=True):
        kept = np.array(one.mask)
        np.testing.assert_array_equal(np.array(one.variable)[kept], np.array(other.variable)[kept])  # rewound
