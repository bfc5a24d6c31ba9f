"""The data of a search's trials, and the examples that criteria use."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from lth_keras import seeds
from lth_keras.data import Arrays, draw_samples
from lth_keras.search.cache import Cache
from lth_keras.search.identity import digest
from lth_keras.system import interrupts
from lth_keras.training import Network


@dataclass(frozen=True)
class TrialData:
    """Data of trials by seed.

    Args:
        data: data of all trials, or a function of the seed; see `TicketSearch`.
        samples_per_class: training examples of each class that a criterion uses.
        network: returns the network, which is built at the first call.
        cache: keeps samples and digests.
    """

    data: Any
    samples_per_class: int
    network: Callable[[], Network]
    cache: Cache

    def key(self, seed: int) -> Hashable:
        """A key of the data, equal for all trials that share them."""
        return (self.data, seed) if callable(self.data) else (id(self.data), 0)

    def checked(self, seed: int) -> dict[str, Arrays]:
        """The checked splits of a trial.

        Raises:
            ValueError: see `Network.load`.
        """
        made = self._made(seed)
        splits = self.network().checked(made)
        self._note(seed, made)
        return splits

    def digest(self, seed: int) -> str:
        """The digest of a trial's data; loads them if they were not hashed before.

        Raises:
            ValueError: see `Network.load`.
        """
        if self.key(seed) not in self.cache.digests:
            self.checked(seed)
        return self.cache.digests[self.key(seed)][1]

    def loaded(self, seed: int) -> Network:
        """The network with a trial's data loaded.

        Raises:
            ValueError: see `Network.load`.
        """
        network, key = self.network(), self.key(seed)
        if key not in network.datasets:
            network.unload()  # frees memory before the new data are loaded
            network.take({key: self.checked(seed)})
            interrupts.check()
        return network

    def sample(self, seed: int) -> Arrays:
        """The training examples and labels that a criterion uses; drawn once.

        Raises:
            ValueError: see `sampling.draw_samples`.
        """
        network = self.network()
        outputs = int(network.model.output_shape[-1] or 1)
        key = (self.key(seed), seed, self.samples_per_class, outputs)
        samples = self.cache.samples
        if key not in samples:
            x, y = (network.datasets.get(self.key(seed)) or self.checked(seed))["train"]
            chosen = draw_samples(y, self.samples_per_class, outputs, seeds.stream(seed, "samples"))
            samples[key] = x[chosen], y[chosen]
        return samples[key]

    def _note(self, seed: int, made: Any) -> None:
        key, digests = self.key(seed), self.cache.digests
        if key not in digests:
            digests[key] = (None if callable(self.data) else made, digest(made))

    def _made(self, seed: int) -> Any:
        made = self.data(seed) if callable(self.data) else self.data
        interrupts.check()
        return made
