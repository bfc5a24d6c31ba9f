"""CIFAR-10 (Krizhevsky, 2009) through tensorflow_datasets, split as in the lottery ticket paper."""

from __future__ import annotations

import numpy as np

from datasets.splits import Splits
from datasets.status import Status
from datasets.tfds import ImageSet, fetch_images, load_images, read_original, status_of

VALIDATION = 5_000
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1]: ImageNet's values, which OpenLTH uses for CIFAR-10."""

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

    The 10,000 test examples are CIFAR-10's. The seed draws the validation split from the 50,000 training examples,
    45,000 / 5,000 by default as in "The Lottery Ticket Hypothesis", Frankle & Carbin, 2019, appendix H.

    Pixels are scaled as in OpenLTH, the code of the paper's first author: divided by 255, minus a mean per colour,
    divided by a standard deviation per colour, both ImageNet's, in float32 and in this order. There is no augmentation.

    The data are read from the same places as in `datasets.mnist.load`.

    Args:
        seed: draws the validation split; 0 or more.
        validation: number of validation examples, in [1, 49999].

    Returns:
        x of shape (n, 32, 32, 3), float32, rows, columns and red, green, blue, standardised: in [-2.12, 2.64]; y of
        shape (n,), int32, the class, 0..9. The splits take 737 MB.

    Raises:
        DataUnavailable: if there is neither a cache nor a network, or the data are damaged.
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
        DataUnavailable: if it cannot be downloaded or written. No partial data are left.
    """
    fetch_images(IMAGES)


def content() -> str:
    """Return the description in packed parts of CIFAR-10."""
    return IMAGES.content


def originals() -> dict[str, np.ndarray]:
    """Return the arrays to pack: pixels and labels of all examples, uint8, as in tensorflow_datasets.

    Raises:
        DataUnavailable: as in `load`; does not read packed parts.
    """
    return read_original(IMAGES)


def _convert(pixels: np.ndarray) -> np.ndarray:
    x = pixels.astype(np.float32)
    x /= np.float32(255)
    x -= np.array(MEAN, np.float32)
    x /= np.array(DEVIATION, np.float32)
    return x
