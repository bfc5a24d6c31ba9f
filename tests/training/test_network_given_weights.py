"""Weights that `build()` gives: told from those that are drawn, kept, and not pruned where they are frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras import prune
from lth_keras.mask import Mask
from lth_keras.training.network import Network
from tests import tiny

dense = keras.layers.Dense
BASE = {"base/kernel", "base/bias", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"}


def values(shape: Any, scale: float = 1.0) -> np.ndarray:
    size = int(np.prod(shape))
    return (scale * np.sin(np.arange(size) + 1)).reshape(shape).astype(np.float32)


def pretrained(*, frozen: bool = False, **others: Any) -> Callable[[], keras.Model]:
    """A base whose weights are loaded, frozen or not, and a new head."""

    def build() -> keras.Model:
        inner = [dense(6, "relu", name="base", **others), keras.layers.BatchNormalization(name="norm")]
        base = keras.Sequential([keras.Input((8,)), *inner])
        base.set_weights([values(w.shape) ** 2 + 0.5 for w in base.get_weights()])
        for layer in base.layers:
            layer.trainable = not frozen
        return keras.Sequential([keras.Input((8,)), *base.layers, dense(3, "softmax", name="head")])

    return build


def network_of(build: Callable[[], Any], **changes: Any) -> Network:
    return tiny.network_of(build, **changes)


def same(one: Any, other: Any, keys: Any) -> bool:
    return all(np.array_equal(one[key], other[key]) for key in keys)


def test_weights_that_are_loaded_are_kept_and_others_drawn() -> None:
    network = network_of(pretrained())
    expected = {w.path: w for w in pretrained()().weights}
    first, second = network.draw_weights(0, "initial"), network.draw_weights(1, "initial")
    assert same(first, second, BASE) and not np.isclose(first["head/kernel"], second["head/kernel"]).any()
    np.testing.assert_array_equal(first["base/kernel"], values((8, 6)) ** 2 + 0.5)
    np.testing.assert_array_equal(first["norm/moving_variance"], values((6,)) ** 2 + 0.5)
    assert set(network.given.given) == BASE and not network.given.frozen and len(expected) == 8
    fresh = network.draw_weights(0, "random_reinit", 1, given=False)
    assert not np.isclose(fresh["base/kernel"], first["base/kernel"]).any()
    first["base/kernel"][...] = 7
    assert same(network.draw_weights(0, "initial"), second, BASE), "a draw is the caller's own"


def test_start_says_what_is_drawn() -> None:
    initial = network_of(pretrained(), start="initial").draw_weights(0, "initial")
    assert not np.isclose(initial["base/kernel"], values((8, 6)) ** 2 + 0.5).any()
    given = network_of(pretrained(), start="given")
    one, other = given.draw_weights(0, "initial"), given.draw_weights(1, "initial")
    assert same(one, other, BASE) and not np.isclose(one["head/kernel"], other["head/kernel"]).any()
    assert same(one, given.draw_weights(0, "initial"), [*one])
    with pytest.raises(ValueError, match=r"Expected start to be one of .* Received: 'pretrained'"):
        network_of(pretrained(), start="pretrained")


def test_what_initialisers_make_is_not_given() -> None:
    constant = keras.initializers.Constant(0.5)

    def seeded() -> keras.Model:
        normal = keras.initializers.RandomNormal(seed=3)
        zero = keras.initializers.RandomNormal(stddev=0.0)
        layers = [dense(6, kernel_initializer=normal, bias_initializer=constant), dense(3, bias_initializer=zero)]
        return keras.Sequential([keras.Input((8,)), *layers])

    for build in (tiny.build, seeded):
        assert not network_of(build).given.given and network_of(build).given.digest is None
    drawn = network_of(seeded)
    one, other = drawn.draw_weights(0, "initial"), drawn.draw_weights(1, "initial")
    assert not np.isclose(one["dense/kernel"], other["dense/kernel"]).any(), "a fixed seed is replaced"


def test_a_seeded_initialiser_does_not_hide_loaded_weights() -> None:
    network = network_of(pretrained(kernel_initializer=keras.initializers.GlorotNormal(seed=1)))
    assert set(network.given.given) == BASE


def reseeding() -> keras.Model:
    keras.utils.set_random_seed(0)
    return tiny.build()


def partly_loaded() -> keras.Model:
    model = tiny.build()
    kernel, *others = model.get_weights()
    kernel[:3] = 1.0
    model.set_weights([kernel, *others])
    return model


@pytest.mark.parametrize("build", [reseeding, partly_loaded])
def test_what_cannot_be_told_is_asked(build: Any) -> None:
    with pytest.raises(ValueError, match=r"is ambiguous, .*hidden/kernel.* Pass start='initial'.*start='given'"):
        network_of(build)
    for start in ("initial", "given"):
        network_of(build, start=start).draw_weights(0, "initial")


def test_building_twice_leaves_the_first_models_weights_and_the_generators() -> None:
    keras.utils.set_random_seed(5)
    expected = [w.numpy() if hasattr(w, "numpy") else np.asarray(w) for w in tiny.build().weights]
    keras.utils.set_random_seed(5)
    network = network_of(tiny.build)
    for value, (key, received) in zip(expected, network.weights.items(), strict=True):
        np.testing.assert_array_equal(value, received, err_msg=key)


def test_frozen_layers_are_neither_drawn_nor_pruned_nor_counted() -> None:
    network = network_of(pretrained(frozen=True))
    assert network.mask.shapes == {"head/kernel": (6, 3)} and set(network.given.frozen) == BASE
    one, other = network.draw_weights(0, "initial"), network.draw_weights(1, "random_reinit", 2, given=False)
    assert same(one, other, BASE)
    assert network_of(pretrained(frozen=True), prune_frozen=True).mask.shapes.keys() == {"base/kernel", "head/kernel"}
    with pytest.raises(ValueError, match=r"Nothing to prune .* that is trained \(trainable=True\)"):
        network_of(lambda: _all_frozen(tiny.build()))


def _all_frozen(model: keras.Model) -> keras.Model:
    model.trainable = False
    return model


def test_a_random_frozen_layer_is_the_same_in_every_network() -> None:
    def build() -> keras.Model:
        layers = [dense(6, "relu", name="base", trainable=False), dense(3, "softmax", name="head")]
        return keras.Sequential([keras.Input((8,)), *layers])

    one, other = network_of(build), network_of(build)
    assert same(one.draw_weights(0, "initial"), other.draw_weights(1, "initial"), ["base/kernel"])


def test_a_frozen_base_stays_as_good_after_a_step() -> None:
    data = tiny.data()
    network = network_of(pretrained(frozen=True), optimizer=lambda: keras.optimizers.SGD(1e-9), batch_size=10)
    network.load(data)
    network.rewind(network.draw_weights(0, "initial"), Mask.ones(network.mask.shapes))
    before = network.evaluate("test")
    network.train(1, seed=0)
    np.testing.assert_allclose(network.evaluate("test"), before, atol=1e-6)
    assert same(network.weights, pretrained_weights(), BASE)


def pretrained_weights() -> dict[str, np.ndarray]:
    shapes = {"base/kernel": (8, 6)} | dict.fromkeys(BASE - {"base/kernel"}, (6,))
    return {key: values(shape) ** 2 + 0.5 for key, shape in shapes.items()}


def test_prune_prunes_frozen_layers_and_names_them() -> None:
    with pytest.warns(UserWarning, match="Pruned too, though their layers are frozen.*: base/kernel"):
        pruned = prune(pretrained(frozen=True)(), 0.5)
    assert {w.name for w in pruned.weights} >= {"kernel_mask"}
