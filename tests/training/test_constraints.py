"""Constraints on masked weights in the library's own training: each level's own mask."""

import keras
import numpy as np
from keras import layers

from lth_keras.mask import Mask
from lth_keras.masking import get_mask
from lth_keras.training.network import Network


def build():
    return keras.Sequential([keras.Input((6,)), layers.Dense(8, kernel_constraint="unit_norm"), layers.Dense(2)])


def test_a_constraint_goes_by_the_mask_of_the_level_not_of_the_one_that_was_compiled():
    network = Network(build, optimizer=lambda: keras.optimizers.SGD(0.0), loss="mse", batch_size=8, evaluate_every=2)
    generator = np.random.default_rng(0)
    data = generator.normal(size=(16, 6)).astype("float32"), generator.normal(size=(16, 2)).astype("float32")
    network.load({"train": data, "validation": data, "test": data})
    drawn = dict(network.draw_weights(1, "initial"))
    for _ in range(2):
        mask = Mask({key: generator.random(value.shape) < 0.5 for key, value in get_mask(network.model).items()})
        network.rewind(drawn, mask)
        network.train(2, seed=1)
        kernel, kept = network.weights["dense/kernel"], mask["dense/kernel"]
        assert kernel[kept].all() and not kernel[~kept].any()
        norms = np.linalg.norm(kernel, axis=0)[kept.any(0)]
        np.testing.assert_allclose(norms, 1, rtol=1e-5)
