"""Compiled training: a network and its data, one loop, what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from lth_keras.backends import Program, assign, device, threads
from lth_keras.system.machine import usable_cpus
from lth_keras.training.fused_layout import FusedLayer
from lth_keras.training.loop import Curves, NonFiniteLossError, train, train_together
from lth_keras.training.metrics import Counter, make_counter, make_metric
from lth_keras.training.order import BatchOrder

__all__ = [
    "BatchOrder",
    "Counter",
    "Curves",
    "FusedLayer",
    "NonFiniteLossError",
    "make_counter",
    "make_fused_program",
    "make_metric",
    "train",
    "train_together",
]


def make_fused_program(
    layers: Sequence[FusedLayer], softmax: bool, optimizer: keras.Optimizer, weights: Sequence[Any], **kwargs: Any
) -> Program:
    """The program for chains of dense layers that trains with a kernel of this library, on CPUs.

    Args:
        layers: as `FusedProgram`, like what follows.
        softmax: whether the outputs are probabilities.
        optimizer: a Keras optimiser.
        weights: the Keras variables to keep the best values of.
        **kwargs: the others. Threads are those of `set_threads`, else as many as there are CPUs to use.

    Raises:
        ModuleNotFoundError: without numba.
        ValueError: on another device, and as `FusedProgram`.
    """
    try:
        from lth_keras.training.fused import FusedProgram
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "llvmlite"):
            raise
        message = "The fused kernel is compiled by numba, which is not installed: pip install 'lth_keras[fused]'."
        raise ModuleNotFoundError(message, name=error.name) from None
    kind, _ = device()
    if kind != "cpu":
        raise ValueError(f"Expected a CPU for the fused kernel. Received: {kind}. Train without fused.")
    count = threads() or usable_cpus()
    return FusedProgram(layers, softmax, optimizer, weights, assign, threads=count, **kwargs)
