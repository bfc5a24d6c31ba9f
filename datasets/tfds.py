"""Labelled images from tensorflow_datasets or from packed parts, split as in the lottery ticket paper."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.download import quiet, require_reachable, scratch_folder
from datasets.errors import DataUnavailable
from datasets.packed import is_packed, origin, read_packed
from datasets.splits import Split, Splits, check_validation, named_generator
from datasets.status import Status

KEYS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class ImageSet:
    """A data set of labelled uint8 images.

    Attributes:
        name: its name in tensorflow_datasets and here.
        title: its name in texts.
        version: of tensorflow_datasets' preparation.
        counts: numbers of examples in the splits "train" and "test".
        validation: default number of validation examples, taken from "train".
        shape: of an image.
        classes: names of the classes, by label.
        address: a file that tensorflow_datasets downloads for it.
    """

    name: str
    title: str
    version: str
    counts: Mapping[str, int]
    validation: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    address: str

    @property
    def content(self) -> str:
        """The description in its packed parts."""
        train, test = self.counts["train"], self.counts["test"]
        return (
            f"{self.title}, {train:,} / {test:,} images and labels as tensorflow_datasets' {self.name} {self.version} "
            "has them"
        )

    @property
    def remedy(self) -> str:
        """What to do if the data are absent."""
        return (
            f"Set TFDS_DATA_DIR to a folder that holds {self.name}/{self.version}, or LTH_DATA_DIR to one that holds "
            f"packed/{self.name} (made by: python -m datasets pack {self.name}), or with a network run: "
            f"python -m datasets fetch {self.name}"
        )


def load_images(
    images: ImageSet,
    convert: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    validation: int,
    x_meaning: str,
    y_meaning: str,
) -> Splits:
    """Return the data set; the seed draws a validation split from its training examples.

    Args:
        images: the data set.
        convert: uint8 pixels, shape (n, *images.shape), to the x of a split, independently for each example.
        seed: draws the validation split; 0 or more.
        validation: number of validation examples.
        x_meaning: as in `Splits`.
        y_meaning: as in `Splits`.

    Raises:
        DataUnavailable: as in `read_images`.
        ValueError: if the seed is negative or the validation size out of range.
    """
    available = images.counts["train"]
    check_validation(images.title, validation, available)
    order = named_generator(seed, f"{images.name}/validation").permutation(available)
    arrays, read_from = read_images(images)

    def split(name: str, places: np.ndarray | slice) -> Split:
        return Split(convert(arrays[f"{name}_x"][places]), arrays[f"{name}_y"][places].astype(np.int32))

    return Splits(
        name=images.name,
        train=split("train", order[validation:]),
        validation=split("train", order[:validation]),
        test=split("test", slice(None)),
        classes=images.classes,
        x_meaning=x_meaning,
        y_meaning=y_meaning,
        provenance={"read_from": read_from},
    )


def read_images(images: ImageSet) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays `KEYS`, from packed parts if there are some, and their source.

    Raises:
        DataUnavailable: if there are neither parts nor a cache nor a network, or the data are damaged.
    """
    if not is_packed(images.name):
        return read_original(images), f"{_folder(images)} (TFDS_DATA_DIR)"
    arrays = read_packed(images.name, images.content, KEYS)
    return arrays, origin(images.name)


def read_original(images: ImageSet) -> dict[str, np.ndarray]:
    """Return x and y of "train" and "test", uint8, from tensorflow_datasets, downloaded if absent.

    Raises:
        DataUnavailable: if there is neither a cache nor a network, or the cache is damaged.
    """
    fetch_images(images)
    folder = _folder(images)
    try:
        import tensorflow  # noqa: F401  # without it tensorflow_datasets imports as an empty module
        import tensorflow_datasets

        with quiet("tensorflow"):
            builder = tensorflow_datasets.builder_from_directory(folder)
            arrays = [array for name in ("train", "test") for array in _read_split(images, builder, name)]
            return dict(zip(KEYS, arrays, strict=True))
    except ImportError as error:
        tried = f"the data are in {folder}, but what reads them cannot be imported: {error}"
        remedy = (
            "Install it: pip install -e '.[experiments]', or where it is installed run: "
            f"python -m datasets pack {images.name}, and set LTH_DATA_DIR to a folder that holds packed/{images.name}"
        )
        raise DataUnavailable(images.title, tried, remedy) from error
    except Exception as error:
        tried = f"the data in {folder} cannot be read: {type(error).__name__}: {error}"
        remedy = f"Delete that folder and load again, or another cache: {images.remedy}"
        raise DataUnavailable(images.title, tried, remedy) from error


def fetch_images(images: ImageSet) -> None:
    """Download the data set into the cache of tensorflow_datasets, unless it is there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written. No partial data are left.
    """
    if _is_present(images):
        return
    looked = f"no data in {_folder(images)}"
    require_reachable(images.title, images.address, looked, images.remedy)
    try:
        import tensorflow_datasets

        with scratch_folder(_cache()) as downloads:
            builder = tensorflow_datasets.builder(f"{images.name}:{images.version}", data_dir=_cache())
            builder.download_and_prepare(download_dir=downloads)
    except Exception as error:
        tried = f"{looked}, and preparing it there failed: {type(error).__name__}: {error}"
        raise DataUnavailable(images.title, tried, images.remedy) from error


def status_of(images: ImageSet) -> Status:
    """Return whether the data set is packed or in the cache, without reading it."""
    train, test = images.counts["train"], images.counts["test"]
    packed = is_packed(images.name)
    return Status(
        images.name,
        present=packed or _is_present(images),
        where=origin(images.name) if packed else f"{_folder(images)} (TFDS_DATA_DIR)",
        counts=f"{train - images.validation:,} / {images.validation:,} / {test:,}",
    )


def _cache() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _folder(images: ImageSet) -> Path:
    return _cache() / images.name / images.version


def _is_present(images: ImageSet) -> bool:
    return (_folder(images) / "dataset_info.json").is_file()


def _read_split(images: ImageSet, builder: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    count = images.counts[name]
    pixels = np.empty((count, *images.shape), np.uint8)
    labels = np.empty(count, np.uint8)
    found = 0
    for image, label in _examples(images, builder, name):
        if found < count:
            pixels[found], labels[found] = image, label
        found += 1
    if found != count:
        raise ValueError(f"Expected {count} examples in split {name!r}. Received: {found}.")
    return pixels, labels


def _examples(images: ImageSet, builder: Any, name: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield pixels 0..255 and the label, in the order of the files.

    Does not use `builder.as_dataset`, which would start TensorFlow's runtime, claim the GPUs and fix the number of
    threads. Instead it reads the records, a label and a PNG each, and verifies their checksums.
    """
    import tensorflow as tf
    from PIL import Image

    for path in builder.info.splits[name].filepaths:
        for record in tf.compat.v1.io.tf_record_iterator(os.fspath(path)):
            feature = tf.train.Example.FromString(record).features.feature
            png = feature["image"].bytes_list.value[0]
            image = np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)))
            if image.shape != images.shape or image.dtype != np.uint8:
                raise ValueError(f"Expected images {images.shape} of uint8. Received: {image.shape} of {image.dtype}.")
            yield image, feature["label"].int64_list.value[0]
