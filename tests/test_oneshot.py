"""Pruning once: how many weights survive in each layer, and what is refused."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.masking import get_mask, mask_model, set_mask, variables
from lth_keras.oneshot import prune


def chain() -> keras.Model:
    """8-16-1-16-3: 128, 16, 16 and 48 weights, those in the middle the smallest."""
    names = {"first": 16, "narrow": 1, "wide": 16, "last": 3}
    model = keras.Sequential([keras.Input((8,)), *(layers.Dense(units, name=name) for name, units in names.items())])
    return shrunk(model)


def residual() -> keras.Model:
    """The same with a skip connection around the middle."""
    first = layers.Dense(16, name="first")(x := keras.Input((8,)))
    beside = layers.Dense(16, name="wide")(layers.Dense(1, name="narrow")(first))
    return shrunk(keras.Model(x, layers.Dense(3, name="last")(first + beside)))


def shrunk(model: keras.Model) -> keras.Model:
    generator = np.random.default_rng(0)
    for name, low in (("first", 1.0), ("narrow", 0.1), ("wide", 0.1), ("last", 1.0)):
        kernel = model.get_layer(name).kernel
        kernel.assign(generator.uniform(low, 2 * low, kernel.shape))
    return model


@pytest.mark.parametrize("build", [chain, residual])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.05])
def test_exactly_that_share_survives_and_weights_are_the_models_own(build, density) -> None:
    model = build()
    pruned = prune(model, density)
    mask = get_mask(pruned)
    assert mask.kept == round(208 * density)
    assert min(mask.counts().values()) >= 1
    for key, value in variables(model).items():
        np.testing.assert_array_equal(variables(pruned)[key], value)
    by_layer = get_mask(prune(model, density, scope="layer")).counts()
    assert by_layer == {f"{name}/kernel": max(1, round(n * density)) for name, n in sizes(model).items()}


def sizes(model: keras.Model) -> dict[str, int]:
    return {layer.name: int(np.prod(layer.kernel.shape)) for layer in model.layers if isinstance(layer, layers.Dense)}


def test_at_least_so_many_are_left_in_every_layer() -> None:
    for scope in ("global", "layer"):
        counts = get_mask(prune(chain(), 0.1, scope=scope, min_per_layer=4)).counts()
        assert min(counts.values()) == 4


def test_a_network_that_is_cut_through_is_an_error() -> None:
    model = chain()
    message = "no weight left in narrow/kernel, wide/kernel, at density 0.25, and no way around.*min_per_layer at 1"
    with (
        pytest.raises(ValueError, match=message),
        pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"),
    ):
        prune(model, 0.25, min_per_layer=0)
    with (
        pytest.raises(ValueError, match="no weight left in narrow/kernel, wide/kernel, at density 0.0192"),
        pytest.warns(UserWarning, match="Layer collapse"),
    ):
        prune(model, 0.02, scope="layer", min_per_layer=0)
    assert get_mask(prune(model, 0.25)).kept == 52


def test_a_layer_beside_a_skip_connection_may_collapse() -> None:
    with pytest.warns(UserWarning, match="Layer collapse: no weight is left in narrow/kernel, wide/kernel"):
        pruned = prune(residual(), 0.25, min_per_layer=0)
    mask = get_mask(pruned)
    assert mask.kept == 52 and mask.counts()["narrow/kernel"] == mask.counts()["wide/kernel"] == 0
    with warnings.catch_warnings():  # what is gone already is not news
        warnings.filterwarnings("error", message="Layer collapse")
        for scope in ("global", "layer"):
            assert get_mask(prune(pruned, 0.02, scope=scope)).is_subset(mask)


def test_a_model_that_is_cut_through_already_is_refused() -> None:
    model = mask_model(chain())
    mask = get_mask(model)
    set_mask(model, {**mask, "narrow/kernel": np.zeros((16, 1), bool)})
    with pytest.raises(ValueError, match="no weight left in narrow/kernel, at density"):
        prune(model, 0.5)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_what_is_refused(scope: str) -> None:
    for density in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"Expected a density in \(0, 1\]"):
            prune(chain(), density, scope=scope)
    with pytest.raises(ValueError, match="Expected min_per_layer of 0 or more. Received: -1"):
        prune(chain(), 0.5, scope=scope, min_per_layer=-1)
    with pytest.raises(ValueError, match="Expected to keep|Expected at least one weight to keep"):
        prune(chain(), 0.001, scope=scope, min_per_layer=0)
    with pytest.raises(ValueError, match="Expected scope"):
        prune(chain(), 0.5, scope="model")
