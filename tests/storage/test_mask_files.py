"""A mask in a file of its own is the same when it is read, on every backend and in other programs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import lth_keras as lth
from lth_keras.mask import Mask

MASK = Mask({"a/b/kernel": np.random.default_rng(0).random((3, 4)) < 0.5, "dense/kernel": np.ones((2, 2), bool)})
ENDINGS = ("npz", "safetensors")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_mask_is_the_same_when_it_is_read(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"mask.{ending}"
    for mask in (Mask.ones(MASK.shapes), MASK):  # a file that exists is replaced
        lth.save_mask(path, mask)
        assert lth.load_mask(path) == mask
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_numpy_opens_it(tmp_path: Path) -> None:
    lth.save_mask(tmp_path / "mask.npz", MASK)
    with np.load(tmp_path / "mask.npz") as file:
        np.testing.assert_array_equal(file["a/b/kernel"], MASK["a/b/kernel"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_mask_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"mask.{ending}"
    with pytest.raises(FileNotFoundError):
        lth.load_mask(path)
    lth.save_mask(path, MASK)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"nothing"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="Expected a mask, as save_mask writes it"):
            lth.load_mask(path)
    for function in (lth.load_mask, lambda other: lth.save_mask(other, MASK)):
        with pytest.raises(ValueError, match=r"ends in .npz or .safetensors"):
            function(tmp_path / "mask.h5")
    with pytest.raises(ValueError, match="zeros and ones"):
        lth.save_mask(path, {"a": np.array([0.5])})


def test_values_and_objects_that_are_no_masks_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    np.savez(path, a=np.array([0.5, 1.0]))
    with pytest.raises(ValueError, match="zeros and ones"):
        lth.load_mask(path)
    np.savez(path, a=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        lth.load_mask(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3, bool))
    with pytest.raises(ValueError, match="not a zip file"):
        lth.load_mask(path)


def test_arguments_in_another_order_or_of_other_types_are_refused(tmp_path: Path) -> None:
    for wrong in ((MASK, "mask.npz"), (tmp_path / "mask.npz", [1])):
        with pytest.raises(TypeError, match=r"as get_mask\(model\) returns it, after the path. Received: a (str|list)"):
            lth.save_mask(*wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ends in .*Received: Mask\(density"):
        lth.load_mask(MASK)  # type: ignore[arg-type]


def test_without_safetensors_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)  # as where it is not installed
    with pytest.raises(ModuleNotFoundError, match="pip install safetensors"):
        lth.save_mask(tmp_path / "mask.safetensors", MASK)
