"""Masks in files of their own: npz, which numpy opens, and safetensors."""

from __future__ import annotations

import importlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lth_keras.mask import Mask
from lth_keras.storage.atomic import write_bytes

_ENDINGS = (".npz", ".safetensors")


def save_mask(path: str | os.PathLike[str], mask: Mapping[str, Any]) -> None:
    """Writes a mask to a file, one boolean array per weight under the weight's key.

    Args:
        path: ends in `.npz` or `.safetensors`; a file that exists is replaced.
        mask: a mask, as `get_mask` returns it.

    Raises:
        TypeError: for an object that is no mapping.
        ValueError: for another ending, or values that are not zeros and ones.
        ModuleNotFoundError: for `.safetensors` without the package safetensors.

    Example:
        >>> save_mask("mask.npz", get_mask(pruned))
        >>> set_mask(mask_model(model), load_mask("mask.npz"))
    """
    if not isinstance(mask, Mapping):
        raise TypeError(
            f"Expected a mask, as get_mask(model) returns it, after the path. Received: a {type(mask).__name__}."
        )
    ending, arrays = _ending(path), dict(Mask(mask))
    if ending == ".npz":
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_bytes(Path(path), content.getbuffer())
    else:
        write_bytes(Path(path), safetensors_module().save(arrays))


def load_mask(path: str | os.PathLike[str]) -> Mask:
    """The mask in a file that `save_mask` wrote, or of zeros and ones under the keys of weights. Nothing is unpickled.

    Raises:
        ValueError: for another ending, a damaged file, or other values.
        ModuleNotFoundError: for `.safetensors` without the package safetensors.
    """
    safetensors = safetensors_module() if _ending(path) == ".safetensors" else None
    try:
        if safetensors is not None:
            return Mask(safetensors.load_file(path))
        with zipfile.ZipFile(path):  # numpy would read other formats too
            pass
        with np.load(path, allow_pickle=False) as file:
            return Mask({key: file[key] for key in file.files})
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, numpy and safetensors have their own
        raise ValueError(f"Expected a mask, as save_mask writes it. Received: {os.fspath(path)!r}: {error}") from error


def _ending(path: str | os.PathLike[str]) -> str:
    ending = Path(path).suffix if isinstance(path, str | os.PathLike) else None
    if ending not in _ENDINGS:
        raise ValueError(f"Expected a path that ends in {' or '.join(_ENDINGS)}. Received: {path!r}.")
    return ending


def safetensors_module(name: str = "safetensors.numpy") -> Any:
    """A module of the package safetensors.

    Raises:
        ModuleNotFoundError: without it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Expected the package safetensors for files that end in .safetensors. Received: it is not installed. "
            "Run `pip install safetensors`, or choose another ending."
        ) from error
