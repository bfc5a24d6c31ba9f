"""Optimisers that add gradients up over batches."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lth_keras.training.network import Network
from tests import tiny


def test_gradients_that_add_up_over_two_batches_are_those_of_one_twice_as_large() -> None:
    def trained(batch_size: int, steps: int, **options: Any) -> dict[str, np.ndarray]:
        network = Network(
            tiny.build,
            optimizer=lambda: keras.optimizers.SGD(0.1, **options),
            loss="sparse_categorical_crossentropy",
            batch_size=batch_size,
            jit_compile=keras.backend.backend() == "jax",
        )
        network.load(tiny.data())
        network.weights = network.draw_weights(0)
        network.train(steps, seed=0)
        return dict(network.weights)

    received, expected = trained(10, 6, gradient_accumulation_steps=2), trained(20, 3)
    for key, weights in expected.items():
        np.testing.assert_allclose(received[key], weights, rtol=1e-4, atol=1e-6)
