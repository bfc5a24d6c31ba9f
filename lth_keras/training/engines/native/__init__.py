"""Trains chains of dense layers on CPUs with a kernel of this library instead of the backend."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from lth_keras.backends import Program, backend, threads
from lth_keras.system import usable_cpus
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule
from lth_keras.training.engines.native.chain import check_optimizer, native_chain, native_layers

if TYPE_CHECKING:
    from lth_keras.training.network import Network


@dataclass(frozen=True)
class Native(Compiled):
    """Trains chains of dense layers with ReLU by a kernel that LLVM compiles at the first training; see `Engine`.

    Supports cross-entropy of class indices, Adam and SGD. Results equal the backend's within float32 rounding, but are
    not bit-identical. The loss is always computed from logits; on JAX, Keras clips softmax probabilities at 1e-7, so
    that losses above 16.1 have no gradient.
    """

    spelling = "native"
    takes_several = False
    identity: ClassVar[Mapping[str, Any]] = {"fused": True}

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        if schedule is not None and (refusal := schedule.refusal_unless_whole(self.spelling)) is not None:
            return refusal
        if network.asked_jit_compile is not None:
            return (
                "Expected jit_compile=None with engine='native', which compiles its own kernel. "
                f"Received: {network.asked_jit_compile}."
            )
        if network.asked_metric not in (None, "accuracy"):
            return (
                "Expected metric=None with engine='native', whose kernel measures accuracy. "
                f"Received: {network.asked_metric!r}."
            )
        kind, _ = backend().device()
        if kind != "cpu":
            return f"Expected a CPU for the native kernel. Received: {kind}. Use another engine than native."
        try:
            native_chain(network.model, network.loss)
            check_optimizer(network.make_optimizer())
        except ValueError as error:
            return str(error)
        return None

    def _make(self, network: Network) -> Program:
        layers, softmax = native_chain(network.model, network.loss)
        made = _imported("native_program").NativeProgram
        program: Program = made(network.training(), layers, softmax, threads() or usable_cpus())
        return program


def sparse_forward(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from inputs to outputs of a pruned model that computes with its kept weights alone, on the CPU.

    It has the model's weights and masks as they are now, and time and memory in proportion to the weights kept. LLVM
    compiles it at the first call, in some seconds. docs/deploy.md says when it is the fastest way.

    Args:
        model: a chain of masked dense layers in float32 with 16 inputs or more, optionally after a `Flatten`; hidden
            layers with ReLU or no activation, the last with softmax or no activation.

    Returns:
        A function of float32 inputs, `(examples, ...)`, that returns float32 outputs, `(examples, units)`.

    Raises:
        ValueError: for another model.
        ModuleNotFoundError: without numba, which the extra `native` brings.

    Example:
        >>> outputs = sparse_forward(prune(model, 0.05))(x)
    """
    layers, softmax = native_layers(model)
    forward: Callable[[np.ndarray], np.ndarray] = _imported("inference").SparseForward(
        layers, softmax, threads() or usable_cpus()
    )
    return forward


def _imported(name: str) -> Any:
    """A module of this folder that needs numba."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "llvmlite"):
            raise
        message = "The native kernel needs numba, which is not installed: pip install 'lth_keras[native]'."
        raise ModuleNotFoundError(message, name=error.name) from None
