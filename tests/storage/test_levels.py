"""Level files: everything written comes back, damage is named, a failed write harms nothing."""

from __future__ import annotations

import dataclasses
import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lth_keras.analysis import CURVES, SCALARS
from lth_keras.analysis.schema import COUNTS, MICRO_F1, curves_of
from lth_keras.mask import Mask
from lth_keras.storage import DamagedFile, LevelResult, atomic
from lth_keras.storage.levels import read_level, summarise_level, write_level
from tests.synthetic import KINDS, level_result, reseal

WEIGHTS: dict[str, np.ndarray] = {
    "other/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/nested/model/bias": np.array([0.1, -0.0, np.inf], np.float32),
    "scalar": np.array(3.5),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
}


def assert_same(first: LevelResult, second: LevelResult) -> None:
    assert (first.seed, first.branch, first.level) == (second.seed, second.branch, second.level)
    assert first.mask == second.mask and list(first.mask) == list(second.mask)
    assert first.next_mask == second.next_mask
    np.testing.assert_array_equal(first.step, second.step)
    for name in curves_of(first.metric):
        assert first.curves[name].tobytes() == second.curves[name].tobytes()
        assert second.curves[name].dtype == np.float32
    assert dict(first.scalars) == dict(second.scalars)
    assert first.metric == second.metric
    for name in COUNTS:
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


def test_a_level_comes_back_bit_for_bit(tmp_path: Path) -> None:
    result = level_result(seed=2**40, branch="epoch 3", level=4, weights=WEIGHTS)
    write_level(tmp_path / "level.h5", result)
    read = read_level(tmp_path / "level.h5", weights=True)
    assert_same(result, read)
    assert read.weights is not None and list(read.weights) == list(WEIGHTS)
    for key, values in WEIGHTS.items():
        assert read.weights[key].dtype == values.dtype and read.weights[key].shape == values.shape
        assert read.weights[key].tobytes() == values.tobytes()


def test_what_figures_need_comes_back_and_files_without_it_are_read(tmp_path: Path) -> None:
    result = level_result(steps_per_epoch=916, kinds=KINDS)
    write_level(tmp_path / "level.h5", result)
    for read in (read_level(tmp_path / "level.h5"), summarise_level(tmp_path / "level.h5")):
        assert read.steps_per_epoch == 916 and dict(read.kinds) == KINDS
    assert dict(summarise_level(tmp_path / "level.h5").sizes) == result.mask.sizes
    write_level(tmp_path / "before.h5", level_result())
    read = read_level(tmp_path / "before.h5")
    assert read.steps_per_epoch is None and read.kinds == {}
    assert_same(result, read)


def test_confusion_matrices_come_back_with_those_that_were_not_measured(tmp_path: Path) -> None:
    result = level_result(classes=20)
    write_level(tmp_path / "level.h5", result)
    read = read_level(tmp_path / "level.h5")
    assert_same(result, read)
    assert read.test_confusion is not None and read.test_confusion.dtype == np.int32
    with h5py.File(tmp_path / "level.h5") as file:
        assert file["curves/test_confusion"].shape == (61, 20, 20) and file["curves/test_confusion"].fletcher32


def test_counts_by_class_come_back_under_the_name_of_micro_f1(tmp_path: Path) -> None:
    result = level_result(classes=90, multi_label=True)
    write_level(tmp_path / "level.h5", result)
    read, summary = read_level(tmp_path / "level.h5"), summarise_level(tmp_path / "level.h5")
    assert_same(result, read)
    assert summary.metric == read.metric == MICRO_F1 and summary.test_counts is not None
    with h5py.File(tmp_path / "level.h5") as file:
        assert file["curves/test_counts"].shape == (61, 90, 3) and file["curves/test_counts"].dtype == np.int32
    write_level(tmp_path / "single.h5", level_result())
    with h5py.File(tmp_path / "single.h5") as file:  # as before there were multi-label tasks
        assert "metric" not in file.attrs and "test_counts" not in file["curves"]
    with pytest.raises(ValueError, match="MetricName.*Received: 'AUC'"):
        dataclasses.replace(result, metric="AUC")


@pytest.mark.parametrize(
    "counts, message",
    [
        (np.zeros((60, 4, 3), int), r"test_counts of shape \(61, C, 3\).*Received: shape \(60, 4, 3\)"),
        (np.zeros((61, 4, 4), int), r"Received: shape \(61, 4, 4\)"),
        (np.zeros((61, 4, 3)), "integers. Received: dtype float64"),
        (np.full((61, 4, 3), -2), "counts of 0 or more in test_counts.*Received: counts from -2"),
    ],
)
def test_counts_of_other_shapes_or_below_0_are_refused(counts: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(level_result(), test_counts=counts)


@pytest.mark.parametrize(
    "confusion, message",
    [
        (np.zeros((60, 3, 3), int), r"shape \(61, C, C\).*Received: shape \(60, 3, 3\)"),
        (np.zeros((61, 3, 4), int), r"Received: shape \(61, 3, 4\)"),
        (np.zeros(61, int), r"Received: shape \(61,\)"),
        (np.zeros((61, 3, 3)), "integers. Received: dtype float64"),
        (np.full((61, 3, 3), -2), "counts of 0 or more.*Received: counts from -2"),
        (np.where(np.eye(3, dtype=int), -1, np.ones((61, 3, 3), int)), "counts of 0 or more"),
    ],
)
def test_confusion_matrices_of_other_shapes_or_counts_are_refused(confusion: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(level_result(), test_confusion=confusion)


def test_weights_are_read_only_when_asked_for_and_kept(tmp_path: Path) -> None:
    write_level(tmp_path / "with.h5", level_result(weights=WEIGHTS))
    write_level(tmp_path / "without.h5", level_result())
    assert read_level(tmp_path / "with.h5").weights is None
    assert read_level(tmp_path / "without.h5", weights=True).weights is None


def test_masks_of_many_weights_keep_their_order(tmp_path: Path) -> None:
    mask = Mask({f"layer_{n}/kernel": np.arange(n + 1) % 2 == 0 for n in range(30, -1, -1)})
    write_level(tmp_path / "level.h5", level_result(mask=mask, next_mask=mask))
    assert list(read_level(tmp_path / "level.h5").mask) == list(mask)


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    result = level_result(level=2)
    shape = result.mask["hidden_1/kernel"].shape
    kernel = np.where(result.mask["hidden_1/kernel"], np.arange(np.prod(shape)).reshape(shape), 0).astype(np.float32)
    result = dataclasses.replace(result, weights={"hidden_1/kernel": kernel})
    write_level(tmp_path / "level.h5", result)
    with h5py.File(tmp_path / "level.h5") as file:
        assert set(file) == {"mask", "next_mask", "curves", "kept_weights"}
        np.testing.assert_array_equal(file["kept_weights/hidden_1/kernel"], kernel[result.mask["hidden_1/kernel"]])
        assert set(file["curves"]) == {"step", *CURVES}
        assert set(file.attrs) == {"checksum", "schema_version", "seed", "branch", "level", *SCALARS}
        bits = file["mask/hidden_1/kernel"]
        kept = np.unpackbits(bits[()])[: np.prod(bits.attrs["shape"])]
        np.testing.assert_array_equal(kept.reshape(bits.attrs["shape"]), result.mask["hidden_1/kernel"])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_damaged_at_any_length(tmp_path: Path, share: float) -> None:
    path = tmp_path / "level.h5"
    write_level(path, level_result())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for look in (read_level, summarise_level):
        with pytest.raises(DamagedFile, match="level.h5.*truncated, damaged or foreign"):
            look(path)


def test_a_changed_byte_never_becomes_another_result(tmp_path: Path) -> None:
    path = tmp_path / "level.h5"
    result = level_result(evaluations=20)
    write_level(path, result)
    content = path.read_bytes()
    noticed = 0
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            assert_same(result, read_level(path))  # the byte was between the data
            summarise_level(path)
        except DamagedFile:
            noticed += 1
            with pytest.raises(DamagedFile):
                summarise_level(path)
    assert noticed > 10


def test_a_foreign_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2]
    write_level(tmp_path / "incomplete.h5", level_result())
    with h5py.File(tmp_path / "incomplete.h5", "r+") as file:
        del file["curves/test_loss"]
    reseal(tmp_path / "incomplete.h5")
    reseal(tmp_path / "other.h5")
    for name in ("text.h5", "other.h5", "incomplete.h5"):
        for look in (read_level, summarise_level):
            with pytest.raises(DamagedFile, match=name):
                look(tmp_path / name)


@pytest.mark.parametrize("change", ["no bits", "other bits", "one mask more", "no mask"])
def test_masks_that_do_not_fit_are_damage(tmp_path: Path, change: str) -> None:
    path = tmp_path / "level.h5"
    write_level(path, level_result())
    with h5py.File(path, "r+") as file:
        group = file["mask"]
        keys: list[str] = []
        group.visititems(lambda key, item: keys.append(key) if isinstance(item, h5py.Dataset) else None)
        if change == "no bits":
            group[keys[0]].attrs["shape"] = [1000, 1000]
        elif change == "other bits":
            shape, bits = group[keys[0]].attrs["shape"], group[keys[0]][()].astype(np.int16)
            del group[keys[0]]
            group[keys[0]] = bits
            group[keys[0]].attrs.update({"shape": shape, "position": 0})
        elif change == "one mask more":
            group.copy(keys[0], group, name="another")
        else:
            for key in keys:
                del group[key], file["next_mask"][key]
    reseal(path)
    for look in (read_level, summarise_level):
        with pytest.raises(DamagedFile, match="level.h5"):
            look(path)


def test_a_summary_has_the_densities_without_unpacking_a_mask(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mask = Mask({f"table_{i}": generator.random((999, 1000)) < i / 4 for i in range(1, 5)})
    write_level(tmp_path / "level.h5", level_result(seed=3, branch="random_mask", level=2, mask=mask, next_mask=mask))
    tracemalloc.start()
    try:
        summary = summarise_level(tmp_path / "level.h5")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (summary.seed, summary.branch, summary.level) == (3, "random_mask", 2)
    assert summary.densities == mask.densities()
    assert peak < 6 * mask.size / 4 / 8  # bytes: of one table's packed bits; unpacked all would be 64 times as many


def test_a_missing_file_is_not_damage(tmp_path: Path) -> None:
    for look in (read_level, summarise_level):
        with pytest.raises(FileNotFoundError):
            look(tmp_path / "none.h5")


def test_a_newer_schema_is_not_damage(tmp_path: Path) -> None:
    write_level(tmp_path / "level.h5", level_result())
    with h5py.File(tmp_path / "level.h5", "r+") as file:
        file.attrs["schema_version"] = 99
    reseal(tmp_path / "level.h5")
    for look in (read_level, summarise_level):
        with pytest.raises(ValueError, match="Expected: schema_version of .1, 2.. Received: 99"):
            look(tmp_path / "level.h5")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    path = tmp_path / "level.h5"
    write_level(path, level_result(seed=1))
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(error)):
            write_level(path, level_result(seed=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the always-full device of Linux")
def test_a_really_full_disk_is_a_plain_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, flags: int, mode: int = 0o777) -> int:
        return real_open("/dev/full", os.O_WRONLY)

    real_open = os.open
    monkeypatch.setattr(atomic.os, "open", full)
    with pytest.raises(OSError, match="No space left"):
        write_level(tmp_path / "level.h5", level_result())
    assert not (tmp_path / "level.h5").exists()


def test_the_file_is_flushed_before_it_is_renamed_and_its_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_level(tmp_path / "level.h5", level_result())
    assert calls == ["fsync", "replace", "fsync"]


def test_files_are_readable_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_level(tmp_path / "level.h5", level_result())
    finally:
        os.umask(before)
    assert (tmp_path / "level.h5").stat().st_mode & 0o777 == 0o644


def test_leftovers_go_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "levels"
    folder.mkdir()
    leftovers = [folder / ".level_01.h5.9-0123abcd.tmp", tmp_path / ".run.h5.12-00000000.tmp"]
    others = [tmp_path / name for name in ("y.tmp", ".x.tmp", ".notes.1-ab.tmp", ".level_01.h5.tmp")]
    for path in (*leftovers, *others):
        path.touch()
    atomic.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([folder, *others]) and not list(folder.iterdir())


def test_a_result_names_what_does_not_fit() -> None:
    good = level_result()
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__}

    def make(**changes: Any) -> LevelResult:
        return LevelResult(**{**fields, **changes})

    with pytest.raises(ValueError, match=r"missing \['seconds'\]"):
        make(scalars={k: v for k, v in good.scalars.items() if k != "seconds"})
    with pytest.raises(ValueError, match=r"unexpected \['loss'\]"):
        make(curves={**good.curves, "loss": good.step})
    with pytest.raises(ValueError, match="curve 'test_loss' of shape"):
        make(curves={**good.curves, "test_loss": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="one increasing axis"):
        make(step=good.step[::-1])
    with pytest.raises(ValueError, match="output/kernel"):
        make(next_mask=Mask({k: v for k, v in good.mask.items() if k != "output/kernel"}))
