"""Caches with small data sets in them, written without a download."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from datasets import cifar10, mnist, newsgroups_texts, newsgroups_vocabulary, text
from datasets.tfds import ImageSet
from tests.datasets import newsgroups_small, reuters_small

SMALL = {"train": 60, "test": 20}
FEATURE = "tensorflow_datasets.core.features"


def small_images(split: str, shape: tuple[int, ...] = (28, 28)) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (n, *shape) of 0..255 and labels (n,), the same at every call."""
    generator = np.random.default_rng(len(split))
    pixels = generator.integers(0, 256, (SMALL[split], *shape), dtype=np.uint8)
    return pixels, generator.integers(0, 10, SMALL[split])


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point TFDS_DATA_DIR at a cache with 60 / 20 examples and LTH_DATA_DIR at nothing; return MNIST's folder."""
    return _small(mnist, tmp_path, monkeypatch)


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for CIFAR-10."""
    return _small(cifar10, tmp_path, monkeypatch)


def _small(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images = dataclasses.replace(module.IMAGES, counts=SMALL)
    monkeypatch.setattr(module, "IMAGES", images)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path / "own"))
    folder = tmp_path / images.name / images.version
    folder.mkdir(parents=True)
    for split in SMALL:
        _write_records(folder / f"{images.name}-{split}.tfrecord-00000-of-00001", *small_images(split, images.shape))
    _write_description(folder, images)
    return folder


def _write_description(folder: Path, images: ImageSet) -> None:
    splits = [
        {
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "name": split,
            "shardLengths": [str(count)],
        }
        for split, count in images.counts.items()
    ]
    info = {"fileFormat": "tfrecord", "name": images.name, "splits": splits, "version": images.version}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    dimensions = [str(size) for size in (*images.shape, 1)[:3]]
    image = {"shape": {"dimensions": dimensions}, "dtype": "uint8", "encodingFormat": "png"}
    features = {
        "image": {"pythonClassName": f"{FEATURE}.image_feature.Image", "image": image},
        "label": {
            "pythonClassName": f"{FEATURE}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "10"},
        },
    }
    described = {
        "pythonClassName": f"{FEATURE}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(described))


def _write_records(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    import tensorflow as tf
    from PIL import Image

    with tf.io.TFRecordWriter(str(path)) as writer:
        for pixels, label in zip(images, labels, strict=True):
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, format="PNG")
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.getvalue()]))
            number = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)]))
            features = tf.train.Features(feature={"image": image, "label": number})
            writer.write(tf.train.Example(features=features).SerializeToString())


@pytest.fixture
def small_newsgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point every variable of 20 Newsgroups into `tmp_path`, with 60 / 20 postings, a vocabulary and punkt_tab.

    Its folders: sklearn, nltk, own (LTH_DATA_DIR), cache (XDG_CACHE_HOME). No address can be reached.
    """
    from nltk import tokenize

    for variable, folder in {"SCIKIT_LEARN_DATA": "sklearn", "LTH_DATA_DIR": "own", "XDG_CACHE_HOME": "cache"}.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    # Port 9 of this machine: refused at once, and no name to resolve.
    for module, address in ((newsgroups_texts, "ADDRESS"), (newsgroups_vocabulary, "ADDRESS"), (text, "PUNKT_ADDRESS")):
        monkeypatch.setattr(module, address, "https://127.0.0.1:9/newsgroups")
    monkeypatch.setattr(newsgroups_texts, "COUNTS", newsgroups_small.SMALL)
    for module in (newsgroups_texts, newsgroups_vocabulary):  # they know the published data alone
        monkeypatch.setattr(module, "check_published", lambda _: None)
    newsgroups_small.write_postings(tmp_path / "sklearn", newsgroups_small.small_texts())
    newsgroups_small.write_vocabulary(tmp_path / "own", newsgroups_small.vocabulary_words())
    newsgroups_small.write_punkt(tmp_path / "nltk")
    newsgroups_small.use_nltk_data(tmp_path / "nltk", monkeypatch)
    yield tmp_path
    tokenize._get_punkt_tokenizer.cache_clear()


@pytest.fixture
def small_reuters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point every variable of Reuters-21578 into `tmp_path`, with 8 / 3 documents of ModApte and punkt_tab.

    Its folders: own (LTH_DATA_DIR), nltk, cache (XDG_CACHE_HOME). No address can be reached.
    """
    with reuters_small.installed(tmp_path, monkeypatch):
        yield tmp_path
