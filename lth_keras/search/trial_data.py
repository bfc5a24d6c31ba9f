"""The data of a search's trials, and the examples that criteria use."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from lth_keras import seeds
from lth_keras.backends import SAMPLE_WEIGHT, rows
from lth_keras.data import MARGIN, Arrays, Stream, draw_samples, first_examples, largest_output, weights_of_classes
from lth_keras.search.identity import digest
from lth_keras.system import interrupts
from lth_keras.training import Network

if TYPE_CHECKING:
    from lth_keras.search.search import TicketSearch


class TrialData:
    """Data of a search's trials by seed; samples and digests are kept in the search's cache."""

    def __init__(self, search: TicketSearch) -> None:
        self._search = search

    def key(self, seed: int) -> Hashable:
        """A key of the data, equal for all trials that share them."""
        data, class_weight = self._search.data, self._search.training.class_weight
        key = (data, seed) if callable(data) else (id(data), 0)
        return key if class_weight is None else (*key, *class_weight.items())

    def checked(self, seed: int) -> dict[str, Any]:
        """The checked splits of a trial, with the weights of its examples if there are some.

        Raises:
            ValueError: for both `sample_weight` and `class_weight`; see `weights_of_classes` and `Network.load`.
        """
        data, key, digests = self._search.data, self.key(seed), self._search.cache.digests
        made = self._search.taken(data(seed)) if callable(data) else data
        interrupts.check()
        network = self._search.network
        splits = network.checked(made)
        if key not in digests:
            digests[key] = (None if callable(data) else made, digest(made, network.model))
        class_weight = self._search.training.class_weight
        if class_weight is not None:
            if isinstance(splits["train"], Stream):
                raise ValueError(
                    "Expected class_weight=None for a stream; give batches (x, y, sample_weight). "
                    f"Received: {class_weight}."
                )
            if SAMPLE_WEIGHT in splits:
                raise ValueError("Expected class_weight or sample_weight of training examples. Received: both.")
            splits[SAMPLE_WEIGHT] = weights_of_classes(network.loss, splits["train"][1], class_weight)
        return splits

    def digest(self, seed: int) -> str:
        """The digest of a trial's data; loads them if they were not hashed before.

        Raises:
            ValueError: see `Network.load`.
        """
        if self.key(seed) not in self._search.cache.digests:
            self.checked(seed)
        return self._search.cache.digests[self.key(seed)][1]

    def loaded(self, seed: int) -> Network:
        """The network with a trial's data loaded.

        Raises:
            ValueError: see `Network.load`.
        """
        network, key = self._search.network, self.key(seed)
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
        network, per_class = self._search.network, self._search.pruning.samples_per_class
        outputs = largest_output(network.model)
        key, samples = (self.key(seed), seed, per_class, outputs), self._search.cache.samples
        if key not in samples:
            train = (network.datasets.get(self.key(seed)) or self.checked(seed))["train"]
            x, y = first_examples(train, MARGIN * per_class * outputs) if isinstance(train, Stream) else train
            chosen = draw_samples(y, per_class, outputs, seeds.stream(seed, "samples"))
            samples[key] = rows(x, chosen), rows(y, chosen)
        return samples[key]
