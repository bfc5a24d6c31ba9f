from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.masking import mask_model, prunable_weights
from lth_keras.models import reuters_cnn, reuters_cnn_sizes

SMALL = {"words": 50, "dimension": 4, "tokens": 20, "classes": 3, "filters": 6}
WIDTHS = (3, 4, 5)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(0)


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x))


def features(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return outputs(keras.Model(model.input, model.get_layer("features").output), x)


def documents(tokens: int) -> np.ndarray:
    """One that fills its row, one of seven words, one of none."""
    x = np.random.default_rng(0).integers(1, 50, (3, tokens), dtype=np.int32)
    x[1, 7:] = 0
    x[2] = 0
    return x


def test_it_has_the_weights_that_its_description_says() -> None:
    counts: dict[str, list[int]] = {}
    for size in reuters_cnn_sizes():
        if size.kind:
            prunable, in_all = counts.get(size.kind, [0, 0])
            counts[size.kind] = [prunable + size.prunable, in_all + size.prunable + size.biases]
    assert counts == {"embedding": [6_000_300, 6_000_300], "conv": [360_000, 360_300], "output": [27_000, 27_090]}
    assert sum(in_all for _, in_all in counts.values()) == 6_387_690


@pytest.mark.parametrize("changes", [{}, {"words": 7, "dimension": 3}, {"tokens": 5}, {"classes": 1, "filters": 2}])
def test_the_sizes_are_those_of_the_model(changes: dict[str, int]) -> None:
    model = reuters_cnn(**{**SMALL, **changes})
    sizes = reuters_cnn_sizes(**{**SMALL, **changes})
    assert sorted(size.name for size in sizes) == sorted(layer.name for layer in model.layers)
    for size in sizes:
        layer = model.get_layer(size.name)
        assert tuple(layer.output.shape[1:]) == size.output, size.name
        assert layer.count_params() == size.prunable + size.biases, size.name
        assert sum(np.prod(w.shape) for w in layer.weights if w.name in ("kernel", "embeddings")) == size.prunable
    masked = {weight.key.split("/")[0]: weight for weight in prunable_weights(mask_model(model))}
    assert {name: weight.kind for name, weight in masked.items()} == {s.name: s.kind for s in sizes if s.kind}


def test_the_output_is_the_network_written_out_in_numpy() -> None:
    model = reuters_cnn(**SMALL)
    rng = np.random.default_rng(1)
    for layer in model.layers:  # biases too, which start at zero
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    x = documents(20)
    (table,) = model.get_layer("embedding").get_weights()
    maxima = []
    for width in WIDTHS:
        kernel, bias = model.get_layer(f"conv_{width}").get_weights()
        assert kernel.shape == (width, 4, 6)
        windows = np.lib.stride_tricks.sliding_window_view(table[x], width, axis=1)  # (3, places, 4, width)
        maxima.append(np.maximum(np.einsum("npdw,wdf->npf", windows, kernel) + bias, 0).max(1))
    kernel, bias = model.get_layer("output").get_weights()
    expected = 1 / (1 + np.exp(-(np.concatenate(maxima, axis=1) @ kernel + bias)))
    np.testing.assert_allclose(outputs(model, x), expected, rtol=1e-5, atol=1e-6)


def test_padding_alone_is_the_least_that_a_padded_document_gives_and_nothing_to_a_full_one() -> None:
    model = reuters_cnn(**SMALL)
    before = features(model, documents(20))
    (table,) = model.get_layer("embedding").get_weights()
    table[0] *= 20
    model.get_layer("embedding").set_weights([table])
    full, short, floor = features(model, documents(20))
    assert (short >= floor).all() and (full < floor).any()
    assert np.array_equal(before[0], full) and not np.array_equal(before[1], short)


def test_more_padding_than_the_widest_kernel_changes_nothing() -> None:
    model, longer = reuters_cnn(**SMALL), reuters_cnn(**{**SMALL, "tokens": 60})
    longer.set_weights(model.get_weights())
    x = documents(20)[1:]
    np.testing.assert_allclose(outputs(longer, np.pad(x, ((0, 0), (0, 40)))), outputs(model, x), rtol=1e-5)


def test_all_convolutions_read_one_embedding_and_half_of_the_features_are_dropped() -> None:
    model = reuters_cnn(**SMALL)
    (embedding,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Embedding))
    assert not embedding.mask_zero
    assert all(model.get_layer(f"conv_{width}").input is embedding.output for width in WIDTHS)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.5]
    assert reuters_cnn(**SMALL, dropout=0.0).get_layer("dropout").rate == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"words": 0},
        {"dimension": -1},
        {"tokens": 4},
        {"tokens": 200.0},
        {"classes": 0},
        {"filters": True},
        {"dropout": 1.0},
        {"dropout": float("nan")},
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=rf"Expected.*{name}={changes[name]}"):
        reuters_cnn(**{**SMALL, **changes})
    if name != "dropout":
        with pytest.raises(ValueError, match=name):
            reuters_cnn_sizes(**{**SMALL, **changes})
