"""Trains tickets on smaller networks without the inputs and units that pruning has disconnected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.arrays import Weights
from lth_keras.backends import Program, check_unweighted
from lth_keras.data import SPLITS
from lth_keras.mask import Mask
from lth_keras.masking import ChainLayer, dense_chain, living_units
from lth_keras.system import checked_build, clear_memory_errors
from lth_keras.training.engines.engine import NO_CALLBACKS, Callbacks, Engine, Schedule, Ticket, Trained
from lth_keras.training.engines.registry import engine_named

if TYPE_CHECKING:
    from lth_keras.training.network import Network

SHARES = (1.0, 3 / 4, 1 / 2, 1 / 4, 1 / 8)
"""Possible widths of a smaller network's layers, as shares of the full width; few, since each network is compiled."""
MULTIPLE = 8
"""Numbers of units are rounded up to a multiple of this, the float32 numbers in a vector register."""
WIDENED = 1.2
"""Layers keep their full width if that needs at most this factor more products, so that fewer networks are compiled."""
WORTH = 0.9
"""A smaller network with more than this share of the full network's products is not used."""
ELEMENTWISE = ("SGD", "Adam", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Lion")
"""Keras optimisers that do not change a weight whose gradient has always been zero, for any shape of its array."""


@dataclass(frozen=True)
class Compact:
    """Trains tickets on smaller networks of their living units; see `Engine`.

    A unit is dead if all its weights to the next layer are pruned, so that it affects no output; or if all its weights
    from the previous layer are pruned, its bias is zero and it has ReLU, so that its output is zero. The gradients of
    its weights and bias are zero, so removing it does not change the updates of other weights, except for the order of
    float32 sums. After some hundred steps results diverge through rounding.

    The smaller network depends only on the ticket's mask and biases, so results are bit-identical whatever was trained
    before. Tickets with few dead units are trained on the full network.

    Attributes:
        inner: trains the smaller networks.
    """

    inner: Engine

    width = 1
    in_place = takes_several = streams = False
    forms = ("compact", "compact:native")

    @classmethod
    def of(cls, argument: str) -> Compact:
        """See `Engine.of`; takes an engine that trains one ticket at a time, `compiled` if none."""
        inner = engine_named(argument or "compiled")
        if inner.width != 1 or isinstance(inner, Compact):
            raise ValueError(f"Expected an engine that trains one ticket at a time. Received: {argument!r}.")
        return cls(inner)

    @property
    def spelling(self) -> str:
        """See `Engine.spelling`."""
        return "compact" if self.inner.spelling == "compiled" else f"compact:{self.inner.spelling}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        return {"compact": True, **self.inner.identity}

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        if schedule is not None and (refusal := schedule.refusal_unless_whole(self.spelling)) is not None:
            return refusal
        try:
            check_optimizer(network.make_optimizer)
            dense_chain(network.model)
        except ValueError as error:
            return str(error)
        return self.inner.refusal(network, schedule)

    def program(self, network: Network) -> Program:
        """See `Engine.program`."""
        return self.inner.program(network)

    def train(
        self, network: Network, tickets: Sequence[Ticket], schedule: Schedule, callbacks: Callbacks = NO_CALLBACKS
    ) -> Iterator[Trained]:
        """See `Engine.train`.

        Raises:
            NotEnoughMemoryError: if a further network does not fit into the free memory.
        """
        chain = dense_chain(network.model)
        for ticket in tickets:
            check_unweighted(network.datasets[ticket.data])
            living = _living(chain, ticket)
            full = [len(units) for units in living]
            sizes = compact_sizes(full, [int(units.sum()) for units in living])
            for made, other in network.programs.items():
                if isinstance(made, tuple):
                    other.unload()  # so that memory holds one copy of the data
            if sizes == tuple(full):
                yield from self.inner.train(network, [ticket], schedule, callbacks)
                continue
            place = self.spelling, sizes
            if place not in network.programs:
                network.programs[place] = _smaller_network(network, chain, sizes, self.inner.spelling)
            moved = _Moved(network, network.programs[place], chain, living, ticket)
            for trained in self.inner.train(moved.small, [moved.ticket()], schedule, callbacks):
                yield moved.back(trained)


class _Moved:
    """Converts a ticket's weights, mask and data to a smaller network's shapes, and results back."""

    def __init__(
        self, whole: Network, small: Network, chain: Sequence[ChainLayer], living: Sequence[np.ndarray], ticket: Ticket
    ) -> None:
        assert ticket.weights is not None and ticket.mask is not None
        self._whole, self.small, self._ticket = whole, small, ticket
        self._start, self._mask = ticket.weights, ticket.mask
        self._places = [np.flatnonzero(units) for units in living]
        self._parts: dict[str, tuple[str, tuple[np.ndarray, ...]]] = {}
        """Key -> the key in the smaller network, and the rows and columns that it contains."""
        for i, part in enumerate(chain):
            self._parts[f"{part.place}/kernel"] = f"{_name(i)}/kernel", (self._places[i], self._places[i + 1])
            if part.layer.use_bias:
                self._parts[f"{part.place}/bias"] = f"{_name(i)}/bias", (self._places[i + 1],)

    def ticket(self) -> Ticket:
        """Loads the ticket's data into the smaller network and returns the ticket there."""
        splits = self._whole.datasets[self._ticket.data]
        self.small.load(
            {name: self._examples(*splits[name]) for name in SPLITS}
            | ({} if len(splits["validation"][0]) else {"without_validation": True})
        )
        weights, mask = (
            {inner: self._inner(key, arrays[key]) for key, (inner, _) in self._parts.items() if key in arrays}
            for arrays in (self._start, self._mask)
        )
        return self._ticket._replace(weights=weights, mask=Mask(mask), data=None)

    def back(self, trained: Trained) -> Trained:
        """The result with weights of the full network."""
        if trained.failure is not None:
            return trained
        weights, scored = (
            self._whole.by_key(partial(self._outer, weights)) for weights in (trained.weights, trained.scored)
        )
        return trained._replace(weights=weights, scored=scored)

    def _examples(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Examples with the living inputs; padding columns have arbitrary inputs, which no weight reads."""
        if not len(x):  # an empty validation split can have any shape
            return x, y
        inputs = self._places[0]
        columns = np.zeros(self.small.model.input_shape[1], np.int64)
        columns[: len(inputs)] = inputs
        return np.take(x.reshape(len(x), -1), columns, axis=1), y

    def _inner(self, key: str, array: np.ndarray) -> np.ndarray:
        """An array of the full network in the smaller one's shape, padded with zeros."""
        inner, places = self._parts[key]
        result = np.zeros(self.small.variables[inner].shape, array.dtype)
        result[tuple(slice(len(part)) for part in places)] = array[np.ix_(*places)]
        return result

    def _outer(self, weights: Weights, key: str) -> np.ndarray:
        """A weight of the full network: living units from the smaller network, others as before training."""
        inner, places = self._parts[key]
        start = self._start[key]
        result = start * self._mask[key] if key in self._mask else start.copy()
        result[np.ix_(*places)] = weights[inner][tuple(slice(len(part)) for part in places)]
        return result


def _smaller_network(network: Network, chain: Sequence[ChainLayer], sizes: Sequence[int], inner: str) -> Network:
    dtype = network.model.inputs[0].dtype
    build = checked_build(lambda: _smaller(chain, sizes, dtype), network.make_optimizer)
    with clear_memory_errors("a smaller network beside the others"):
        return network.alike(build, inner)


def _living(chain: Sequence[ChainLayer], ticket: Ticket) -> list[np.ndarray]:
    assert ticket.weights is not None and ticket.mask is not None
    kernels, active = [], []
    for part in chain:
        kernels.append(ticket.mask[f"{part.place}/kernel"])
        units = kernels[-1].shape[1]
        bias = ticket.weights[f"{part.place}/bias"] if part.layer.use_bias else np.zeros(units)
        active.append(bias != 0 if part.zero_without_input else np.ones(units, bool))
    return living_units(kernels, active)


def compact_sizes(full: Sequence[int], living: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the smaller network; `full` if it would save little.

    Args:
        full: numbers of inputs and of units of each layer of a chain of dense layers.
        living: numbers of living ones.
    """
    sizes = [min(size for size in _choices(n) if size >= alive) for n, alive in zip(full, living, strict=True)]
    sizes[-1] = full[-1]
    most = WIDENED * _products(sizes)
    for i in sorted(range(len(full) - 1), key=lambda i: full[i]):
        wider = [*sizes[:i], full[i], *sizes[i + 1 :]]
        if _products(wider) <= most:
            sizes = wider
    return tuple(full if _products(sizes) > WORTH * _products(full) else sizes)


def check_optimizer(make: Callable[[], keras.Optimizer]) -> None:
    """Checks that an optimiser is new at each call and does not change weights whose gradient has always been zero.

    Args:
        make: makes the optimiser.

    Raises:
        ValueError: if it is the same object at each call, has weight decay or averages of weights, or is not in
            `ELEMENTWISE`.
    """
    optimizer = make()
    name = type(optimizer).__name__
    moves = None
    if name not in ELEMENTWISE or not type(optimizer).__module__.startswith("keras."):  # PyTorch has classes of its own
        moves = name
    elif optimizer.weight_decay:
        moves = f"{name} with weight_decay={optimizer.weight_decay}"
    elif optimizer.use_ema:
        moves = f"{name} with use_ema=True"
    if moves:
        raise ValueError(
            f"Expected one of {ELEMENTWISE} without weight decay and averages, since they do not change weights with "
            f"zero gradients. Received: {moves}. Use another engine than compact."
        )
    if make() is optimizer:
        raise ValueError(
            "Expected optimizer() to return a new optimiser at each call, since each smaller network needs one. "
            f"Received: the same {name} again."
        )


def _choices(units: int) -> list[int]:
    return [min(units, MULTIPLE * math.ceil(units * share / MULTIPLE)) for share in SHARES]


def _products(sizes: Sequence[int]) -> int:
    """Products per step: two per weight of the first layer, whose inputs need no gradient, three per other weight."""
    each = [before * after for before, after in zip(sizes, sizes[1:], strict=False)]
    return 3 * sum(each) - each[0]


def _name(i: int) -> str:
    return f"layer_{i}"


def _smaller(chain: Sequence[ChainLayer], sizes: Sequence[int], dtype: str) -> keras.Model:
    """A chain of dense layers of these sizes and this input type."""
    layers = [
        keras.layers.Dense(
            units,
            activation=part.layer.activation,
            use_bias=part.layer.use_bias,
            kernel_initializer="zeros",
            dtype=part.layer.dtype_policy,
            trainable=part.layer.trainable,
            name=_name(i),
        )
        for i, (part, units) in enumerate(zip(chain, sizes[1:], strict=True))
    ]
    return keras.Sequential([keras.Input((sizes[0],), dtype=dtype), *layers])
