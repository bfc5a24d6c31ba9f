"""The protocol of training programs, and their parts that are independent of the backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from lth_keras.backends.backend import assign
from lth_keras.backends.optimizers import LOWER, OptimizerStart, restore
from lth_keras.backends.several import each

Arrays = tuple[Any, Any]
"""x and y, each an array, or a tuple of arrays of several inputs or outputs; see `several`."""
Splits = Mapping[str, Any]
"""`train`, `validation` and `test`, each x and y; and `SAMPLE_WEIGHT` where training examples have weights."""
SAMPLE_WEIGHT = "sample_weight"
"""The key of the weights of training examples in splits, float32 `(examples,)`."""
Values = Mapping[int, np.ndarray]
"""The value of each variable of a Keras model by the variable's `id`; may be made when accessed."""
ORDER_BYTES = 4 << 20
"""The most bytes of one call's batch order."""
NEVER = int(np.iinfo(np.int32).max)
"""Replaces the step of a non-finite loss if there was none."""


class Evaluations(NamedTuple):
    """Evaluations of one call, one entry each in the order of steps.

    Attributes:
        step: int, optimiser updates done.
        train_loss: mean loss of the batches since the previous evaluation.
        validation_loss: mean over the validation split, without regularisation terms.
        validation_metric: the metric (see `make_metric`) on the validation split.
    """

    step: np.ndarray
    train_loss: np.ndarray
    validation_loss: np.ndarray
    validation_metric: np.ndarray


class Measured(NamedTuple):
    """The result of an evaluation for each ticket.

    Attributes:
        loss: `(tickets,)`, mean loss without regularisation terms.
        metric: `(tickets,)`, the metric (see `make_metric`).
        outputs: `(tickets, examples, ...)`, a tuple of such arrays for several outputs, or None if not requested.
    """

    loss: np.ndarray
    metric: np.ndarray
    outputs: Any = None


class Pruned(NamedTuple):
    """Weights whose pruned entries a program keeps at zero, so that training need not multiply them by masks.

    Attributes:
        weights: Keras variables, each with its mask, a boolean variable of the same shape.
        known: () -> a context in which the model's forward passes assume that pruned weights are already zero.
    """

    weights: Sequence[tuple[Any, Any]] = ()
    known: Callable[[], AbstractContextManager[None]] = nullcontext


NOTHING_PRUNED = Pruned()


class ProgramParts(NamedTuple):
    """The parts of a training program.

    Attributes:
        model: a built Keras model.
        optimizer: a new Keras optimiser, which the program builds.
        loss: see `losses.loss_function`.
        weights: the Keras variables whose best values to keep.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
        metric: the metric, a result of `lth_keras.training.make_metric`.
        jit_compile: whether to compile with XLA.
        pruned: weights whose pruned entries are set to zero at the start of every `advance`. Without XLA this saves no
            time.
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
        """The most steps of one call, whose batch order needs at most `ORDER_BYTES`."""
        return max(1, min(4096, ORDER_BYTES // (4 * self.batch_size)))


class Program(Protocol):
    """Trains tickets of one model in one compiled program.

    Data, weights, masks and optimiser state are its inputs, so it is built once. It trains a fixed number of tickets at
    once, independently of each other; most programs train one. Results have an entry for each ticket.
    """

    tickets: int
    """The number of tickets that it trains at once."""
    capacity: int
    """The most steps of one call."""
    every: int
    """Steps between evaluations on the validation split."""
    keeps_best: bool
    """Whether it keeps the weights of least validation loss."""
    advice: str
    """Advice for a loss that becomes NaN or infinite."""

    def load(self, datasets: Sequence[Splits]) -> None:
        """Replaces the loaded data sets, unless they are the same mappings.

        Args:
            datasets: each with the splits `train`, `validation` and `test`.
        """

    def unload(self) -> None:
        """Unloads the data."""

    def begin(self, values: Sequence[Values] | None, datasets: Sequence[int], updates: Sequence[int]) -> None:
        """Begins a training: resets the optimiser to its state after build and discards the best weights.

        Args:
            values: the initial values of the model's variables for each ticket; None keeps the current ones, which
                only a program of one ticket supports.
            datasets: the index of each ticket's data set.
            updates: the initial value of each ticket's step count.
        """

    def reset(self) -> None:
        """Ends an aborted training, so that it does not affect later ones."""

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """Trains on the batches of `orders`, `(tickets, steps, batch)`, after `start` of `total` steps.

        Returns:
            The evaluations (every `every` steps and after the last step), and the first step whose training loss was
            not finite, or None.
        """

    def finish(self, tickets: Sequence[int]) -> None:
        """Ends the training of these tickets before its last step; their later weights are void.

        Weights are replaced by their averages if the optimiser keeps them, and rows of large tables get their skipped
        updates.
        """

    def evaluate(self, split: str = "test", *, best: bool = False, outputs: bool = False) -> Measured:
        """Measures a split of each ticket's data set.

        Args:
            split: `train`, `validation` or `test`.
            best: whether to use the weights of least validation loss instead of the current ones.
            outputs: whether to return the outputs.
        """

    def value(self, ticket: int, variable: Any) -> np.ndarray:
        """A copy of a ticket's value of a Keras variable."""


class ProgramOfOne(ABC):
    """A program that trains one ticket at a time, in the Keras model's own variables.

    A subclass trains and evaluates one ticket; this class adds the ticket axis of `Program`.

    Args:
        training: its parts.
    """

    tickets = 1
    keeps_best = True
    advice: str = LOWER
    takes_weights = False
    """Whether it trains with weights of examples, as `self._weight`."""

    def __init__(self, training: ProgramParts) -> None:
        self.capacity, self.every = training.capacity, training.evaluate_every
        self._of_training = training.optimizer
        self._model_variables, self._model_weights = list(training.model.variables), list(training.weights)
        self._splits: Splits = {}
        self._weight: np.ndarray | None = None

    def load(self, datasets: Sequence[Splits]) -> None:
        """Loads the data set; see `Program.load`."""
        (splits,) = datasets
        if splits is self._splits:
            return
        if not self.takes_weights:
            check_unweighted(splits)
        self.unload()  # frees memory before the new data are loaded
        self._weight = splits.get(SAMPLE_WEIGHT)
        self._take(splits["train"], splits["validation"])
        self._splits = splits

    def unload(self) -> None:
        """Unloads the data; see `Program.unload`."""
        self._splits = {}
        self._release()

    def begin(self, values: Sequence[Values] | None, datasets: Sequence[int], updates: Sequence[int]) -> None:
        """Begins a training; see `Program.begin`."""
        for own in values or ():
            for variable in self._model_variables:
                if id(variable) in own:
                    assign(variable, own[id(variable)])
        self._start(updates[0])

    def restore(self, start: OptimizerStart) -> None:
        """Gives the optimiser the state that a training continues from; called after `begin`."""
        restore(self._of_training, start)

    def optimizer_values(self) -> list[np.ndarray]:
        """Copies of the optimiser's variables, in their order."""
        return [np.array(keras.ops.convert_to_numpy(variable)) for variable in self._of_training.variables]

    def reset(self) -> None:
        """Resets the optimiser; see `Program.reset`."""
        self._start(0)

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """Trains on the batches of `orders`; see `Program.advance`."""
        evaluations, first_bad = self._advance_one(orders[0], start, total)
        return [evaluations], [first_bad]

    @abstractmethod
    def finish(self, tickets: Sequence[int]) -> None:
        """Ends a training early; see `Program.finish`."""

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
        """A copy of the variable's value; see `Program.value`."""
        return np.array(keras.ops.convert_to_numpy(variable))

    def _measured(self, split: str, outputs: bool) -> Measured:
        x, y = self._splits[split]
        loss, metric, out = self._evaluate_one(x, y, outputs)
        return Measured(
            np.array([loss]), np.array([metric]), None if out is None else each(lambda part: part[None], out)
        )

    def _set_weights(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._model_weights, values, strict=True):
            assign(variable, value)

    @abstractmethod
    def _take(self, train: Arrays, validation: Arrays) -> None:
        """Copies the data to where training reads them."""

    @abstractmethod
    def _release(self) -> None:
        """Unloads the data."""

    @abstractmethod
    def _start(self, updates: int) -> None:
        """Resets the optimiser to its state after build with step count `updates`, and discards the best weights."""

    @abstractmethod
    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """As `advance`; `order` is `(steps, batch)`."""

    @abstractmethod
    def _evaluate_one(self, x: Any, y: Any, outputs: bool) -> tuple[float, float, Any]:
        """Mean loss (without regularisation terms), metric (see `make_metric`) and, if requested, outputs."""

    @abstractmethod
    def _best_weights(self) -> list[np.ndarray]:
        """The weights of least validation loss since `_start`, in the order of `weights`."""


class OnDevice:
    """Copies of arrays on the device: permanent ones of `loaded`, and one of the arrays requested last.

    Args:
        put: makes the copies of x and y on the device.
        loaded: pairs of x and y.
    """

    def __init__(self, put: Callable[[Arrays], tuple[Any, ...]], *loaded: Arrays) -> None:
        self._put, self._loaded = put, len(loaded)
        self._copies = [(arrays, put(arrays)) for arrays in loaded]

    def __call__(self, x: Any, y: Any) -> tuple[Any, ...]:
        """The copies of these arrays, found by identity, since comparing values takes as long as copying."""
        for (own_x, own_y), copies in self._copies:
            if own_x is x and own_y is y:
                return copies
        del self._copies[self._loaded :]  # frees memory before the next copy
        self._copies.append(((x, y), self._put((x, y))))
        return self._copies[-1][1]


def due_steps(start: int, stop: int, total: int, every: int) -> np.ndarray:
    """The steps in `start` + 1 to `stop` with an evaluation: multiples of `every`, and step `total`."""
    steps = np.arange(start // every + 1, stop // every + 1) * every
    return np.append(steps, total) if stop == total and total % every else steps


def padded_order(order: np.ndarray, capacity: int) -> np.ndarray:
    """A call's batches, padded to a fixed length, so that the program is compiled once."""
    padded = np.zeros((*order.shape[:-2], capacity, order.shape[-1]), np.int32)
    padded[..., : order.shape[-2], :] = order
    return padded


def check_unweighted(splits: Splits) -> None:
    """Raises ValueError for splits with weights of examples."""
    if SAMPLE_WEIGHT in splits:
        raise ValueError(
            "Expected training examples without sample_weight and class_weight, which only engine='compiled' uses. "
            f"Received: weights of {len(splits[SAMPLE_WEIGHT])} examples."
        )
