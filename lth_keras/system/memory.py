"""Whether a search fits into memory: compares the memory it needs, computed from sizes, with the free memory."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from lth_keras.system.machine import free_memory_bytes

if TYPE_CHECKING:
    import keras

PROCESS_BYTES = {"tensorflow": 1_050_000_000, "jax": 630_000_000, "torch": 700_000_000}
"""Memory of a training process without weights, by backend: Python, Keras, the backend, and the compiled program
(resident memory, measured on CPUs after 300 steps of a small network, with TensorFlow 2.21, JAX 0.10, PyTorch 2.13,
Keras 3.15)."""

_TENSORFLOW_BESIDE = 450_000_000
"""Additional memory on another backend if TensorFlow is installed: Keras imports it to read a layer's configuration."""
_OUT_OF_MEMORY = ("resourceexhausted", "outofmemoryerror", "defaultcpuallocator")
"""Words in errors of backends: TensorFlow and JAX; PyTorch on a GPU; PyTorch on a CPU."""
_TABLES_AT_WORK = 3
"""Copies of one weight while it is drawn, masked and assigned (measured: 220 MB for a table of 73 MB)."""
_MASKS_AT_WORK = 4
"""Masks in memory beside the model's while a control's next mask is made: two from files, its own and the new one."""


class NotEnoughMemoryError(MemoryError, RuntimeError):
    """The search does not fit into the free memory."""


def checked_build(
    build: Callable[[], keras.Model], optimizer: Callable[[], keras.Optimizer], processes: int = 1
) -> Callable[[], keras.Model]:
    """`build` with a check after its first model that the remaining memory for training is free.

    A built model holds its weights, which are a fifth of the memory for training with Adam.

    Args:
        build: makes the Keras model.
        optimizer: makes the optimiser.
        processes: number of processes that will train such a model, including this one.

    Returns:
        A function like `build` that may also raise NotEnoughMemoryError.
    """
    import keras

    checked = False

    def build_and_check() -> keras.Model:
        nonlocal checked
        model, used = build(), None if checked else optimizer()
        if isinstance(model, keras.Model) and isinstance(used, keras.Optimizer):
            weights = [_bytes(variable) for variable in model.weights]
            masks = sum(math.prod(variable.shape) for variable in model.trainable_variables)
            slots = slots_of(used)
            # The masked copy is made before the model is freed; afterwards the optimiser can use that memory.
            rest = masks + max(sum(weights), training_bytes(weights, masks=masks, slots=slots))
            others = (processes - 1) * needed_bytes(weights, masks=masks, slots=slots)
            what = f"training a model of {sum(weights) / 1e9:.2f} GB with {type(used).__name__}"
            check_memory(rest + others, what=what if processes == 1 else f"{what} in {processes} processes")
            checked = True
        return model

    return build_and_check


@contextmanager
def clear_memory_errors(what: str) -> Iterator[None]:
    """Context: out-of-memory errors of Python or a backend become a NotEnoughMemoryError that names `what`."""
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except Exception as error:
        named = f"{type(error).__name__} {error}".replace("_", "").lower()  # of some the class, of others the message
        if isinstance(error, MemoryError) or any(word in named for word in _OUT_OF_MEMORY):
            raise not_enough_memory(f"enough for {what}", free_memory_bytes()) from error
        raise


def slots_of(optimizer: keras.Optimizer) -> int:
    """The number of values that an optimiser of this configuration keeps per weight. Does not build it.

    An optimiser that cannot be made from its configuration counts two, like Adam.
    """
    try:
        like = type(optimizer).from_config(optimizer.get_config())
    except (TypeError, ValueError, NotImplementedError):
        return 2
    import keras

    weight = keras.Variable([[0.0] * 3] * 2)
    like.build([weight])
    return sum(tuple(variable.shape) == (2, 3) for variable in like.variables)


def _bytes(variable: Any) -> int:
    import keras

    bits = re.search(r"\d+$", keras.backend.standardize_dtype(variable.dtype))
    return math.prod(variable.shape) * (int(bits[0]) if bits else 8) // 8


def training_bytes(weights: Collection[int], *, masks: int, slots: float) -> int:
    """The memory for training beside the model: optimiser, best weights, and work between levels.

    Args:
        weights: bytes of each of the model's weights.
        masks: bytes of all masks, one per prunable weight.
        slots: values per weight that the optimiser keeps: 2 for Adam, 1 for SGD with momentum.
    """
    working_set = _TABLES_AT_WORK * max(weights, default=0) + _MASKS_AT_WORK * masks
    return round(sum(weights) * (slots + 1)) + working_set


def process_bytes() -> int:
    """The memory of a training process without weights, on this process' backend; see `PROCESS_BYTES`."""
    import keras

    backend, beside = keras.backend.backend(), 0
    with suppress(ImportError):  # an import hook may block TensorFlow
        if backend != "tensorflow" and importlib.util.find_spec("tensorflow"):
            beside = _TENSORFLOW_BESIDE
    return PROCESS_BYTES.get(backend, 0) + beside  # other backends are refused elsewhere


def needed_bytes(weights: Collection[int], *, masks: int, slots: float) -> int:
    """The memory of a training process in all: `training_bytes`, the model with its masks, and the process."""
    return process_bytes() + sum(weights) + masks + training_bytes(weights, masks=masks, slots=slots)


def check_memory(needed: int, *, what: str) -> None:
    """Raises NotEnoughMemoryError if `needed` bytes more for `what` are not free, on the machine and in its cgroups."""
    free = free_memory_bytes()
    if needed > free:
        raise not_enough_memory(f"{_gigabytes(needed)} more for {what}", free)


def not_enough_memory(expected: str, free: int) -> NotEnoughMemoryError:
    """The error for too little memory: the needed memory and its use, and the free bytes."""
    return NotEnoughMemoryError(
        f"Expected memory: {expected}. Received: {_gigabytes(free)} free. Use fewer workers, a smaller model or an "
        "optimiser with fewer slots (SGD with momentum has one, Adam two), or more memory."
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
