"""What a backend must provide, and the parts of it that need no backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from lth_keras.backends.losses import OWN, told_by, with_axis_of
from lth_keras.backends.optimizers import LOWER

Arrays = tuple[np.ndarray, np.ndarray]
"""x and y."""
Splits = Mapping[str, Arrays]
"""`train`, `validation` and `test`."""
Values = Mapping[int, np.ndarray]
"""A value for each variable of a Keras model, by its `id`; may be made when it is accessed."""
ORDER_BYTES = 4 << 20
"""What the batch order of one call takes at most."""
NEVER = int(np.iinfo(np.int32).max)
"""In place of a step: that of a loss that was always finite."""


class Evaluations(NamedTuple):
    """Evaluations made during one call: one entry each, in the order of their steps.

    Attributes:
        step: int, optimiser updates done.
        train_loss: mean loss of the batches since the evaluation before.
        validation_loss: mean over the validation split, without regularisation terms.
        validation_metric: the metric (see `make_metric`) on the validation split.
    """

    step: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray


class Measured(NamedTuple):
    """What an evaluation measured of each ticket.

    Attributes:
        loss: `(tickets,)`, mean loss without regularisation terms.
        metric: `(tickets,)`, the metric (see `make_metric`).
        outputs: `(tickets, examples, ...)`, or None where they were not asked for.
    """

    loss: np.ndarray
    metric: np.ndarray
    outputs: np.ndarray | None = None


class Pruned(NamedTuple):
    """Weights that a program keeps at zero where they are pruned, so that training need not multiply them by masks.

    Attributes:
        weights: Keras variables, each with the boolean one of its shape that is its mask.
        known: () -> a context in which the model's forward passes take it that they are zero.
    """

    weights: Sequence[tuple[Any, Any]] = ()
    known: Callable[[], AbstractContextManager[None]] = nullcontext


NOTHING_PRUNED = Pruned()


class ProgramParts(NamedTuple):
    """What a training program is made of.

    Attributes:
        model: a built Keras model.
        optimizer: a Keras optimiser of its own; the program builds it.
        loss: as Keras' `compile` takes it.
        weights: the Keras variables to keep the best values of.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
        metric: what to measure beside the loss, as `lth_keras.training.make_metric` gives it.
        jit_compile: whether to compile with XLA.
        pruned: weights to keep at zero where they are pruned, from the start of every `advance` on. Without XLA that
            costs what it saves.
    """

    model: keras.Model
    optimizer: keras.Optimizer
    loss: Any
    weights: Sequence[Any]
    batch_size: int
    evaluate_every: int
    evaluation_batch_size: int
    metric: Any
    jit_compile: bool = True
    pruned: Pruned = NOTHING_PRUNED

    @property
    def capacity(self) -> int:
        """The most steps of one call: their batch order takes at most `ORDER_BYTES`."""
        return max(1, min(4096, ORDER_BYTES // (4 * self.batch_size)))


class Program(Protocol):
    """Trains tickets of one model in one compiled program.

    Data, weights, masks and optimiser state are its inputs, so it is built once. It trains a fixed number of tickets
    at once, each as if it were alone; most programs train one. What it returns has an entry for each ticket.
    """

    tickets: int
    """How many tickets it trains at once."""
    capacity: int
    """The most steps one call can take."""
    every: int
    """Steps between evaluations on the validation split."""
    keeps_best: bool
    """Whether it keeps the weights of least validation loss."""
    advice: str
    """What to do where a loss becomes NaN or infinite."""

    def load(self, datasets: Sequence[Splits]) -> None:
        """Takes data sets in place of others, each with the splits `train`, `validation` and `test`."""

    def unload(self) -> None:
        """Lets go of the data."""

    def begin(self, values: Sequence[Values] | None, datasets: Sequence[int], updates: Sequence[int]) -> None:
        """Begins a training: the optimiser is as after build, and there are no best weights.

        Args:
            values: for each ticket, what the model's variables begin with; None leaves them as they are, which only
                a program of one ticket can.
            datasets: for each ticket, which of the loaded data sets it has.
            updates: for each ticket, what the optimiser's count of updates begins at.
        """

    def reset(self) -> None:
        """Ends a training that is given up, so that nothing of it is left in later ones."""

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """Trains on the batches of `orders`, `(tickets, steps, batch)`, after `start` of `total` steps.

        Returns:
            The evaluations that fell due (every `every` steps and after the last), and the first step whose training
            loss was not finite, or None.
        """

    def finish(self, tickets: Sequence[int]) -> None:
        """Ends the training of these tickets before its last step; what they are trained to afterwards is void.

        Weights become their averages where the optimiser keeps some, and rows of large tables get the updates that
        they are still owed.
        """

    def evaluate(self, split: str = "test", *, best: bool = False, outputs: bool = False) -> Measured:
        """Measures a split of each ticket's data set.

        Args:
            split: `train`, `validation` or `test`.
            best: whether with the weights of least validation loss in place of the present ones.
            outputs: whether to return the outputs, too.
        """

    def value(self, ticket: int, variable: Any) -> np.ndarray:
        """A ticket's value of a Keras variable of the model, a copy."""


class ProgramOfOne(ABC):
    """A program that trains one ticket at a time, in the Keras model's own variables.

    A subclass says how one ticket is trained and evaluated; this class makes a batch of one of it (see `Program`).

    Args:
        variables: all variables of the model.
        weights: those to keep the best values of.
        assign: gives a Keras variable an array's values.
    """

    tickets = 1
    keeps_best = True
    capacity: int
    every: int
    advice: str = LOWER

    def __init__(self, variables: Sequence[Any], weights: Sequence[Any], assign: Callable[[Any, Any], None]) -> None:
        self._model_variables, self._model_weights, self._assign = list(variables), list(weights), assign
        self._splits: Splits = {}

    def load(self, datasets: Sequence[Splits]) -> None:
        """Takes the one data set; see `Program.load`."""
        (splits,) = datasets
        self.unload()  # what was there makes room first
        self._take(splits["train"], splits["validation"])
        self._splits = splits

    def unload(self) -> None:
        """Lets go of the data; see `Program.unload`."""
        self._splits = {}
        self._release()

    def begin(self, values: Sequence[Values] | None, datasets: Sequence[int], updates: Sequence[int]) -> None:
        """Begins a training; see `Program.begin`."""
        for own in values or ():
            for variable in self._model_variables:
                if id(variable) in own:
                    self._assign(variable, own[id(variable)])
        self._start(updates[0])

    def reset(self) -> None:
        """Puts the optimiser back to its start; see `Program.reset`."""
        self._start(0)

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """Trains on the batches of `orders`; see `Program.advance`."""
        evaluations, first_bad = self._advance_one(orders[0], start, total)
        return [evaluations], [first_bad]

    def finish(self, tickets: Sequence[int]) -> None:
        """Ends a training early; see `Program.finish`."""
        self._end()

    def evaluate(self, split: str = "test", *, best: bool = False, outputs: bool = False) -> Measured:
        """Measures a split; see `Program.evaluate`."""
        if not best:
            return self._measured(split, outputs)
        current = [self.value(0, variable) for variable in self._model_weights]
        try:
            self._set_weights(self._best_weights())
            return self._measured(split, outputs)
        finally:
            self._set_weights(current)

    def value(self, ticket: int, variable: Any) -> np.ndarray:
        """The variable's value, a copy; see `Program.value`."""
        return np.array(keras.ops.convert_to_numpy(variable))

    def _measured(self, split: str, outputs: bool) -> Measured:
        loss, metric, out = self._evaluate_one(*self._splits[split], outputs)
        return Measured(np.array([loss]), np.array([metric]), None if out is None else out[None])

    def _set_weights(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._model_weights, values, strict=True):
            self._assign(variable, value)

    @abstractmethod
    def _take(self, train: Arrays, validation: Arrays) -> None:
        """Puts the data that training reads where it reads them."""

    @abstractmethod
    def _release(self) -> None:
        """Lets go of the data."""

    @abstractmethod
    def _start(self, updates: int) -> None:
        """Puts the optimiser back to its state after build, its count of updates to `updates`, and forgets the best."""

    @abstractmethod
    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """As `advance`; `order` is `(steps, batch)`."""

    @abstractmethod
    def _end(self) -> None:
        """As `finish`."""

    @abstractmethod
    def _evaluate_one(self, x: np.ndarray, y: np.ndarray, outputs: bool) -> tuple[float, float, np.ndarray | None]:
        """Mean loss (without regularisation terms), metric (see `make_metric`) and, where asked for, outputs."""

    @abstractmethod
    def _best_weights(self) -> list[np.ndarray]:
        """The weights of least validation loss since `_start`, in the order of `weights`."""


class OnDevice:
    """Arrays on the device: `loaded` for good, of others those that were last asked for. None is there twice.

    Args:
        put: makes the copies of x and y on the device.
        loaded: pairs of x and y.
    """

    def __init__(self, put: Callable[[Arrays], tuple[Any, ...]], *loaded: Arrays) -> None:
        self._put = put
        self._loaded = [(arrays, put(arrays)) for arrays in loaded]
        self._last: list[tuple[Arrays, tuple[Any, ...]]] = []

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
        """The copies of these very arrays: found by identity, as comparing values takes as long as copying."""
        for (own_x, own_y), copies in (*self._loaded, *self._last):
            if own_x is x and own_y is y:
                return copies
        self._last.clear()  # what was there makes room first
        self._last.append(((x, y), self._put((x, y))))
        return self._last[0][1]


def due_steps(start: int, stop: int, total: int, every: int) -> np.ndarray:
    """The steps in `start` + 1 to `stop` with an evaluation: every `every` of them, and the last of all."""
    steps = np.arange(start // every + 1, stop // every + 1) * every
    return np.append(steps, total) if stop == total and total % every else steps


def padded_order(order: np.ndarray, capacity: int) -> np.ndarray:
    """A call's batches in an array of fixed length, so that there is one compilation; the rest is not looked at."""
    padded = np.zeros((*order.shape[:-2], capacity, order.shape[-1]), np.int32)
    padded[..., : order.shape[-2], :] = order
    return padded


def loss_function(loss: Any) -> Any:
    """A loss as Keras' `compile` takes it, as a function (y, outputs) -> scalar mean.

    A user's own is given floating labels in the type of the outputs, as Keras' own losses convert them.
    """
    function = keras.losses.get(loss)
    own = told_by(loss).kind == OWN

    def mean_loss(y: Any, outputs: Any) -> Any:
        y = with_axis_of(outputs, y)
        if own and "float" in keras.backend.standardize_dtype(y.dtype):
            y = keras.ops.cast(y, outputs.dtype)
        return keras.ops.mean(function(y, outputs))

    return mean_loss
