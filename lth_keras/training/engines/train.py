"""Trains tickets in a compiled program, for all engines that have one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays, TrainingState, Weights
from lth_keras.backends import Program, ProgramOfOne, Values, count
from lth_keras.data import Stream, check_patience
from lth_keras.training.engines.engine import Callbacks, Schedule, Ticket, Trained
from lth_keras.training.loop import NonFiniteLossError, train
from lth_keras.training.order import BatchOrder, InOrder, Order

if TYPE_CHECKING:
    from lth_keras.training.network import Network


def train_batch(
    network: Network,
    program: Program,
    tickets: Sequence[Ticket],
    places: Sequence[int],
    schedule: Schedule,
    callbacks: Callbacks,
) -> Iterator[Trained]:
    """Trains at most as many tickets as the program trains at once.

    Fewer tickets are padded with repetitions, whose results are dropped. So the program is compiled once, and on CPUs
    results are bit-identical whatever else is trained in the batch.

    Args:
        network: the network of the tickets.
        program: the program, with their data.
        tickets: at least one ticket.
        places: for each ticket the index of its data set in the program.
        schedule: length of the training.
        callbacks: functions to call during the training.
    """
    padding = [*range(len(tickets)), *[0] * (program.tickets - len(tickets))]
    padded = [tickets[i] for i in padding]
    splits = [network.datasets[ticket.data] for ticket in padded]
    validated = _has_examples(splits[0]["validation"])
    check_patience(schedule.patience, validated)
    if schedule.confusion and isinstance(splits[0]["test"], Stream):
        raise ValueError("Expected confusion=False with a test split that is a stream. Received: confusion=True.")
    values = [_values(network, ticket) for ticket in tickets]
    if program.tickets > 1:  # all of them are needed at once
        values = [dict(value) for value in values]
    updates = [ticket.updates for ticket in padded]
    program.begin([values[i] for i in padding], [places[i] for i in padding], updates)
    first = tickets[0]
    if first.optimizer is not None:
        _alone(program).restore(first.optimizer)
    state: TrainingState | None = None
    scored: dict[int, Weights] = {}
    ends: dict[int, tuple[Weights, float]] = {}

    def keep(step: int) -> None:
        nonlocal state
        if step == first.state_at:
            state = _state(network, program, step, first)
        at = [i for i, ticket in enumerate(tickets) if ticket.score_at == step and i not in ends]
        scored.update({i: dict(_weights(network, program, i, first)) for i in at})
        if step in callbacks.after:
            callbacks.after[step]()

    def end(i: int) -> None:
        if i < len(tickets):
            metric = float(program.evaluate("test", best=True).metric[i])
            ends[i] = dict(_weights(network, program, i, first)), metric

    asked = {first.state_at, *(ticket.score_at for ticket in tickets)} - {None}
    hooks = cast(set[int], asked) | callbacks.after.keys()
    orders = [
        _order_of(own["train"], network.batch_size, ticket.seed, *ticket.names)
        for own, ticket in zip(splits, padded, strict=True)
    ]
    for order in orders:
        order.skip(first.start)
    results = train(
        program,
        orders,
        steps=schedule.steps,
        start=first.start,
        labels=[None if isinstance(own["test"], Stream) else own["test"][1] for own in splits],
        test_every=network.test_every,
        validated=validated,
        counter=network.make_counter() if schedule.confusion else None,
        patience=schedule.patience,
        ended=end,
        after={step: partial(keep, step) for step in hooks},
        progress=callbacks.progress,
    )
    finished = [result for result in results if not isinstance(result, NonFiniteLossError)]
    best = program.evaluate("test", best=True).metric if finished and validated and program.keeps_best else None
    for i, result in enumerate(results[: len(tickets)]):
        if isinstance(result, NonFiniteLossError):
            yield Trained(None, {}, {}, np.nan, result)  # type: ignore[arg-type]  # it has no curves
            continue
        final, metric = _weights(network, program, i, first), result.test_metric[result.early_stop]
        if i in ends:
            final, metric = ends[i]
        elif best is not None:
            metric = best[i]
        if first.state_at is not None and state is None:
            state = _state(network, program, int(result.step[-1]), first)
        yield Trained(result, final, scored.get(i, final), float(metric), state=state)


def _values(network: Network, ticket: Ticket) -> Values:
    """The initial values of the model's variables for a ticket; each is made when accessed."""
    weights, mask = ticket.weights, ticket.mask
    makers: dict[Any, tuple[Any, Callable[[], np.ndarray]]] = {}
    """The variable's `id` -> the variable, and a function that makes its value."""
    for i, state in enumerate(network.seed_states):
        makers[id(state)] = state, partial(dropout_seed, state, ticket.seed, *ticket.names, i)
    if weights is not None:
        pruned: Weights = {} if mask is None else mask
        for key, variable in network.variables.items():
            makers[id(variable)] = variable, partial(_start, weights, pruned, key)
    if mask is not None:
        for weight in network.prunable:
            makers[id(weight.mask)] = weight.mask, partial(mask.__getitem__, weight.key)
    shapes = {place: tuple(variable.shape) for place, (variable, _) in makers.items()}
    return cast(Values, LazyArrays(shapes, lambda place: makers[place][1]()))


def _start(weights: Weights, mask: Weights, key: str) -> np.ndarray:
    array = weights[key]
    return array * mask[key] if key in mask else array


def _weights(network: Network, program: Program, place: int, ticket: Ticket) -> Weights:
    """The current weights of a program's ticket at a place.

    Restored moments move pruned weights, which the masked layers do not use; they are zero here all the same.
    """
    pruned: Weights = {} if ticket.optimizer is None or ticket.mask is None else ticket.mask
    read = network.by_key(lambda key: program.value(place, network.variables[key]))
    return network.by_key(partial(_start, read, pruned)) if pruned else read


def _state(network: Network, program: Program, step: int, ticket: Ticket) -> TrainingState:
    return TrainingState(step, dict(_weights(network, program, 0, ticket)), _alone(program).optimizer_values())


def _alone(program: Program) -> ProgramOfOne:
    """A program that can continue trainings; engines with others refuse them."""
    assert isinstance(program, ProgramOfOne)
    return program


def _has_examples(split: Any) -> bool:
    return isinstance(split, Stream) or count(split[0]) > 0


def _order_of(train: Any, batch_size: int, seed: int, *names: str | int) -> Order:
    """The order of a training's batches; of a stream in indices of batches, shuffled where they can be."""
    if not isinstance(train, Stream):
        return batch_order(count(train[0]), batch_size, seed, *names)
    if not train.indexed or train.length in (None, math.inf):
        return InOrder()
    return batch_order(int(train.length), 1, seed, *names)


def batch_order(examples: int, batch_size: int, seed: int, *names: str | int) -> BatchOrder:
    """The batch order of a training with this seed and these names."""
    return BatchOrder(examples, batch_size, seeds.stream(seed, "order", *names))


def dropout_seed(state: Any, seed: int, *names: str | int) -> np.ndarray:
    """The initial state of a layer's random generator for a training with this seed and these names."""
    return np.array([seeds.integer(seed, "dropout", *names), 0]).astype(state.dtype)
