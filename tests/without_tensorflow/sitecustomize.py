"""Makes a process one without TensorFlow: Python imports this before anything else where this folder is in PYTHONPATH.

PYTHONPATH=tests/without_tensorflow KERAS_BACKEND=jax python -m experiments.mnist_lenet_fcn --help
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

ABSENT = ("tensorflow", "tensorflow_datasets")


class Absent:
    """Finds no module below `ABSENT`, and lets nobody else find one."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by a test)", name=name)
        return None


sys.meta_path.insert(0, Absent())  # type: ignore[arg-type]
