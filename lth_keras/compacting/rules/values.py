"""Values of variables as arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def array(value: Any) -> np.ndarray:
    """A variable's or tensor's value, float64."""
    return np.asarray(keras.ops.convert_to_numpy(value)).astype(np.float64)
