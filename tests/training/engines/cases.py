"""Small networks that engines train, their tickets and their data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.masking.tables import LARGE
from lth_keras.training.engines import Callbacks, Schedule, Ticket, Trained
from lth_keras.training.network import Network

ON_JAX = keras.backend.backend() == "jax"
jax_only = pytest.mark.skipif(not ON_JAX, reason="several tickets are trained at once on JAX only: KERAS_BACKEND=jax")
ROWS = LARGE // 64 + 1
BIASED = 5
"""A unit of the second layer with a bias and no inputs; those from 8 on have neither inputs nor outputs."""
CURVES = ("train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric")


def adam() -> keras.Optimizer:
    return keras.optimizers.Adam(0.01)


def chain(activation: str = "relu") -> keras.Model:
    """48-64-40-3."""
    dense = keras.layers.Dense
    hidden = [dense(64, activation, name="first"), dense(40, activation, name="second")]
    output = dense(3, "softmax", name="third")
    return keras.Sequential([keras.Input((6, 8)), keras.layers.Flatten(), *hidden, output])


def table() -> keras.Model:
    """With an embedding table that is just large enough to be trained by rows."""
    x = keras.Input((6,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(ROWS, 64)(x))
    return keras.Model(x, keras.layers.Dense(3, "softmax")(pooled))


def data(seed: int = 0, *, words: bool = False) -> dict[str, Any]:
    """Three classes that a few features tell apart, with noise."""
    generator = np.random.default_rng(seed)

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.normal(size=(examples, 6, 8)).astype(np.float32)
        y = np.digitize(x[:, 0].sum(1) + 2 * generator.normal(size=examples), [-1, 1]).astype(np.int32)
        return (np.abs(1000 * x[:, :, 0]).astype(np.int32) if words else x), y

    return {"train": split(160), "validation": split(64), "test": split(64)}


def network_of(engine: str = "auto", build: Any = chain, **changes: Any) -> Network:
    own = "native" in engine or build is table
    parameters: dict[str, Any] = {
        "optimizer": adam,
        "loss": "sparse_categorical_crossentropy",
        "batch_size": 16,
        "evaluate_every": 5,
        "test_every": 5 if build is table else 10,
        "jit_compile": None if own else ON_JAX,
    }
    return Network(build, engine=engine, **{**parameters, **changes})


def ticket(network: Network, seed: int = 0, name: str = "a", **changes: Any) -> Ticket:
    """A ticket with weights and a mask of its own, of the data of its seed's parity; all are compacted to 48-64-8-3."""
    generator = np.random.default_rng([seed, ord(name)])
    weights = dict(network.draw_weights(seed, name))
    kept = {key: generator.random(shape) < 0.3 for key, shape in network.mask.shapes.items()}
    if "second/kernel" in kept:
        kept["second/kernel"][:, 8:] = kept["second/kernel"][:, BIASED] = False
        kept["third/kernel"][:] = (np.arange(40) < 8)[:, None]
        weights["second/bias"][BIASED] = 0.5
    return Ticket(weights, Mask(kept), seed, ("level", name), data=seed % 2)._replace(**changes)


def take(network: Network, *seeds: int) -> None:
    """Gives a network the data of these trials."""
    words = network.model.inputs[0].dtype == "int32"
    network.take({seed: network.checked(data(seed, words=words)) for seed in seeds})


def trained(
    network: Network, tickets: Sequence[Ticket], steps: int = 23, *, after: Any = None, **schedule: Any
) -> list[Trained]:
    """What came of tickets, with weights that outlast the next training."""
    results = network.engine.train(network, tickets, Schedule(steps, **schedule), after or Callbacks())
    return [result._replace(weights=dict(result.weights), scored=dict(result.scored)) for result in results]


def assert_same_bits(received: Trained, expected: Trained) -> None:
    for name in ("step", *CURVES):
        np.testing.assert_array_equal(getattr(received.curves, name), getattr(expected.curves, name), err_msg=name)
    assert received.test_metric_at_early_stop == expected.test_metric_at_early_stop
    for key, value in expected.weights.items():
        np.testing.assert_array_equal(received.weights[key], value, err_msg=key)


def assert_same_within_rounding(received: Trained, expected: Trained) -> None:
    np.testing.assert_array_equal(received.curves.step, expected.curves.step)
    for name in CURVES:  # an example that is undecided may fall on either side
        tolerance = 1 / 60 if name.endswith("metric") else 1e-5
        one, other = (getattr(result.curves, name) for result in (received, expected))
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=tolerance, err_msg=name)
    for name in ("test_confusion", "test_counts"):
        one, other = (getattr(result.curves, name) for result in (received, expected))
        assert (one is None) == (other is None)
        if other is not None:
            np.testing.assert_allclose(one, other, atol=1, err_msg=name)
    assert received.test_metric_at_early_stop == pytest.approx(expected.test_metric_at_early_stop, abs=1 / 60)
    for name in ("weights", "scored"):
        for key, value in getattr(expected, name).items():
            other = getattr(received, name)[key]
            assert other.dtype == value.dtype
            np.testing.assert_allclose(other, value, rtol=1e-3, atol=5e-5, err_msg=f"{name} {key}")
