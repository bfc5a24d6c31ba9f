"""MNIST (LeCun et al., 1998) through tensorflow_datasets, split as in the lottery ticket paper."""

from __future__ import annotations

from functools import partial

import numpy as np

from datasets.splits import Splits
from datasets.status import Status
from datasets.tfds import ImageSet, fetch_images, load_images, read_original, status_of

VALIDATION = 5_000
IMAGES = ImageSet(
    name="mnist",
    title="MNIST",
    version="3.0.1",
    counts={"train": 60_000, "test": 10_000},
    validation=VALIDATION,
    shape=(28, 28),
    classes=tuple("0123456789"),
    # One of the four files that the mnist builder downloads.
    address="https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
)


def load(*, seed: int = 0, validation: int = VALIDATION, scaled: bool = True) -> Splits:
    """Return MNIST as 60,000 - `validation` / `validation` / 10,000 examples.

    The 10,000 test examples are MNIST's. The seed draws the validation split from the 60,000 training examples,
    55,000 / 5,000 by default as in "The Lottery Ticket Hypothesis", Frankle & Carbin, 2019, appendix G.

    The data are read from packed parts (LTH_DATA_DIR/packed/mnist) if there are some, else from the cache of
    tensorflow_datasets (TFDS_DATA_DIR, by default ~/tensorflow_datasets), else downloaded into it. The arrays are
    bit-identical. "read_from" in `provenance` names the source. Reading creates no TensorFlow context, so threads and
    devices can still be configured afterwards.

    Args:
        seed: draws the validation split; 0 or more.
        validation: number of validation examples, in [1, 59999].
        scaled: whether pixels are divided by 255, as in the paper.

    Returns:
        x of shape (n, 784), float32, the 28x28 pixels row by row as ink in [0, 1], or in 0..255 if not `scaled`; y of
        shape (n,), int32, the digit 0..9.

    Raises:
        DataUnavailable: if there is neither a cache nor a network, or the data are damaged.
        ValueError: if the seed is negative or the validation size out of range.
    """
    return load_images(
        IMAGES,
        partial(_convert, largest=1 if scaled else 255),
        seed=seed,
        validation=validation,
        x_meaning=f"(n, 784) float32: 28x28 pixels row by row, ink in [0, {1 if scaled else 255}]",
        y_meaning="(n,) int32: the digit, 0 to 9",
    )


def status() -> Status:
    """Return whether MNIST is packed or in the cache, without reading it."""
    return status_of(IMAGES)


def fetch() -> None:
    """Download MNIST (11 MB) into the cache of tensorflow_datasets, unless it is there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written. No partial data are left.
    """
    fetch_images(IMAGES)


def content() -> str:
    """Return the description in packed parts of MNIST."""
    return IMAGES.content


def originals() -> dict[str, np.ndarray]:
    """Return the arrays to pack: pixels and labels of all examples, uint8, as in tensorflow_datasets.

    Raises:
        DataUnavailable: as in `load`; does not read packed parts.
    """
    return read_original(IMAGES)


def _convert(pixels: np.ndarray, largest: int) -> np.ndarray:
    x = pixels.reshape(len(pixels), -1).astype(np.float32)
    x /= np.float32(255 / largest)
    return x
