"""What a process makes once for a search and all its variants: networks, programs, samples."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import keras

from lth_keras.data.splits import Arrays
from lth_keras.system import interrupts
from lth_keras.system.memory import checked_build, clear_memory_errors
from lth_keras.training.compact import Compact
from lth_keras.training.network import Network
from lth_keras.training.together import Together


class Blueprint(NamedTuple):
    """What tells one network from another; attributes as `Network` takes them."""

    build: Callable[[], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    loss: Any
    batch_size: int
    evaluate_every: int
    test_every: int | None
    jit_compile: bool | None
    embeddings: str
    fused: bool
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


class Workshop:
    """What a search and its variants share, as far as they can.

    Attributes:
        networks: by what they are made of.
        samples: examples and labels that criteria look at, by what tells them apart.
        digests: of data, by what tells them apart, with the data where that is their place in memory.
        compared: trials whose finished levels were compared with what trains here, by the run's directory.
    """

    def __init__(self) -> None:
        self.networks: dict[Blueprint, Network] = {}
        self.samples: dict[Hashable, Arrays] = {}
        self.digests: dict[Hashable, tuple[Any, str]] = {}
        self.compared: dict[Path, set[int]] = {}
        self._programs: dict[Network, Together] = {}
        self._compact: dict[Network, Compact] = {}

    def together(self, network: Network, width: int) -> Together:
        """What trains so many tickets of the network at a time; made at first use."""
        if network not in self._programs:
            self._programs[network] = Together(network, width)
        return self._programs[network]

    def compact(self, network: Network) -> Compact:
        """What trains the network's tickets on smaller networks; made at first use.

        Raises:
            ValueError: as `Compact`.
        """
        if network not in self._compact:
            self._compact[network] = Compact(network)
        return self._compact[network]

    def training_split(self, network: Network, trial: Hashable) -> Arrays | None:
        """The training split of a trial, where its data are loaded to train the network; otherwise None."""
        if network.holds == trial:
            return network.split("train")
        together = self._programs.get(network)
        return None if together is None or trial not in together.datasets else together.datasets[trial]["train"]
