"""Numbers that cannot be are damage, though every byte is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lth_keras.storage import DamagedFile, read_level, write_level
from lth_keras.storage.levels import summarise_level
from tests.synthetic import level_result, masks, reseal


def density(file: h5py.File) -> None:
    file.attrs["density"] = 0.787


def no_density(file: h5py.File) -> None:
    file.attrs["density"] = np.nan


def accuracy(file: h5py.File) -> None:
    file.attrs[next(name for name in file.attrs if name.startswith("test_") and name.endswith("_final"))] = 7.0


def curve(file: h5py.File) -> None:
    file["curves/" + next(name for name in file["curves"] if name.startswith("test_") and "loss" not in name)][0] = -0.5


def stop(file: h5py.File) -> None:
    file.attrs["early_stop_step"] = 17.5


def seconds(file: h5py.File) -> None:
    file.attrs["seconds"] = -1.0


def mask(file: h5py.File) -> None:
    """The next one keeps all."""
    file["next_mask/hidden_1/kernel"][()] = 0xFF


@pytest.mark.parametrize(
    "change, message",
    [
        (density, "density 0.787, and a mask that keeps"),
        (no_density, "density nan"),
        (accuracy, "test_.*_final of 7.0"),
        (curve, "test_.* of -0.5"),
        (stop, "early_stop_step 17.5"),
        (seconds, "seconds -1.0"),
        (mask, r"a next mask that keeps \d+ weights of 'hidden_1/kernel' that its mask has pruned"),
    ],
)
def test_it_is_damage(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "level.h5"
    write_level(path, level_result())
    with h5py.File(path, "r+") as file:
        change(file)
    reseal(path)
    for look in (read_level, summarise_level):
        with pytest.raises(DamagedFile, match=f"level.h5.*{message}"):
            look(path)


def test_it_is_not_written(tmp_path: Path) -> None:
    first, second = masks(0, 1)[:2]
    with pytest.raises(ValueError, match="that its mask has pruned"):
        level_result(mask=second, next_mask=first)
