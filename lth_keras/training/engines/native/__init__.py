"""Trains chains of dense layers on CPUs with a kernel of this library instead of the backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lth_keras.backends import Program, backend, threads
from lth_keras.system import usable_cpus
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule
from lth_keras.training.engines.native.chain import check_optimizer, native_chain

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
        try:
            from lth_keras.training.engines.native.native_program import NativeProgram
        except ModuleNotFoundError as error:
            if error.name not in ("numba", "llvmlite"):
                raise
            message = "The native kernel needs numba, which is not installed: pip install 'lth_keras[native]'."
            raise ModuleNotFoundError(message, name=error.name) from None
        layers, softmax = native_chain(network.model, network.loss)
        return NativeProgram(network.training(), layers, softmax, threads() or usable_cpus())
