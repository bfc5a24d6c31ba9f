"""Tickets trained on smaller networks, without the inputs and units that pruning has cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np

from lth_keras.arrays import LazyArrays, Weights
from lth_keras.data.splits import SPLITS
from lth_keras.mask import Mask
from lth_keras.masking import ChainLayer, dense_chain, living_units
from lth_keras.system.memory import checked_build, clear_memory_errors
from lth_keras.training import Curves
from lth_keras.training.network import Network

SHARES = (1.0, 3 / 4, 1 / 2, 1 / 4, 1 / 8)
"""Shares of a layer's units that a smaller network can have: few, as each network is compiled."""
MULTIPLE = 8
"""Units are rounded up to a multiple of this, the float32 numbers of a vector register."""
WIDENED = 1.2
"""Layers stay as wide as they were where that takes up to so many times the products: again for fewer networks."""
WORTH = 0.9
"""Networks with more than this share of the products are trained as they are."""
ELEMENTWISE = ("SGD", "Adam", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Lion")
"""Keras' optimisers that leave a weight alone which never had a gradient, whatever the shape of its array."""


class Trainer(Protocol):
    """What trains a ticket: a `Network`, or a smaller one in place of it."""

    @property
    def weights(self) -> Weights:
        """All weights of the whole network by key, as they are at access."""

    def train(self, *args: Any, **options: Any) -> Curves:
        """As `Network.train`."""

    def test_metric_at_early_stop(self, curves: Curves) -> float:
        """As `Network.test_metric_at_early_stop`."""


class Compact:
    """Trains the tickets of a network on networks of their living units.

    A unit whose weights to the next layer are all pruned is not heard. One whose weights from the layer before are all
    pruned, with a bias of zero and ReLU, gives nothing, and its bias has no gradient. Nor do the weights of either have
    one, so without them the others get the same updates, but for the order in which float32 sums are added up: the
    same numbers within rounding, and from some hundred steps on other ones, as with any other order.

    Which smaller network a ticket is trained on is decided by its mask and its biases alone, so that a training has the
    same bits whatever was trained before.

    Args:
        network: the whole network; its data are taken from it at each ticket.

    Raises:
        ValueError: for a model that is no chain of dense layers (see `masking.dense_chain`), or an optimiser that moves
            weights without a gradient, or is not made anew for each network.
    """

    def __init__(self, network: Network) -> None:
        check_optimizer(network.make_optimizer())
        self._network = network
        self._chain = dense_chain(network.model)
        self._made: dict[tuple[int, ...], Network] = {}
        self._loaded: Network | None = None

    def ticket(self, weights: Weights, mask: Mask) -> Trainer:
        """What trains these weights under this mask: the whole network, rewound to them, where little would be saved.

        Args:
            weights: all weights by key.
            mask: of the prunable ones.

        Raises:
            NotEnoughMemoryError: where a further network does not fit into the memory that is free.
        """
        living = self._living(weights, mask)
        full = [len(units) for units in living]
        sizes = compact_sizes(full, [int(units.sum()) for units in living])
        if self._loaded is not None:
            self._loaded.unload()  # one copy of the data at a time
            self._loaded = None
        if sizes == tuple(full):
            self._network.rewind(weights, mask)
            return self._network
        if sizes not in self._made:
            self._made[sizes] = self._smaller(sizes)
        self._loaded = small = self._made[sizes]
        return _CompactTicket(self._network, small, self._chain, living, weights, mask)

    def _smaller(self, sizes: Sequence[int]) -> Network:
        dtype = self._network.model.inputs[0].dtype
        build = checked_build(lambda: _smaller(self._chain, sizes, dtype), self._network.make_optimizer)
        with clear_memory_errors("a smaller network beside the others"):
            return self._network.alike(build)

    def _living(self, weights: Weights, mask: Mask) -> list[np.ndarray]:
        kernels, speaking = [], []
        for part in self._chain:
            kernels.append(mask[f"{part.place}/kernel"])
            units = kernels[-1].shape[1]
            bias = weights[f"{part.place}/bias"] if part.layer.use_bias else np.zeros(units)
            speaking.append(bias != 0 if part.zero_without_input else np.ones(units, bool))
        return living_units(kernels, speaking)


class _CompactTicket:
    """A ticket that a smaller network trains; see `Trainer`."""

    def __init__(
        self,
        whole: Network,
        small: Network,
        chain: Sequence[ChainLayer],
        living: Sequence[np.ndarray],
        weights: Weights,
        mask: Mask,
    ) -> None:
        self._small = small
        self._start, self._mask = weights, mask
        places = [np.flatnonzero(units) for units in living]
        self._parts: dict[str, tuple[str, tuple[np.ndarray, ...]]] = {}
        """Key to the key in the smaller network, and which rows and columns are there."""
        for i, part in enumerate(chain):
            self._parts[f"{part.place}/kernel"] = f"{_name(i)}/kernel", (places[i], places[i + 1])
            if part.layer.use_bias:
                self._parts[f"{part.place}/bias"] = f"{_name(i)}/bias", (places[i + 1],)
        shapes = {key: tuple(variable.shape) for key, variable in whole.variables.items()}
        self._weights = LazyArrays(shapes, self._weight)
        small.load({name: self._examples(*whole.split(name), places[0]) for name in SPLITS} | _promise(whole))
        kept = {inner: self._inner(key, mask[key]) for key, (inner, _) in self._parts.items() if key in mask}
        small.rewind({inner: self._inner(key, weights[key]) for key, (inner, _) in self._parts.items()}, Mask(kept))

    @property
    def weights(self) -> Weights:
        """What lives as it is in the smaller network, and the rest as it was before training."""
        return self._weights

    def train(self, *args: Any, **options: Any) -> Curves:
        """Trains the smaller network on the same batches."""
        return self._small.train(*args, **options)

    def test_metric_at_early_stop(self, curves: Curves) -> float:
        """Of the smaller network, as its outputs are the whole one's."""
        return self._small.test_metric_at_early_stop(curves)

    def _examples(self, x: np.ndarray, y: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Examples with the living inputs, and any other in the columns that are left over: no weight reads those."""
        if not len(x):  # a validation split that is not there, of any shape
            return x, y
        columns = np.zeros(self._small.model.input_shape[1], np.int64)
        columns[: len(inputs)] = inputs
        return np.take(x.reshape(len(x), -1), columns, axis=1), y

    def _inner(self, key: str, array: np.ndarray) -> np.ndarray:
        """An array of the whole network in the smaller one's shape; nothing in the places that are left over."""
        inner, places = self._parts[key]
        result = np.zeros(self._small.variables[inner].shape, array.dtype)
        result[tuple(slice(len(part)) for part in places)] = array[np.ix_(*places)]
        return result

    def _weight(self, key: str) -> np.ndarray:
        inner, places = self._parts[key]
        start = self._start[key]
        result = start * self._mask[key] if key in self._mask else start.copy()
        result[np.ix_(*places)] = self._small.weights[inner][tuple(slice(len(part)) for part in places)]
        return result


def compact_sizes(full: Sequence[int], living: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the smaller network for so many living inputs and units; `full` where little would be saved.

    Args:
        full: inputs and units of each layer of a chain of dense layers.
        living: how many of each live.
    """
    sizes = [min(size for size in _choices(n) if size >= alive) for n, alive in zip(full, living, strict=True)]
    sizes[-1] = full[-1]
    most = WIDENED * _products(sizes)
    for i in sorted(range(len(full) - 1), key=lambda i: full[i]):
        wider = [*sizes[:i], full[i], *sizes[i + 1 :]]
        if _products(wider) <= most:
            sizes = wider
    return tuple(full if _products(sizes) > WORTH * _products(full) else sizes)


def check_optimizer(optimizer: keras.Optimizer) -> None:
    """Checks that an optimiser is a new one, and leaves weights alone that never had a gradient.

    Raises:
        ValueError: where it is built for other weights already, decays weights, puts their averages in their place, or
            is not known to.
    """
    name = type(optimizer).__name__
    if type(optimizer) not in [getattr(keras.optimizers, known) for known in ELEMENTWISE]:
        moves = name
    elif optimizer.weight_decay:
        moves = f"{name} with weight_decay={optimizer.weight_decay}"
    elif optimizer.use_ema:
        moves = f"{name} with use_ema=True"
    else:
        moves = ""
    if moves:
        raise ValueError(
            f"Expected one of {ELEMENTWISE} without weight decay and averages, which leave weights alone that never "
            f"had a gradient. Received: {moves}. Search without compact."
        )
    if optimizer.built:
        raise ValueError(
            "Expected optimizer() to make a new optimiser at each call, as each smaller network has its own. Received: "
            f"the same {name} again."
        )


def _choices(units: int) -> list[int]:
    return [min(units, MULTIPLE * math.ceil(units * share / MULTIPLE)) for share in SHARES]


def _products(sizes: Sequence[int]) -> int:
    """Of a step: twice those of the first layer, whose inputs need no gradient, and three times the others'."""
    each = [before * after for before, after in zip(sizes, sizes[1:], strict=False)]
    return 3 * sum(each) - each[0]


def _name(i: int) -> str:
    return f"layer_{i}"


def _promise(network: Network) -> dict[str, Any]:
    """What a network's data say beside the splits: that there is no validation split, where there is none."""
    return {"without_validation": True} if not len(network.split("validation")[0]) else {}


def _smaller(chain: Sequence[ChainLayer], sizes: Sequence[int], dtype: str) -> keras.Model:
    """A chain of other sizes, whose input is of this type."""
    model = keras.Sequential([keras.Input((sizes[0],), dtype=dtype)])
    for i, (part, units) in enumerate(zip(chain, sizes[1:], strict=True)):
        layer = part.layer
        model.add(
            keras.layers.Dense(
                units,
                activation=layer.activation,
                use_bias=layer.use_bias,
                kernel_initializer="zeros",
                dtype=layer.dtype_policy,
                trainable=layer.trainable,
                name=_name(i),
            )
        )
    return model
