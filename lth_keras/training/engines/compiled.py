"""The default engine: the backend's compiled program, one ticket at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lth_keras.backends import Program, backend
from lth_keras.training.engines.engine import NO_CALLBACKS, Callbacks, Schedule, Ticket, Trained
from lth_keras.training.engines.train import train_batch

if TYPE_CHECKING:
    from lth_keras.training.network import Network


@dataclass(frozen=True)
class Compiled:
    """Trains one ticket at a time, in the Keras model's own variables; see `Engine`."""

    spelling = "compiled"
    width = 1
    in_place = takes_several = True
    streams = False
    identity: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def of(cls, argument: str) -> Compiled:
        """See `Engine.of`; takes no argument."""
        if argument:
            raise ValueError(f"Expected no argument. Received: {argument!r}.")
        return cls()

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        return None

    def program(self, network: Network) -> Program:
        """See `Engine.program`."""
        if self.spelling not in network.programs:
            network.programs[self.spelling] = self._make(network)
        program: Program = network.programs[self.spelling]
        return program

    def train(
        self, network: Network, tickets: Sequence[Ticket], schedule: Schedule, callbacks: Callbacks = NO_CALLBACKS
    ) -> Iterator[Trained]:
        """See `Engine.train`."""
        program = self.program(network)
        for ticket in tickets:
            program.load([network.datasets[ticket.data]])
            yield from train_batch(network, program, [ticket], [0], schedule, callbacks)

    def _make(self, network: Network) -> Program:
        return backend().program(network.training(), self.width)
