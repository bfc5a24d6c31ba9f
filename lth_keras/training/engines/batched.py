"""Trains several tickets in one compiled program on JAX, since launching kernels dominates small networks on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import keras
import numpy as np

from lth_keras.backends import Program, backend, is_single
from lth_keras.masking import large_tables
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import NO_CALLBACKS, Callbacks, Schedule, Ticket, Trained
from lth_keras.training.engines.rows import why_densely
from lth_keras.training.engines.train import train_batch

if TYPE_CHECKING:
    from lth_keras.training.network import Network

SHARE_OF_DEVICE = 0.5
"""The share of the device's free memory for tickets trained at once."""
MOST = 64
"""The most tickets trained at once if memory allows more."""


@dataclass(frozen=True)
class Batched(Compiled):
    """Trains `width` tickets at once; see `Engine`.

    Results equal those of separate trainings within float32 rounding, but are not bit-identical.
    """

    width: int = field()  # without a default, though Compiled has one

    in_place = takes_several = False
    forms = ("batched:N",)

    @classmethod
    def of(cls, argument: str) -> Batched:
        """See `Engine.of`; takes an integer of at least 2."""
        if not argument.isdecimal() or int(argument) < 2:
            raise ValueError(f"Expected at least 2 tickets. Received: {argument!r}.")
        return cls(int(argument))

    @property
    def spelling(self) -> str:  # type: ignore[override]
        """See `Engine.spelling`."""
        return f"batched:{self.width}"

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        if schedule is not None and (refusal := schedule.refusal_unless_whole(self.spelling)) is not None:
            return refusal
        most = backend().most_tickets
        if most is not None and self.width > most:
            return (
                f"Expected Keras on JAX to train several tickets at once. Received: {keras.backend.backend()}, "
                f"engine={self.spelling!r}."
            )
        tables = large_tables(network.model)
        if tables and why_densely(network) is None:
            return (
                "Expected a model without large embedding tables, which are trained by rows, one ticket at a time. "
                f"Received: {len(tables)} such tables, engine={self.spelling!r}."
            )
        return None

    def program(self, network: Network) -> Program:
        """See `Engine.program`."""
        return Compiled().program(network)

    def train(
        self, network: Network, tickets: Sequence[Ticket], schedule: Schedule, callbacks: Callbacks = NO_CALLBACKS
    ) -> Iterator[Trained]:
        """See `Engine.train`."""
        program = super().program(network)
        keys = list(network.datasets)  # all data sets, so that one program can train any tickets
        program.load(list(network.datasets.values()))
        for start in range(0, len(tickets), self.width):
            part = tickets[start : start + self.width]
            places = [keys.index(ticket.data) for ticket in part]
            yield from train_batch(network, program, part, places, schedule, callbacks)


def best_width(network: Network, tickets: int) -> int:
    """The number of tickets to train at once on a GPU.

    As many as are ready and whose variables, gradients and activations fit into half of the free memory; the data need
    memory too. One for networks with convolutions, for which batches were not measured to be faster, and for several
    inputs or outputs.

    Args:
        network: the network.
        tickets: number of tickets that are ready at a time.
    """
    layers = [layer for layer in network.model._flatten_layers() if not hasattr(layer, "layers")]
    if network.tables or not is_single(network.model) or any("Conv" in type(layer).__name__ for layer in layers):
        return 1
    _, free = backend().device()
    if free is None:
        return min(tickets, MOST)
    variables = sum(int(np.prod(variable.shape)) for variable in network.variables.values())
    outputs = [int(np.prod([size or 1 for size in layer.output.shape[1:]])) for layer in layers]
    # Weights, gradients, two slots and best weights, twice for a call's inputs and results; one byte of mask. A
    # training step keeps the outputs of all layers, an evaluation those of two at a time.
    activations = max(2 * network.batch_size * sum(outputs), 2 * network.evaluation_batch_size * max(outputs))
    each = variables * (10 * 4 + 1) + 4 * activations
    return max(1, min(tickets, MOST, int(free * SHARE_OF_DEVICE / each)))
