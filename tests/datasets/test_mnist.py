from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import DataUnavailable, Splits, mnist, tfds
from tests.datasets.conftest import SMALL, small_images

needs_mnist = pytest.mark.skipif(
    not mnist.status().present,
    reason="MNIST is not in the cache of tensorflow_datasets (TFDS_DATA_DIR)",
)


@pytest.fixture(scope="module")
def real() -> Splits:
    return mnist.load()


def rows(*arrays: np.ndarray) -> list[bytes]:
    return sorted(row.tobytes() for x in arrays for row in x)


@needs_mnist
@pytest.mark.slow
def test_real_sizes_types_and_range(real: Splits) -> None:
    sizes = [len(split.y) for split in (real.train, real.validation, real.test)]
    assert sizes == [55_000, 5_000, 10_000]
    assert real.train.x.shape == (55_000, 784)
    assert real.train.x.dtype == np.float32 and real.train.y.dtype == np.int32
    assert real.train.x.min() == 0 and real.train.x.max() == 1


@needs_mnist
@pytest.mark.slow
def test_real_pixels_as_they_are_stored(real: Splits) -> None:
    stored = mnist.load(scaled=False)
    assert stored.train.x.max() == 255 and (stored.train.x == stored.train.x.astype(np.uint8)).all()
    np.testing.assert_array_equal(stored.test.x / np.float32(255), real.test.x)
    assert "[0, 255]" in stored.x_meaning and "[0, 1]" in real.x_meaning


@needs_mnist
@pytest.mark.slow
def test_real_labels_are_those_of_the_original_files(real: Splits) -> None:
    # The class counts of the four files at their source; the first test digits are 7, 2, 1, 0, 4.
    both = np.concatenate([real.train.y, real.validation.y])
    train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(both).tolist() == train_counts
    assert np.bincount(real.test.y).tolist() == test_counts
    mean = np.concatenate([real.train.x, real.validation.x]).mean(dtype=np.float64)
    assert mean == pytest.approx(0.1306604, abs=1e-6)


@needs_mnist
@pytest.mark.slow
def test_real_pixels_are_learnable(real: Splits) -> None:
    # Nearest class mean is right on about 82% of MNIST; labels beside the wrong image give 10%.
    means = np.stack([real.train.x[real.train.y == digit].mean(axis=0) for digit in range(10)])
    distances = (means**2).sum(axis=1) - 2 * real.test.x @ means.T
    assert (distances.argmin(axis=1) == real.test.y).mean() > 0.8


def test_pixels_and_labels_are_read_as_written(small_mnist: Path) -> None:
    loaded = mnist.load(validation=10)
    pixels, labels = small_images("test")
    expected = pixels.reshape(-1, 784).astype(np.float32) / np.float32(255)
    assert np.array_equal(loaded.test.x, expected)
    assert np.array_equal(loaded.test.y, labels)


def test_train_and_validation_are_a_partition(small_mnist: Path) -> None:
    loaded = mnist.load(seed=4, validation=10)
    pixels, labels = small_images("train")
    expected = pixels.reshape(-1, 784).astype(np.float32) / np.float32(255)
    assert rows(loaded.train.x, loaded.validation.x) == rows(expected)
    assert len(loaded.validation.y) == 10
    truth = {x.tobytes(): y for x, y in zip(expected, labels, strict=True)}
    for split in (loaded.train, loaded.validation):
        assert all(truth[x.tobytes()] == y for x, y in zip(split.x, split.y, strict=True))


def test_the_seed_draws_the_validation_split_and_never_the_test_split(small_mnist: Path) -> None:
    first, second = mnist.load(seed=0, validation=10), mnist.load(seed=1, validation=10)
    assert np.array_equal(first.test.x, second.test.x)
    assert rows(first.validation.x) != rows(second.validation.x)
    assert np.array_equal(first.train.x, mnist.load(seed=0, validation=10).train.x)


@pytest.mark.parametrize("validation", [0, -3, 60, 61])
def test_an_impossible_validation_size_is_an_error(small_mnist: Path, validation: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {validation}"):
        mnist.load(validation=validation)


@pytest.mark.slow
def test_reading_starts_no_tensorflow_runtime(small_mnist: Path) -> None:
    # The number of threads can be set only before the runtime starts.
    code = f"""
import dataclasses
from datasets import mnist
mnist.IMAGES = dataclasses.replace(mnist.IMAGES, counts={SMALL})
mnist.load(validation=10)
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_and_asking_for_the_status_imports_no_tensorflow() -> None:
    code = """
import sys
from datasets import cifar10, digits, mnist, newsgroups
cifar10.status(), mnist.status(), digits.status(), newsgroups.status()
sys.exit(any(name in sys.modules for name in ("tensorflow", "tensorflow_datasets", "sklearn", "nltk")))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 of this machine: refused at once, and no name to resolve.
    images = dataclasses.replace(mnist.IMAGES, address="https://127.0.0.1:9/mnist")
    monkeypatch.setattr(mnist, "IMAGES", images)


def test_no_cache_and_no_network_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(monkeypatch)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "absent"))
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path / "absent"))
    with pytest.raises(DataUnavailable) as error:
        mnist.load()
    message = str(error.value)
    for part in (str(tmp_path), "127.0.0.1:9", "TFDS_DATA_DIR", "experiments.digits_lenet_fcn"):
        assert part in message
    assert isinstance(error.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


class BrokenBuilder:
    def __init__(self, name: str, data_dir: Path) -> None:
        (Path(data_dir) / "mnist").mkdir()

    def download_and_prepare(self, download_dir: Path) -> None:
        (Path(download_dir) / "half.gz.tmp").write_bytes(b"half")
        raise ConnectionError("the line went dead")


@pytest.mark.parametrize("existed", [True, False])
def test_a_download_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    import tensorflow_datasets

    cache = tmp_path / "cache"
    if existed:
        (cache / "other").mkdir(parents=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(cache))
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds, "require_reachable", lambda *_: None)
    monkeypatch.setattr(tensorflow_datasets, "builder", BrokenBuilder)
    with pytest.raises(DataUnavailable, match="the line went dead") as error:
        mnist.load()
    assert isinstance(error.value.__cause__, ConnectionError)
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    assert sorted(map(os.fspath, left)) == (["cache", "cache/other"] if existed else [])


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds, "require_reachable", lambda *_: None)
    with pytest.raises(DataUnavailable, match="TFDS_DATA_DIR"):
        mnist.load()


def record_file(folder: Path) -> Path:
    return folder / "mnist-train.tfrecord-00000-of-00001"


def truncate(folder: Path) -> None:
    data = record_file(folder).read_bytes()
    record_file(folder).write_bytes(data[: len(data) // 2])


def flip_a_byte(folder: Path) -> None:
    data = bytearray(record_file(folder).read_bytes())
    data[len(data) // 2] ^= 255
    record_file(folder).write_bytes(data)


def remove_the_records(folder: Path) -> None:
    record_file(folder).unlink()


def empty_the_records(folder: Path) -> None:
    record_file(folder).write_bytes(b"")


def break_the_description(folder: Path) -> None:
    (folder / "dataset_info.json").write_text("{")


def forget_a_split(folder: Path) -> None:
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    del info["splits"][1]
    path.write_text(json.dumps(info))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_byte,
        remove_the_records,
        empty_the_records,
        break_the_description,
        forget_a_split,
    ],
)
def test_a_damaged_cache_is_one_clear_error(small_mnist: Path, damage: Callable[[Path], None]) -> None:
    damage(small_mnist)
    with pytest.raises(DataUnavailable) as error:
        mnist.load(validation=10)
    assert str(small_mnist) in str(error.value)
    assert "Delete that folder" in str(error.value)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("reader", ["tensorflow_datasets", "tensorflow"])
def test_a_missing_reader_is_not_called_damage(small_mnist: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    monkeypatch.setitem(sys.modules, reader, None)
    with pytest.raises(DataUnavailable, match="cannot be imported") as error:
        mnist.load(validation=10)
    assert "Delete" not in str(error.value) and "python -m datasets pack mnist" in str(error.value)


def test_too_many_examples_are_an_error(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "IMAGES", dataclasses.replace(mnist.IMAGES, counts=SMALL | {"train": 59}))
    with pytest.raises(DataUnavailable, match="Expected 59 examples"):
        mnist.load(validation=10)
