from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets import DataUnavailable, Splits, cifar10
from tests.datasets.conftest import small_images
from tests.datasets.test_packed import check_packing_changes_nothing

needs_cifar10 = pytest.mark.skipif(
    not cifar10.status().present,
    reason="CIFAR-10 is not in the cache of tensorflow_datasets (TFDS_DATA_DIR)",
)


@pytest.fixture(scope="module")
def real() -> Splits:
    return cifar10.load()


def test_pixels_are_standardised_by_colour_as_openlth_does(small_cifar10: Path) -> None:
    loaded = cifar10.load(validation=10)
    pixels, labels = small_images("test", (32, 32, 3))
    unit = pixels.astype(np.float64) / 255
    expected = (unit - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert loaded.test.x.dtype == np.float32
    np.testing.assert_allclose(loaded.test.x, expected, atol=1e-6)
    assert np.array_equal(loaded.test.y, labels) and loaded.test.y.dtype == np.int32


def test_train_and_validation_are_a_partition(small_cifar10: Path) -> None:
    loaded = cifar10.load(seed=4, validation=10)
    unit = small_images("train", (32, 32, 3))[0].astype(np.float32) / np.float32(255)
    whole = (unit - np.array(cifar10.MEAN, np.float32)) / np.array(cifar10.DEVIATION, np.float32)
    assert [len(split.y) for split in (loaded.train, loaded.validation, loaded.test)] == [50, 10, 20]
    rows = [image.tobytes() for image in (*loaded.train.x, *loaded.validation.x)]
    assert sorted(rows) == sorted(image.tobytes() for image in whole)


def test_the_seed_draws_the_validation_split_and_never_the_test_split(small_cifar10: Path) -> None:
    first, second = (cifar10.load(seed=seed, validation=10) for seed in (0, 1))
    assert np.array_equal(first.test.x, second.test.x)
    assert not np.array_equal(np.sort(first.validation.x, axis=None), np.sort(second.validation.x, axis=None))
    assert np.array_equal(first.train.x, cifar10.load(seed=0, validation=10).train.x)


@pytest.mark.parametrize("validation", [0, -1, 60])
def test_an_impossible_validation_size_is_an_error(small_cifar10: Path, validation: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {validation}"):
        cifar10.load(validation=validation)


def test_packed_cifar10_is_cifar10_and_needs_no_cache(small_cifar10: Path) -> None:
    check_packing_changes_nothing("cifar10", cifar10, validation=10)
    shutil.rmtree(small_cifar10)
    assert len(cifar10.load(validation=20).train.y) == 40


def test_parts_of_another_size_are_refused(small_cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packing_changes_nothing("cifar10", cifar10, validation=10)
    monkeypatch.undo()  # the counts are CIFAR-10's own again
    monkeypatch.setenv("LTH_DATA_DIR", str(small_cifar10.parents[1] / "own"))
    with pytest.raises(DataUnavailable, match='Expected content "CIFAR-10, 50,000 / 10,000 images'):
        cifar10.load()


@needs_cifar10
@pytest.mark.slow
def test_real_sizes_classes_and_range(real: Splits) -> None:
    assert [split.x.shape for split in (real.train, real.validation, real.test)] == [
        (45_000, 32, 32, 3),
        (5_000, 32, 32, 3),
        (10_000, 32, 32, 3),
    ]
    both = np.concatenate([real.train.y, real.validation.y])
    assert np.bincount(both).tolist() == [5_000] * 10 and np.bincount(real.test.y).tolist() == [1_000] * 10
    lowest, highest = real.train.x.min((0, 1, 2)), real.train.x.max((0, 1, 2))
    np.testing.assert_allclose(lowest, -np.array(cifar10.MEAN) / cifar10.DEVIATION, atol=1e-6)
    np.testing.assert_allclose(highest, (1 - np.array(cifar10.MEAN)) / cifar10.DEVIATION, atol=1e-6)


@needs_cifar10
@pytest.mark.slow
def test_real_pixels_have_the_mean_that_is_published_for_cifar10(real: Splits) -> None:
    # Of the 50,000 training images by colour: 0.4914, 0.4822, 0.4465; the order of colours and rows decides it.
    sums = real.train.x.sum((0, 1, 2), dtype=np.float64) + real.validation.x.sum((0, 1, 2), dtype=np.float64)
    mean = sums / (50_000 * 32 * 32) * cifar10.DEVIATION + cifar10.MEAN
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=5e-5)


@needs_cifar10
@pytest.mark.slow
def test_real_labels_stay_with_their_images(real: Splits) -> None:
    # Skies are behind airplanes and ships: both are bluer at the top than frogs and deer are.
    blueness = real.test.x[:, :8, :, 2].mean((1, 2)) - real.test.x[:, :8, :, 0].mean((1, 2))
    by_class = dict(zip(real.classes, (blueness[real.test.y == n].mean() for n in range(10)), strict=True))
    assert min(by_class["airplane"], by_class["ship"]) > max(by_class["frog"], by_class["deer"])


@needs_cifar10
@pytest.mark.slow
def test_real_cifar10_packed_is_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    check_packing_changes_nothing("cifar10", cifar10, seeds=(3,))
    sizes = [path.stat().st_size for path in (tmp_path / "packed" / "cifar10").iterdir()]
    assert max(sizes) < 50e6 and len(sizes) == 5
