"""A digest of a search's data."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from lth_keras.data import SPLITS, part_of


def digest(data: Any) -> str:
    """SHA-256 over the arrays of all splits: dtypes, shapes and values."""
    sha = hashlib.sha256()
    for name in SPLITS:
        for array in map(np.ascontiguousarray, part_of(data, name)):
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.data.cast("B") if array.size else b"")
    return sha.hexdigest()
