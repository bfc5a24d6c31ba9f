"""What a process makes once for a search and all its variants: networks, samples, digests of data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras

from lth_keras.data.splits import Arrays
from lth_keras.system import interrupts
from lth_keras.system.memory import checked_build, clear_memory_errors
from lth_keras.training.network import Network


class NetworkParameters(NamedTuple):
    """What tells one network from another; attributes as `Network` takes them."""

    build: Callable[[], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    loss: Any
    batch_size: int
    evaluate_every: int
    test_every: int | None
    jit_compile: bool | None
    engine: str
    start: str | None = None
    prune_frozen: bool = False
    metric: Any = None

    def network(self, processes: int) -> Network:
        """Makes the network.

        Args:
            processes: that are to train such a network and have not begun to, this one among them.

        Raises:
            NotEnoughMemoryError: where it does not fit into the memory that is free.
            ValueError, TypeError: as `Network`.
        """
        with clear_memory_errors("the model and its optimiser"):
            arguments = self._asdict() | {"build": checked_build(self.build, self.optimizer, processes)}
            interrupts.check()
            network = Network(**arguments)
        interrupts.check()
        return network


@dataclass
class Cache:
    """What a search and its variants share, as far as they can.

    Attributes:
        networks: by what they are made of.
        samples: examples and labels that criteria look at, by what tells them apart.
        digests: of data, by what tells them apart, with the data where that is their place in memory.
        compared: trials whose finished levels were compared with what trains here, by the run's directory.
        started: run directories and variants whose given weights are recorded.
    """

    networks: dict[NetworkParameters, Network] = field(default_factory=dict)
    samples: dict[Hashable, Arrays] = field(default_factory=dict)
    digests: dict[Hashable, tuple[Any, str]] = field(default_factory=dict)
    compared: dict[Path, set[int]] = field(default_factory=dict)
    started: set[tuple[Path, str]] = field(default_factory=set)
