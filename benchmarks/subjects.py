"""Networks of papers for benchmarks, with their optimisers and data, or random data of the same shape."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import numpy as np

from datasets import mnist, newsgroups
from datasets.packed import is_packed
from lth_keras.models import conv_6, lenet_300_100, newsgroups_end2end, vgg

BATCH_SIZE = 60
LOSS = "sparse_categorical_crossentropy"

Data = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""x and y of `train`, `validation` and `test`."""
SMALL = {"train": 130, "validation": 20, "test": 30}
"""Numbers of examples in small data."""


class Subject(NamedTuple):
    """A network to train.

    Attributes:
        build: makes the plain Keras model.
        optimizer: makes the optimiser of the paper.
        data: returns the data; random if small or not on this machine.
        data_name: names the data.
    """

    build: Callable[[], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    data: Callable[[], Data]
    data_name: str = "random"


def subject(name: str, small: bool = False) -> Subject:
    """A network of `SUBJECTS` by name."""
    return SUBJECTS[name](small)


def data_name(name: str) -> Callable[[bool], str]:
    """(whether small) -> the name of the data, for `Case.data`."""
    return lambda small: subject(name, small).data_name


def lenet(small: bool) -> Subject:
    """LeNet-300-100 as in experiments.mnist_lenet_fcn; `small` changes only the data."""
    readable = is_packed("mnist") or importlib.util.find_spec("tensorflow") is not None
    real = not small and readable and mnist.status().present
    sizes = SMALL if small else {"train": 55_000, "validation": 5_000, "test": 10_000}
    return Subject(
        lenet_300_100,
        lambda: keras.optimizers.Adam(1.2e-3),
        (lambda: splits(mnist.load())) if real else (lambda: noise(sizes, (784,))),
        "MNIST" if real else "random, of MNIST's shape",
    )


def conv6(small: bool) -> Subject:
    """Conv-6 as in experiments.cifar10_conv6, on random images."""
    sizes = SMALL if small else {"train": 6_000, "validation": 60, "test": 60}
    return Subject(
        (lambda: vgg((2,), (4,))) if small else conv_6,
        lambda: keras.optimizers.Adam(3e-4),
        lambda: noise(sizes, (32, 32, 3)),
    )


def end2end(small: bool) -> Subject:
    """Newsgroups-End2End, whose 16 embeddings of 61,188 x 300 are trained by rows; small ones are not."""
    real = not small and newsgroups.status().present
    rows = 50 if small else newsgroups.ROWS
    sizes = SMALL if small else {"train": 4_000, "validation": 60, "test": 60}
    return Subject(
        lambda: newsgroups_end2end(rows, dimension=4 if small else 300),
        keras.optimizers.Adam,
        (lambda: splits(newsgroups.load())) if real else (lambda: random_words(sizes, rows)),
        "20 Newsgroups" if real else "random words",
    )


SUBJECTS = {"lenet": lenet, "conv6": conv6, "end2end": end2end}


def splits(loaded: object) -> Data:
    """A data set's three splits."""
    return {name: tuple(getattr(loaded, name)) for name in SMALL}


def noise(sizes: Mapping[str, int], shape: tuple[int, ...]) -> Data:
    """Pixels in [0, 1] and ten classes."""
    generator = np.random.default_rng(0)
    return {
        name: (generator.random((n, *shape), np.float32), generator.integers(10, size=n, dtype=np.int32))
        for name, n in sizes.items()
    }


def random_words(sizes: Mapping[str, int], rows: int) -> Data:
    """Documents of 200 words with about the word frequencies of 20 Newsgroups, and twenty classes."""
    generator = np.random.default_rng(0)
    return {
        name: (
            np.minimum(generator.zipf(1.25, (n, 200)), rows - 1).astype(np.int32),
            generator.integers(20, size=n),
        )
        for name, n in sizes.items()
    }


def one_evaluated(data: Data) -> Data:
    """The same data with one validation and one test example, so that evaluations take no time."""
    return {name: (x, y) if name == "train" else (x[:1], y[:1]) for name, (x, y) in data.items()}
