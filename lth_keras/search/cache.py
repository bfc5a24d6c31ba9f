"""A cache that a search shares with its variants: networks, samples and digests of data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras

from lth_keras.data import Arrays
from lth_keras.system import checked_build, clear_memory_errors, interrupts
from lth_keras.training import Network


class NetworkParameters(NamedTuple):
    """The arguments of a `Network`, as a key of the cache."""

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
            processes: processes, including this one, that still have to allocate such a network.

        Raises:
            NotEnoughMemoryError: if it does not fit into the free memory.
            ValueError, TypeError: see `Network`.
        """
        with clear_memory_errors("the model and its optimiser"):
            arguments = self._asdict() | {"build": checked_build(self.build, self.optimizer, processes)}
            interrupts.check()
            network = Network(**arguments)
        interrupts.check()
        return network


@dataclass
class Cache:
    """Objects that a search and its variants make once per process.

    Attributes:
        networks: networks by their arguments.
        samples: examples and labels for criteria, by data, seed and number.
        digests: digests of data. Where the key is the data's `id`, the data are kept too, so that the id stays valid.
        compared: seeds of trials whose finished levels were compared with this search, by run directory.
        started: run directories and branches whose given weights are recorded.
        provenance: of levels without their data, by variant and spelling of the engine.
    """

    networks: dict[NetworkParameters, Network] = field(default_factory=dict)
    samples: dict[Hashable, Arrays] = field(default_factory=dict)
    digests: dict[Hashable, tuple[Any, str]] = field(default_factory=dict)
    compared: dict[Path, set[int]] = field(default_factory=dict)
    started: set[tuple[Path, str]] = field(default_factory=set)
    provenance: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
