"""The checksum behind an HDF5 file: other tools read on, no byte changes unseen, files without one still load."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from lth_keras.storage import (
    DamagedFile,
    RunDirectory,
    checksum,
    open_run,
    read_level,
    unsealed,
    write_level,
    write_run,
)
from lth_keras.storage.levels import summarise_level
from tests.few import few
from tests.synthetic import dataset, level_result, reseal

RESULTS = Path(__file__).parents[2] / "results"


def unseal(path: Path) -> bytes:
    """The file as lth_keras 0.1 wrote it."""
    path.write_bytes(path.read_bytes()[:-56])
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        del file.attrs["checksum"]
    return path.read_bytes()


def test_a_file_whose_checksum_is_cut_off_is_refused(tmp_path: Path) -> None:
    """What is left ends as one of lth_keras 0.1 does."""
    write_level(tmp_path / "level.h5", level_result())
    write_run(tmp_path / "run.h5", dataset())
    for path, read in ((tmp_path / "level.h5", read_level), (tmp_path / "run.h5", open_run)):
        path.write_bytes(path.read_bytes()[:-56])
        with (
            pytest.warns(UserWarning, match="without a checksum"),
            pytest.raises(DamagedFile, match="behind its last byte, which has been cut off"),
        ):
            read(path)
        unsealed._said.clear()


def test_it_is_the_documented_one(tmp_path: Path) -> None:
    write_level(tmp_path / "level.h5", level_result())
    content = (tmp_path / "level.h5").read_bytes()
    assert content[-56:-40] == b"lth_keras SHA256"
    assert int.from_bytes(content[-40:-32], "little") == len(content) - 56
    assert content[-32:] == hashlib.sha256(content[:-56]).digest()


def test_other_tools_read_a_file_with_a_checksum(tmp_path: Path) -> None:
    made = dataset(trials=1, levels=2)
    write_run(tmp_path / "run.h5", made)
    with xarray.open_dataset(tmp_path / "run.h5") as found, h5py.File(tmp_path / "run.h5") as file:
        xarray.testing.assert_equal(found.load(), made)
        assert file["density"].shape == made.density.shape


@few("place", [0, 8, 50, 0.3, 0.9, -57, -56, -41, -40, -33, -32, -1], 0, 0.3, -57, -40, -1)
def test_no_byte_changes_unseen(tmp_path: Path, place: float) -> None:
    write_level(tmp_path / "level.h5", level_result(evaluations=9))
    write_run(tmp_path / "run.h5", dataset(trials=1, levels=1, evaluations=9))
    for name, look in (("level.h5", read_level), ("level.h5", summarise_level), ("run.h5", open_run)):
        content = bytearray((tmp_path / name).read_bytes())
        at = int(place * len(content)) if isinstance(place, float) else place
        content[at] ^= 1
        changed = tmp_path / f"changed_{name}"
        changed.write_bytes(content)
        with pytest.raises(DamagedFile, match=changed.name):
            look(changed)


def test_a_file_is_hashed_once_as_long_as_it_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashed = tmp_path / "level.h5", []
    digest, now = checksum.sha256_of, checksum.time.time_ns
    monkeypatch.setattr(checksum, "sha256_of", lambda file, size: hashed.append(size) or digest(file, size))
    monkeypatch.setattr(checksum.time, "time_ns", lambda: now() + 10**11)  # the file is old
    write_level(path, level_result())
    for _ in range(3):
        read_level(path)
    assert len(hashed) == 1
    write_level(path, level_result(level=1))
    assert read_level(path).level == 1 and len(hashed) == 2


def test_a_file_that_was_just_written_is_hashed_again(tmp_path: Path) -> None:
    """It could change within the same tick of the clock."""
    write_level(tmp_path / "level.h5", level_result())
    read_level(tmp_path / "level.h5")
    content = (tmp_path / "level.h5").read_bytes()
    status = (tmp_path / "level.h5").stat()
    (tmp_path / "level.h5").write_bytes(content[:700] + bytes(255 - byte for byte in content[700:709]) + content[709:])
    os.utime(tmp_path / "level.h5", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DamagedFile):
        read_level(tmp_path / "level.h5")


def test_files_without_one_are_read_and_said_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "levels" / "seed_0" / "winning_ticket"
    folder.mkdir(parents=True)
    paths = [folder / f"level_0{n}.h5" for n in (1, 2, 3)]
    for number, path in enumerate(paths, 1):
        write_level(path, level_result(level=number))
        unseal(path)
    with h5py.File(paths[2], "r+") as file:
        file["curves/test_loss"].id.write_direct_chunk((0,), b"\1" * 61 * 4 + bytes(4))  # its own checksum is wrong
    started = []
    popen = unsealed.subprocess.Popen
    monkeypatch.setattr(unsealed.subprocess, "Popen", lambda *a, **k: started.append(1) or popen(*a, **k))
    with pytest.warns(UserWarning, match="without a checksum") as said:
        unsealed.prepare([*paths, folder / "absent.h5"])
        for number, path in enumerate(paths[:2], 1):
            assert read_level(path).level == summarise_level(path).level == number
        with pytest.raises(DamagedFile, match=r"level_03.h5"):
            read_level(paths[2])
    assert len(said) == 1 and len(started) == 1


@pytest.mark.slow
def test_the_committed_results_load_and_a_rewritten_one_has_a_checksum(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "cifar10_conv6" / "run.h5", tmp_path)
    with pytest.warns(UserWarning, match="without a checksum"):
        found = open_run(tmp_path)
    with xarray.open_dataset(tmp_path / "run.h5", engine="h5netcdf") as plain:
        xarray.testing.assert_equal(found[["density", "test_loss"]], plain[["density", "test_loss"]].load())
    write_run(tmp_path / "run.h5", found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_run(tmp_path)


HANG = "import os, sys, time; print('ready', flush=True); {}"


@pytest.mark.parametrize("does, said", [("time.sleep(60)", "hangs for 1 s"), ("os.abort()", "crashes")])
def test_what_hangs_or_crashes_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    """The other process stands for the HDF5 library, which does so on some files."""
    write_level(tmp_path / "level.h5", level_result())
    unseal(tmp_path / "level.h5")
    popen, program = unsealed.subprocess.Popen, HANG.format(does)
    monkeypatch.setattr(unsealed, "FILE_SECONDS", 1.0)
    monkeypatch.setattr(unsealed.subprocess, "Popen", lambda c, **k: popen([c[0], "-c", program], **k))
    with pytest.warns(UserWarning, match="without"), pytest.raises(DamagedFile, match=said):
        read_level(tmp_path / "level.h5")


@pytest.mark.parametrize("kind", ["soft", "external", "external storage", "virtual", "huge"])
def test_what_leads_elsewhere_or_is_not_there_is_refused(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(61.0).tobytes())
    level, run = tmp_path / "level.h5", tmp_path / "run.h5"
    write_level(level, level_result())
    write_run(run, dataset(trials=1, levels=1))
    for path, name in ((level, "curves/test_loss"), (run, "test_loss")):
        with h5py.File(path, "r+") as file:
            shape = file[name].shape
            if kind == "soft":
                file.move(name, "other")
                file[name] = h5py.SoftLink("/other")
            elif kind == "external":
                del file[name]
                file[name] = h5py.ExternalLink(str(secret), "/x")
            elif kind == "external storage":
                del file[name]
                file.create_dataset(name, shape, np.float64, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
            elif kind == "virtual":
                del file[name]
                layout = h5py.VirtualLayout(shape, np.float32)
                layout[:] = h5py.VirtualSource(str(secret), "x", shape=shape)
                file.create_virtual_dataset(name, layout)
            else:
                del file[name]
                file.create_dataset(name, (1 << 40,), np.float32, chunks=(1 << 20,), compression="gzip")
        reseal(path)
    said = {"soft": "SoftLink", "external": "ExternalLink", "external storage": "in another file"}
    said |= {"virtual": "in other datasets", "huge": "declares 4,398,046,511,104 bytes and has 0"}
    for look, path in ((read_level, level), (summarise_level, level), (open_run, run)):
        with pytest.raises(DamagedFile, match=f"{path.name}.*{said[kind]}"):
            look(path)


@pytest.mark.parametrize("which", ["no process", "no answer"])
def test_a_file_that_cannot_be_examined_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    directory = RunDirectory.open(tmp_path, "search", {})
    directory.write(level_result(level=1))
    path = directory.level_path(0, "winning_ticket", 1)
    before = unseal(path)
    write_run(tmp_path / "run.h5", dataset(trials=1, levels=1))
    unseal(tmp_path / "run.h5")
    if which == "no process":
        monkeypatch.setattr(unsealed.sys, "executable", str(tmp_path / "absent"))
    else:
        monkeypatch.setattr(unsealed, "START_SECONDS", 0.0)
    with pytest.warns(UserWarning, match="without a checksum"):
        with pytest.raises(unsealed.NotExaminedError, match="process"):
            directory.read(0, "winning_ticket", 1)
        with pytest.raises(unsealed.NotExaminedError, match="process"):
            open_run(tmp_path / "run.h5")
    assert path.read_bytes() == before
