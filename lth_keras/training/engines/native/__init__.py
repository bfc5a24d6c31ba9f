"""Chains of dense layers on CPUs: a kernel of this library's own in place of the backend's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lth_keras.backends import Program, assign, backend, threads
from lth_keras.system.machine import usable_cpus
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule
from lth_keras.training.engines.native.chain import check_optimizer, native_chain

if TYPE_CHECKING:
    from lth_keras.training.network import Network


@dataclass(frozen=True)
class Native(Compiled):
    """Trains chains of dense layers with ReLU by a kernel that LLVM compiles at the first training; see `Engine`.

    Cross-entropy of class indices, Adam or SGD. The numbers are the backend's within float32 rounding, not the same
    bits. The loss is always that of the logits: on JAX, Keras clips softmax probabilities at 1e-7, beyond which a loss
    stays at 16.1 and has no gradient.
    """

    spelling = "native"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        return {"fused": True}

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        if network.asked_jit_compile is not None:
            return (
                "Expected jit_compile=None with engine='native', which compiles a kernel of its own. "
                f"Received: {network.asked_jit_compile}."
            )
        if network.asked_metric not in (None, "accuracy"):
            return (
                "Expected no metric with engine='native', whose kernel measures accuracy. "
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
        try:
            from lth_keras.training.engines.native.program import NativeProgram
        except ModuleNotFoundError as error:
            if error.name not in ("numba", "llvmlite"):
                raise
            message = "The native kernel is compiled by numba, which is not installed: pip install 'lth_keras[native]'."
            raise ModuleNotFoundError(message, name=error.name) from None
        layers, softmax = native_chain(network.model, network.loss)
        return NativeProgram(network.training(), layers, softmax, assign, threads() or usable_cpus())
