"""CIFAR-10 (Krizhevsky, 2009) through tensorflow_datasets, split as in the lottery ticket paper."""

from __future__ import annotations

import numpy as np

from datasets.splits import Splits
from datasets.status import Status
from datasets.tfds import ImageSet, fetch_images, load_images, read_original, status_of

VALIDATION = 5_000
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1]: ImageNet's, with which OpenLTH standardises CIFAR-10."""

IMAGES = ImageSet(
    name="cifar10",
    title="CIFAR-10",
    version="3.0.2",
    counts={"train": 50_000, "test": 10_000},
    validation=VALIDATION,
    shape=(32, 32, 3),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    address="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)


def load(*, seed: int = 0, validation: int = VALIDATION) -> Splits:
    """Return CIFAR-10 as 50,000 - `validation` / `validation` / 10,000 examples.

    The 10,000 test examples are CIFAR-10's own. The validation split is taken out of its 50,000 training examples by a
    permutation drawn from the seed, 45,000 / 5,000 by default as in "The Lottery Ticket Hypothesis", Frankle & Carbin,
    2019, appendix H.

    Pixels are scaled as in OpenLTH, the code of the paper's first author: divided by 255, a mean per colour subtracted,
    divided by a standard deviation per colour, both ImageNet's, in float32 and in that order. Nothing is augmented.

    Where the data are read from is decided as in `datasets.mnist.load`.

    Args:
        seed: draws the validation split; 0 or more.
        validation: how many examples it gets, in [1, 49999].

    Returns:
        x of shape (n, 32, 32, 3), float32, rows, columns and red, green, blue, standardised: in [-2.12, 2.64]; y of
        shape (n,), int32, the class, 0..9. The splits take 737 MB.

    Raises:
        DataUnavailable: if there is neither a cache nor a network, or what is there is damaged.
        ValueError: if the seed is negative or the validation size out of range.
    """
    return load_images(
        IMAGES,
        _convert,
        seed=seed,
        validation=validation,
        x_meaning=(
            "(n, 32, 32, 3) float32: rows, columns, colours; (pixel / 255 - mean) / deviation with mean "
            f"{MEAN} and deviation {DEVIATION}, by colour"
        ),
        y_meaning="(n,) int32: the class, 0 to 9",
    )


def status() -> Status:
    """Say whether CIFAR-10 is packed or in the cache, without reading it."""
    return status_of(IMAGES)


def fetch() -> None:
    """Download CIFAR-10 (170 MB) into the cache of tensorflow_datasets, unless it is there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written. Nothing half-made stays behind.
    """
    fetch_images(IMAGES)


def content() -> str:
    """Return what packed parts of CIFAR-10 say that they are."""
    return IMAGES.content


def originals() -> dict[str, np.ndarray]:
    """Return what is packed: pixels and labels of all examples, uint8, as tensorflow_datasets has them.

    Raises:
        DataUnavailable: as `load`; packed parts do not count.
    """
    return read_original(IMAGES)


def _convert(pixels: np.ndarray) -> np.ndarray:
    x = pixels.astype(np.float32)
    x /= np.float32(255)
    x -= np.array(MEAN, np.float32)
    x /= np.array(DEVIATION, np.float32)
    return x
