from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.masking import mask_model, prunable_weights
from lth_keras.models import newsgroups_end2end, newsgroups_end2end_sizes
from tests.few import few

SMALL = {"words": 50, "dimension": 4, "tokens": 40, "classes": 5}
WIDTHS = range(1, 23, 3)


def counts(sizes: list[Any]) -> dict[str, tuple[int, int]]:
    kinds = {size.kind for size in sizes if size.kind}
    return {
        kind: (
            sum(size.prunable for size in sizes if size.kind == kind),
            sum(size.prunable + size.biases for size in sizes if size.kind == kind),
        )
        for kind in kinds
    }


def test_it_has_the_weights_of_the_thesis() -> None:
    """Counted without building: 1.2 GB."""
    assert counts(newsgroups_end2end_sizes()) == {
        "embedding": (293_702_400, 293_702_400),
        "conv": (165_600, 165_648),
        "output": (960, 980),
    }


@few(
    "changes",
    [{}, {"words": 7, "dimension": 3}, {"tokens": 28}, {"tokens": 41, "filters": 2}],
    {"tokens": 41, "filters": 2},
)
def test_the_sizes_are_those_of_the_model(changes: dict[str, int]) -> None:
    model = newsgroups_end2end(**{**SMALL, **changes})
    sizes = newsgroups_end2end_sizes(**{**SMALL, **changes})
    assert sorted(size.name for size in sizes) == sorted(layer.name for layer in model.layers)
    for size in sizes:
        layer = model.get_layer(size.name)
        shape = layer.output.shape
        assert tuple(shape[1:]) == size.output, size.name
        assert layer.count_params() == size.prunable + size.biases, size.name
        assert sum(np.prod(w.shape) for w in layer.weights if w.name in ("kernel", "embeddings")) == size.prunable
    masked = {weight.key.split("/")[0]: weight for weight in prunable_weights(mask_model(model))}
    assert {name: weight.kind for name, weight in masked.items()} == {s.name: s.kind for s in sizes if s.kind}


def test_the_output_is_the_network_written_out_in_numpy() -> None:
    model = newsgroups_end2end(**SMALL)
    x = np.random.default_rng(0).integers(0, 50, (3, 40), dtype=np.int32)
    x[0, 5:] = 0
    x[2] = 0
    features = []
    for group, pool in (("a", 2), ("b", 7)):
        for number, width in enumerate(WIDTHS, start=1):
            (table,) = model.get_layer(f"{group}{number}_embedding").get_weights()
            kernel, bias = model.get_layer(f"{group}{number}_conv").get_weights()
            assert kernel.shape == (width, 4, 3)
            windows = np.lib.stride_tricks.sliding_window_view(table[x], width, axis=1)  # (3, places, 4, width)
            places = np.einsum("npdw,wdf->npf", windows, kernel) + bias
            whole = places.shape[1] // pool
            pooled = places[:, : whole * pool].reshape(3, whole, pool, 3).mean(2)
            features.append(pooled.mean(1))
    kernel, bias = model.get_layer("output").get_weights()
    logits = np.concatenate(features, axis=1) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, rtol=1e-5, atol=1e-6)


def test_padding_is_a_word_like_any_other() -> None:
    model = newsgroups_end2end(**SMALL)
    embeddings = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    assert len(embeddings) == 16 and not any(layer.mask_zero for layer in embeddings)
    padding = np.zeros((1, 40), np.int32)
    before = keras.ops.convert_to_numpy(model(padding))
    for layer in embeddings:
        table = layer.get_weights()[0]
        table[0] += np.arange(4)
        layer.set_weights([table])
    assert np.abs(keras.ops.convert_to_numpy(model(padding)) - before).max() > 1e-3


def test_dropout_is_half_of_each_branch_and_half_of_the_features() -> None:
    dropouts = [layer for layer in newsgroups_end2end(**SMALL).layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == 17 and {layer.rate for layer in dropouts} == {0.5}
    assert {layer.rate for layer in newsgroups_end2end(**SMALL, dropout=0.0).layers if hasattr(layer, "rate")} == {0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"words": 0},
        {"dimension": -1},
        {"tokens": 21},
        {"tokens": 27},
        {"tokens": 200.0},
        {"classes": 1},
        {"filters": True},
        {"dropout": 1.0},
        {"dropout": float("nan")},
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=rf"Expected.*{name}={changes[name]}"):
        newsgroups_end2end(**{**SMALL, **changes})
    if name != "dropout":
        with pytest.raises(ValueError, match=name):
            newsgroups_end2end_sizes(**{**SMALL, **changes})
