"""Augmentation layers at the beginning of a model: drawn by the seed at every step, absent from evaluations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras import strip_masks
from lth_keras.backends import backend
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.tiny import assert_same_numbers
from tests.training.engines.cases import assert_same_bits, ticket, trained

AUGMENTATIONS: dict[str, Callable[[], Any]] = {
    "flip": lambda: layers.RandomFlip("horizontal"),
    "translation": lambda: layers.RandomTranslation(0.2, 0.2),
    "rotation": lambda: layers.RandomRotation(0.1),
    "zoom": lambda: layers.RandomZoom(0.2),
    "crop": lambda: layers.RandomCrop(6, 6),
    "contrast": lambda: layers.RandomContrast(0.5, value_range=(0, 1)),
    "brightness": lambda: layers.RandomBrightness(0.3, value_range=(0, 1)),
    "erasing": lambda: layers.RandomErasing(1.0, value_range=(0, 1)),
    "noise": lambda: layers.GaussianNoise(0.2),
    "two": lambda: keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1)]),
}


def images(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three classes that the place of a bright spot tells apart."""
    generator = np.random.default_rng(seed)

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        y = generator.integers(0, 3, examples).astype(np.int32)
        x = generator.random((examples, 8, 8, 1)).astype(np.float32) / 2
        x[np.arange(examples), 2 * y, 2 * y] = 1
        return x, y

    return {"train": split(64), "validation": split(32), "test": split(32)}


def build(*first: Callable[[], Any]) -> Callable[[], keras.Model]:
    """A small convolutional network behind these layers."""

    def made() -> keras.Model:
        rest = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalMaxPooling2D(), layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((8, 8, 1)), *(make() for make in first), *rest])

    return made


def network_of(*first: Callable[[], Any], **changes: Any) -> Network:
    network = tiny.network_of(build(*first), **{"jit_compile": None, "batch_size": 32, "evaluate_every": 1, **changes})
    network.take({0: network.checked(images())})
    return network


def still() -> keras.Optimizer:
    return keras.optimizers.SGD(0.0)


@pytest.mark.skipif(not backend().compiles, reason="on PyTorch some of these layers draw from a global generator")
@few("name", AUGMENTATIONS, "translation")
def test_every_step_draws_by_the_seed_and_evaluations_do_not(name: str) -> None:
    if name == "crop" and keras.backend.backend() == "jax":
        pytest.skip("JAX does not compile it, which an error says (test_network.py)")
    plain = network_of(optimizer=still, test_every=1)
    if name == "crop":
        plain = network_of(lambda: layers.CenterCrop(6, 6), optimizer=still, test_every=1)
    network = network_of(AUGMENTATIONS[name], optimizer=still, test_every=1)
    start = ticket(plain)
    (expected,) = trained(plain, [start], 4)
    own = ticket(network)._replace(mask=start.mask, weights=start.weights)
    assert start.weights is not None and start.weights.keys() == network.weights.keys()
    one, again, other = trained(network, [own, own, own._replace(names=("other",))], 4)
    assert_same_bits(again, one)
    for curve in ("validation_loss", "test_loss"):
        assert len(np.unique(getattr(one.curves, curve))) == 1
        if name != "crop":  # of which Keras takes another part in evaluations than CenterCrop
            np.testing.assert_allclose(getattr(one.curves, curve), getattr(expected.curves, curve), rtol=1e-5)
    for curves in (one.curves, other.curves):  # every step of every epoch draws anew
        assert (abs(curves.train_loss - expected.curves.train_loss[:4]) > 1e-6).all()
        assert len(np.unique(curves.train_loss)) == 4
    assert len(np.unique(np.concatenate([one.curves.train_loss, other.curves.train_loss]))) == 8


@pytest.mark.slow
def test_a_search_with_augmentation_is_reproducible_and_its_tickets_augment(tmp_path: Path) -> None:
    def search() -> Any:
        augmented = build(AUGMENTATIONS["flip"], AUGMENTATIONS["noise"])
        rates = {"conv": 0.3, "output": 0.2}
        return tiny.make(build=augmented, data=images(), rates=rates, levels=1, jit_compile=None)

    one, other = search(), search()
    assert one.identity == other.identity
    first = one.run(out=tmp_path / "one")
    assert_same_numbers(first, other.run(out=tmp_path / "other"))
    model = strip_masks(first.ticket(trial=0, level=1))
    model.save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    x = images()["test"][0]
    kinds = {type(layer).__name__ for layer in loaded.layers}
    assert {"RandomFlip", "GaussianNoise", "Conv2D"} <= kinds
    np.testing.assert_allclose(loaded(x, training=False), model(x, training=False), rtol=1e-5)
    assert not np.allclose(loaded(x, training=True), loaded(x, training=True))
