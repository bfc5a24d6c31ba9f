"""The backend against another: the same training from the same weights, in a process each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.backends import backend
from lth_keras.mask import Mask
from lth_keras.masking.tables import LARGE
from lth_keras.pruning.ranking import keep_highest
from lth_keras.training import BatchOrder
from lth_keras.training.network import Network

ROOT = Path(__file__).resolve().parents[2]
OTHER = {"tensorflow": "jax", "jax": "tensorflow", "torch": "tensorflow"}[keras.backend.backend()]
STEPS, EVERY, EXAMPLES, SEED = 200, 10, 150, 3
NAMES = ("level", 1)
Results = dict[str, np.ndarray]
TOLERANCE = 1.2e-5
"""One rounding of float32, 6e-8, at every step, all of them in one direction. Sums in another order are all that the
backends differ by: 3e-7 as measured (TensorFlow 2.21, JAX 0.10), in losses relatively and in weights absolutely.
"""


def dense() -> list[Any]:
    return [keras.Input((10,)), layers.Dense(24, "relu"), layers.Dense(16, "tanh")]


def convolutional() -> list[Any]:
    # Without the bias that batch statistics cancel: its gradient is rounding errors, which Adam makes steps of.
    convolution = layers.Conv2D(6, 3, padding="same", use_bias=False)
    return [keras.Input((6, 6, 2)), convolution, layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]


def embedding() -> list[Any]:
    return [keras.Input((12,), dtype="int32"), layers.Embedding(40, 6), layers.Conv1D(8, 3), layers.Flatten()]


def rows() -> list[Any]:
    """A table that is large enough to be trained by rows."""
    table = layers.Embedding(LARGE // 1000 + 1, 1000)
    return [keras.Input((12,), dtype="int32"), table, layers.Conv1D(4, 3), layers.Flatten()]


BUILDS = {"dense": dense, "convolutional": convolutional, "embedding": embedding, "rows": rows}
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.003),
    "momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.9),
}
CASES = [f"{model} {optimizer}" for model in BUILDS for optimizer in OPTIMIZERS]
if not backend().trains_by_rows:
    CASES = [case for case in CASES if not case.startswith("rows")]


def network_of(case: str) -> Network:
    model, optimizer = case.split()

    def build() -> keras.Model:
        return keras.Sequential([*BUILDS[model](), layers.Dense(3, "softmax")])

    return Network(
        build,
        optimizer=OPTIMIZERS[optimizer],
        loss="sparse_categorical_crossentropy",
        batch_size=16,
        evaluate_every=EVERY,
        test_every=EVERY,
    )


def examples(shape: tuple[int, ...], words: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three classes by a random rule, with noise."""
    generator = np.random.default_rng(0)
    rule = generator.normal(size=(int(np.prod(shape)), 3))

    def split(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.normal(size=(n, *shape))
        scores = x.reshape(n, -1) @ rule
        labels = (scores + scores.std() * generator.normal(size=scores.shape)).argmax(axis=1)
        return (np.clip(x * 8 + 20, 0, 39).astype(np.int32) if words else x.astype(np.float32)), labels

    return {"train": split(500), "validation": split(EXAMPLES), "test": split(EXAMPLES)}


def start(case: str) -> Results:
    """Initial weights of this backend's drawing, and a random mask of 70%."""
    network = network_of(case)
    weights = network.draw_weights(SEED, "initial")
    generator = np.random.default_rng(1)
    mask = {f"mask {key}": generator.random(shape) < 0.7 for key, shape in network.mask.shapes.items()}
    return {**weights, **mask}


def trained(case: str, begin: Mapping[str, np.ndarray]) -> Results:
    """Trains, and prunes by magnitude: curves, the order of the examples, the weights and the next mask."""
    network = network_of(case)
    assert bool(network.tables) == case.startswith("rows")
    network.load(examples(network.model.input_shape[1:], network.model.inputs[0].dtype == "int32"))
    mask = Mask({key: begin[f"mask {key}"] for key in network.mask})
    network.rewind({key: begin[key] for key in network.weights}, mask)
    orders: list[np.ndarray] = []
    take = BatchOrder.take

    def recorded(self: BatchOrder, steps: int) -> np.ndarray:
        orders.append(take(self, steps))
        return orders[-1]

    with mock.patch.object(BatchOrder, "take", recorded):
        curves = network.train(STEPS, seed=SEED, names=NAMES)
    weights = dict(network.weights)
    scores = {key: np.abs(weights[key]) for key in network.mask}
    keep = {key: round(0.6 * count) for key, count in mask.counts().items()}
    mask = keep_highest(scores, mask, keep, generator=np.random.default_rng(2))
    return {
        "order": np.concatenate(orders),
        **{f"curve {name}": values for name, values in vars(curves).items() if values is not None},
        **{f"weight {key}": value for key, value in weights.items()},
        **{f"mask {key}": value for key, value in mask.items()},
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Results, Results]]:
    """What this backend and the other make of the same weights and masks, by case; they train at the same time."""
    folder = tmp_path_factory.mktemp("other")
    for case in CASES:
        np.savez(folder / f"{case} start.npz", **start(case))
    environment = {**os.environ, "KERAS_BACKEND": OTHER}
    command = [sys.executable, "-m", "tests.backends.test_backends", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=PIPE, stderr=PIPE) as process:
        try:
            ours = {case: trained(case, np.load(folder / f"{case} start.npz")) for case in CASES}
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, errors[-3000:]
    assert output.split() == [OTHER]
    return {case: (ours[case], dict(np.load(folder / f"{case} end.npz"))) for case in CASES}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_both_backends_train_the_same_network(case: str, results: dict[str, tuple[Results, Results]]) -> None:
    ours, theirs = results[case]
    assert ours.keys() == theirs.keys()
    assert ours["order"].shape == (STEPS, 16) and len(ours["curve step"]) == STEPS // EVERY
    for key, value in ours.items():
        if key == "order" or key.startswith("mask") or key == "curve step":
            np.testing.assert_array_equal(value, theirs[key], err_msg=key)
        elif key.endswith("accuracy"):  # one example may be on the edge
            np.testing.assert_allclose(value, theirs[key], rtol=0, atol=1.01 / EXAMPLES, err_msg=key)
        elif key.endswith("loss"):
            np.testing.assert_allclose(value, theirs[key], rtol=TOLERANCE, err_msg=key)
        else:
            np.testing.assert_allclose(value, theirs[key], rtol=0, atol=TOLERANCE, err_msg=key)
    assert ours["curve train_loss"][-1] < ours["curve train_loss"][0] - 0.05, "it has not learnt: it shows nothing"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for each in (case for case in CASES if (place / f"{case} start.npz").exists()):
        np.savez(place / f"{each} end.npz", **trained(each, np.load(place / f"{each} start.npz")))
    print(keras.backend.backend())
