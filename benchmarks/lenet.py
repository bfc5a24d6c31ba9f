"""What benchmarks train: LeNet-300-100 as in experiments.mnist_lenet_fcn, and the data for it."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np

from datasets import mnist
from datasets.packed import is_packed
from datasets.splits import Split, Splits

BATCH_SIZE = 60
EVALUATE_EVERY, TEST_EVERY = 100, 1000
"""Steps between evaluations on the validation and on the test split."""
LOSS = "sparse_categorical_crossentropy"
SIZES = (55_000, 5_000, 10_000)
"""Training, validation and test examples."""


def optimizer() -> keras.Optimizer:
    """The experiment's optimiser, new."""
    return keras.optimizers.Adam(1.2e-3)


def mnist_or_random() -> Splits:
    """MNIST where it is on this machine and can be read, else random data of its shape. Downloads nothing."""
    readable = is_packed("mnist") or importlib.util.find_spec("tensorflow") is not None
    return mnist.load() if mnist.status().present and readable else random_mnist()


def random_mnist(sizes: tuple[int, int, int] = SIZES) -> Splits:
    """Random pixels in [0, 1] and random labels, of MNIST's shape.

    Args:
        sizes: training, validation and test examples.
    """
    generator = np.random.default_rng(0)
    train, validation, test = (
        Split(generator.random((n, 784), np.float32), generator.integers(10, size=n, dtype=np.int32)) for n in sizes
    )
    return Splits(
        name="random data of MNIST's shape (MNIST cannot be read on this machine)",
        train=train,
        validation=validation,
        test=test,
        classes=tuple("0123456789"),
        x_meaning="(n, 784) float32: noise in [0, 1]",
        y_meaning="(n,) int32: a random digit",
    )
