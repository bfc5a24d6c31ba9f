"""MNIST (LeCun et al., 1998) through tensorflow_datasets, split as in the lottery ticket paper."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datasets.download import quiet, require_reachable, scratch_folder
from datasets.errors import DataUnavailable
from datasets.splits import Split, Splits, check_validation, named_generator
from datasets.status import Status

VERSION = "3.0.1"
COUNTS = {"train": 60_000, "test": 10_000}
VALIDATION = 5_000
# One of the four files that the mnist builder downloads.
ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz"
REMEDY = (
    "Set TFDS_DATA_DIR to a folder that holds mnist/" + VERSION + ", or with a network run: "
    "python -m datasets fetch mnist"
)


def load(*, seed: int = 0, validation: int = VALIDATION) -> Splits:
    """Return MNIST as 60,000 - `validation` / `validation` / 10,000 examples.

    The 10,000 test examples are MNIST's own. The validation split is taken out of its 60,000
    training examples by a permutation drawn from the seed, 55,000 / 5,000 by default as in
    "The Lottery Ticket Hypothesis", Frankle & Carbin, 2019, appendix G.

    The data are read from the cache of tensorflow_datasets (TFDS_DATA_DIR, by default
    ~/tensorflow_datasets), and downloaded into it if they are not there. Reading creates no
    TensorFlow context, so threads and devices can still be configured afterwards.

    Args:
        seed: draws the validation split; 0 or more.
        validation: how many examples it gets, in [1, 59999].

    Returns:
        x of shape (n, 784), float32, the 28x28 pixels row by row as ink in [0, 1] (the stored
        0..255 divided by 255); y of shape (n,), int32, the digit 0..9.

    Raises:
        DataUnavailable: if there is neither a cache nor a network, or the cache is damaged.
        ValueError: if the seed is negative or the validation size out of range.
    """
    check_validation("MNIST", validation, COUNTS["train"])
    order = named_generator(seed, "mnist/validation").permutation(COUNTS["train"])
    if not _is_present():
        fetch()
    all_train, test = _read()
    held_out, train = order[:validation], order[validation:]
    return Splits(
        name="mnist",
        train=Split(all_train.x[train], all_train.y[train]),
        validation=Split(all_train.x[held_out], all_train.y[held_out]),
        test=test,
        classes=tuple("0123456789"),
        x_meaning="(n, 784) float32: 28x28 pixels row by row, ink in [0, 1]",
        y_meaning="(n,) int32: the digit, 0 to 9",
    )


def status() -> Status:
    """Say whether MNIST is in the cache, without reading it."""
    counts = f"{COUNTS['train'] - VALIDATION:,} / {VALIDATION:,} / {COUNTS['test']:,}"
    where = f"{_folder()} (TFDS_DATA_DIR)"
    return Status("mnist", present=_is_present(), where=where, counts=counts)


def fetch() -> None:
    """Download MNIST (11 MB) into the cache of tensorflow_datasets, unless it is there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written. Nothing half-made stays behind.
    """
    if _is_present():
        return
    looked = f"no data in {_folder()}"
    require_reachable("MNIST", ADDRESS, looked, REMEDY)
    try:
        import tensorflow_datasets as tfds

        with scratch_folder(_cache()) as downloads:
            builder = tfds.builder(f"mnist:{VERSION}", data_dir=_cache())
            builder.download_and_prepare(download_dir=downloads)
    except Exception as error:
        tried = f"{looked}, and preparing it there failed: {type(error).__name__}: {error}"
        raise DataUnavailable("MNIST", tried, REMEDY) from error


def _cache() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _folder() -> Path:
    return _cache() / "mnist" / VERSION


def _is_present() -> bool:
    return (_folder() / "dataset_info.json").is_file()


def _read() -> tuple[Split, Split]:
    try:
        import tensorflow_datasets as tfds

        with quiet("tensorflow"):
            builder = tfds.builder_from_directory(_folder())
            return _read_split(builder, "train"), _read_split(builder, "test")
    except ImportError as error:
        tried = f"the data are in {_folder()}, but what reads them cannot be imported: {error}"
        raise DataUnavailable("MNIST", tried, "Install it: pip install -e .") from error
    except Exception as error:
        tried = f"the data in {_folder()} cannot be read: {type(error).__name__}: {error}"
        remedy = f"Delete that folder and load again, or another cache: {REMEDY}"
        raise DataUnavailable("MNIST", tried, remedy) from error


def _read_split(builder: Any, name: str) -> Split:
    count = COUNTS[name]
    pixels = np.empty((count, 28 * 28), np.uint8)
    labels = np.empty(count, np.int32)
    found = 0
    for image, label in _examples(builder, name):
        if found < count:
            pixels[found], labels[found] = image.reshape(-1), label
        found += 1
    if found != count:
        raise ValueError(f"Expected {count} examples in split {name!r}. Received: {found}.")
    return Split(pixels.astype(np.float32) / np.float32(255), labels)


def _examples(builder: Any, name: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (28, 28) pixels 0..255 and the label, in the order of the files.

    `builder.as_dataset` would be the short way. It starts TensorFlow's runtime, which claims the
    GPUs and fixes the number of threads before the caller could choose; the records are
    therefore read (and their checksums verified) one after the other: a label and a PNG each.
    """
    import tensorflow as tf
    from PIL import Image

    for path in builder.info.splits[name].filepaths:
        for record in tf.compat.v1.io.tf_record_iterator(os.fspath(path)):
            feature = tf.train.Example.FromString(record).features.feature
            png = feature["image"].bytes_list.value[0]
            image = np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)))
            if image.shape != (28, 28) or image.dtype != np.uint8:
                raise ValueError(f"Expected 28x28 images of uint8. Received: {image.shape} of {image.dtype}.")
            yield image, feature["label"].int64_list.value[0]
