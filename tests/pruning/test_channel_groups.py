"""Channels are pruned with all weights that make or read them, so that nothing reads their biases and statistics."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lth_keras as lth
from lth_keras.masking import get_mask, strip_masks
from lth_keras.models import conv_6, vgg
from tests.compacting.test_random_compacting import is_quantised, masked_model, randomise
from tests.masking.models import outputs
from tests.masking.test_applications import FAMILIES


def random_values(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight another value, biases and statistics too."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "float" in variable.dtype:
            value = generator.normal(size=variable.shape) * 0.5
            variable.assign(np.abs(value) + 0.3 if "variance" in variable.path else value)
    return model


def compacted(pruned: keras.Model, x: np.ndarray) -> keras.Model:
    """The compacted model, which has the outputs of the pruned one, and of which nothing useless stays."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        smaller = lth.compact(pruned)
    expected = outputs(pruned, x)[0]
    np.testing.assert_allclose(outputs(smaller, x)[0], expected, atol=1e-5 * max(1, np.abs(expected).max()))
    return smaller


def kept(model: keras.Model) -> dict[str, tuple[int, int]]:
    return {row.layer: (row.kept, row.size) for row in lth.structure(model).rows}


def residual() -> keras.Model:
    """A residual block and an inverted one, with padding, normalisation and a depthwise convolution."""
    inputs = keras.Input((6, 6, 2))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="first")(inputs))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    y = layers.Conv2D(24, 1, activation="relu6", name="wide")(x)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y))
    x = layers.Add()([x, layers.Conv2D(8, 1, name="narrow")(y)])
    x = layers.Dense(10, "sigmoid", name="hidden")(layers.Flatten()(x))
    return random_values(keras.Model(inputs, layers.Dense(3, name="output")(x)))


X = np.random.default_rng(3).normal(size=(4, 6, 6, 2)).astype("float32")


def test_what_an_addition_ties_together_goes_together_with_its_biases_and_statistics() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pruned = lth.prune(residual(), 0.5, pattern="channels", scope="layer")
    smaller = compacted(pruned, X)
    tied = dict.fromkeys(("first", "second", "narrow"), (4, 8))
    assert kept(pruned) == {**tied, "wide": (12, 24), "hidden": (5, 10), "output": (3, 3)}
    assert smaller.get_layer("depthwise").kernel.shape == (3, 3, 12, 1)
    mask = get_mask(pruned)
    assert mask["second/kernel"].sum() == 9 * 4 * 4 and mask["hidden/kernel"].sum() == 36 * 4 * 5


def test_the_channels_that_stay_are_those_of_the_largest_sum_over_all_their_weights() -> None:
    model = residual()
    pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
    wide, depthwise, narrow = (np.abs(np.array(model.get_layer(n).kernel)) for n in ("wide", "depthwise", "narrow"))
    sums = wide.sum((0, 1, 2)) + depthwise.sum((0, 1, 3)) + narrow.sum((0, 1, 3))
    stays = get_mask(pruned)["depthwise/kernel"].any((0, 1, 3))
    np.testing.assert_array_equal(np.flatnonzero(stays), np.sort(np.argsort(sums)[12:]))


def test_numbers_of_channels_are_multiples_and_shots_and_scopes_are_those_of_other_groups() -> None:
    pruned = lth.prune(residual(), 0.4, pattern="channels", scope="layer", multiple_of=4)
    assert {layer: count for layer, (count, _) in kept(pruned).items()} == {
        "first": 4, "second": 4, "wide": 8, "narrow": 4, "hidden": 4, "output": 3
    }  # fmt: skip
    once, slowly = (
        lth.prune(residual(), 0.5, pattern="channels", scope="layer", shots=n, criterion="random") for n in (1, 4)
    )
    assert kept(once) == kept(slowly)
    everywhere = lth.prune(residual(), 0.3, pattern="channels")
    compacted(everywhere, X)
    assert all(count for count, _ in kept(everywhere).values())


def test_layers_without_masks_keep_their_channels_and_say_so() -> None:
    without = "24 of wide .made or read by 'depthwise', which has no masks., 10 of hidden .made or read by 'output'"
    with pytest.warns(UserWarning, match=f"Channels that cannot be pruned stay: {without}"):
        pruned = lth.prune(residual(), 0.5, pattern="channels", scope="layer", exclude=["depthwise", "output"])
    compacted(pruned, X)
    assert kept(pruned)["wide"] == (24, 24) and kept(pruned)["hidden"] == (10, 10) and kept(pruned)["first"] == (4, 8)
    with pytest.raises(
        ValueError, match="Expected weights that have channels to prune. Received: none of narrow/kernel"
    ):
        lth.prune(
            residual(), 0.5, pattern="channels", exclude=["first", "second", "wide", "depthwise", "hidden", "output"]
        )


def test_channels_that_a_layer_mixes_stay_and_are_named() -> None:
    inputs = keras.Input((4,))
    x = layers.LayerNormalization(name="norm")(layers.Dense(8, name="mixed")(inputs))
    model = random_values(keras.Model(inputs, layers.Dense(2)(layers.Dense(6, "relu", name="free")(x))))
    with pytest.warns(UserWarning, match="stay: 8 of mixed .'norm', a LayerNormalization, may mix its channels."):
        pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
    assert kept(pruned)["mixed"] == (8, 8) and kept(pruned)["free"] == (3, 6)


def test_heads_recurrent_units_and_columns_go_too() -> None:
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, 6, name="words")(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="lstm")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 3, name="attention")(x, x)])
    x = layers.GRU(6, name="gru")(x)
    model = random_values(keras.Model(tokens, layers.Dense(2, name="output")(x)))
    pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
    compacted(pruned, np.random.default_rng(0).integers(0, 11, (4, 5)))
    assert set(kept(pruned).values()) == {(3, 6), (2, 4), (2, 2)} and len(kept(pruned)) == 6


@pytest.mark.parametrize("seed", range(3))
def test_random_models(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_many_random_models(block: int) -> None:
    smaller = 0
    for seed in range(2000 + 30 * block, 2030 + 30 * block):
        smaller += check(seed)
        keras.utils.clear_session()
    assert smaller >= 10


def check(seed: int) -> bool:
    """Prunes channels of a random model; whether it has any that become fewer."""
    masked, x = masked_model(seed)
    if masked is None or is_quantised(masked):
        return False
    randomise(masked, np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pruned = lth.prune(masked, 0.5, pattern="channels", scope="layer", criterion="random", seed=seed)
        except ValueError as error:
            assert "channels to prune" in str(error) or "cut through" in str(error), error
            return False
        expected, smaller = outputs(pruned, x)[0], lth.compact(pruned)
    scale = max(1.0, float(np.abs(expected).max()))
    rounds = any(layer.compute_dtype == "bfloat16" for layer in pruned._flatten_layers())
    np.testing.assert_allclose(outputs(smaller, x)[0] / scale, expected / scale, atol=2e-2 if rounds else 1e-5)
    return bool(smaller.count_params() < strip_masks(pruned).count_params())


def test_a_search_prunes_channels_level_by_level() -> None:
    x = np.random.default_rng(0).normal(size=(24, 6, 6, 2)).astype("float32")
    y = np.arange(24) % 3

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((6, 6, 2)), *vgg_layers(), layers.Dense(3, "softmax", name="output")])

    search = lth.TicketSearch(
        build=build,
        data={"train": (x, y), "validation": (x[:6], y[:6]), "test": (x[6:12], y[6:12])},
        optimizer=keras.optimizers.Adam,
        loss="sparse_categorical_crossentropy",
        levels=2,
        pruning=lth.Pruning(rates={"conv": 0.5, "dense": 0.25, "output": 0}, pattern="channels"),
        steps=2,
        batch_size=8,
    )
    run = search.run(1, branches=("winning_ticket", "random_mask"))
    for branch in ("winning_ticket", "random_mask"):
        first, second = (run.ticket(trial=0, level=level, branch=branch) for level in (1, 2))
        assert get_mask(second).is_subset(get_mask(first))
        compacted(random_values(second), x)
        assert kept(second) == {"conv": (4, 16), "hidden": (9, 16), "output": (3, 3)}


def vgg_layers() -> list[Any]:
    conv = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv")
    return [conv, layers.BatchNormalization(), layers.Flatten(), layers.Dense(16, "relu", name="hidden")]


def test_models_whose_graph_is_not_known_are_refused() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    model = Own()
    model(np.zeros((1, 2), "float32"))
    with pytest.raises(ValueError, match="Expected a Sequential or Functional model. Received: .*, a .*Own"):
        lth.prune(model, 0.5, pattern="channels")


def test_half_of_a_small_network_is_a_third_of_it_or_less() -> None:
    model = random_values(vgg((8, 16), (32,)))
    check_half(model)


@pytest.mark.slow
def test_half_of_conv_6_is_a_third_of_it_or_less() -> None:
    check_half(random_values(conv_6()))


def check_half(model: keras.Model) -> None:
    pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
    smaller = compacted(pruned, np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    assert smaller.count_params() < model.count_params() / 3.5


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str) -> None:
    size = FAMILIES[name]
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
    random = np.random.default_rng(0)
    for variable in model.variables:  # kernels stay: with random ones, outputs of deep networks overflow
        if len(variable.shape) == 1:
            around = random.uniform(0.5, 1.5, variable.shape)
            near = "gamma" in variable.path or "variance" in variable.path
            variable.assign(around if near else random.normal(0, 0.1, variable.shape))
    pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
    x = random.uniform(0, 255, (2, size, size, 3)).astype("float32")
    expected = outputs(pruned, x)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smaller = lth.compact(pruned)
    np.testing.assert_allclose(outputs(smaller, x)[0], expected, atol=1e-4 * float(np.abs(expected).max()))
    print(name, model.count_params(), smaller.count_params())
    assert smaller.count_params() < 0.6 * model.count_params()
    keras.utils.clear_session()
    gc.collect()
