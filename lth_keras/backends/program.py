"""What a backend must provide, and the parts of it that need no backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from lth_keras.backends.losses import OWN, told_by, with_axis_of

Arrays = tuple[np.ndarray, np.ndarray]
"""x and y."""
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


class Pruned(NamedTuple):
    """Weights that a program keeps at zero where they are pruned, so that training need not multiply them by masks.

    Attributes:
        weights: Keras variables, each with the boolean one of its shape that is its mask.
        known: () -> a context in which the model's forward passes take it that they are zero.
    """

    weights: Sequence[tuple[Any, Any]] = ()
    known: Callable[[], AbstractContextManager[None]] = nullcontext


NOTHING_PRUNED = Pruned()


class Program(Protocol):
    """A compiled training program: data, weights, masks and optimiser state are its inputs, so it is built once."""

    capacity: int
    """The most steps one call can take."""
    every: int
    """Steps between evaluations on the validation split."""
    keeps_best: bool
    """Whether `best_weights` keeps a copy of them."""
    advice: str
    """What to do where a loss becomes NaN or infinite."""

    def load(self, train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]) -> None:
        """Puts the data on the device, in place of others."""

    def unload(self) -> None:
        """Lets go of the data."""

    def reset(self, updates: int = 0) -> None:
        """Puts the optimiser back to its state after build and forgets the best weights.

        Its count of updates begins at `updates`.
        """

    def advance(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """Trains on the batches of `order`, `(steps, batch)`, after `start` of `total` steps.

        Returns the evaluations that fell due (every `evaluate_every` steps and after the last), and the first step
        whose training loss was not finite, or None.
        """

    def finish(self) -> None:
        """Ends a training before its `total` steps.

        Weights become their averages where the optimiser keeps some, and rows of large tables get the updates that
        they are still owed.
        """

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean loss (without regularisation terms) and metric (see `make_metric`) of the weights as they are."""

    def test(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
        """As `evaluate`, and the outputs, `(n, ...)`."""

    def best_weights(self) -> list[np.ndarray]:
        """The weights of least validation loss since the reset, in the order of the `weights` given at construction."""


class Programs(Protocol):
    """Several trainings of one model in one compiled program: what each would give alone, within float32 rounding."""

    capacity: int
    """The most steps one call can take."""
    every: int
    """Steps between evaluations on the validation split."""
    members: int
    """How many trainings."""
    advice: str
    """As of `Program`."""

    def load(self, datasets: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
        """Puts the data of members on the device: data sets with the splits `train`, `validation` and `test`."""

    def begin(
        self, values: Sequence[Mapping[int, np.ndarray]], datasets: Sequence[int], updates: Sequence[int]
    ) -> None:
        """Gives each member values for the model's variables, by their `id`, and one of the data sets.

        The optimiser is as after build but for its count of updates, and there are no best weights.
        """

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """As `Program.advance` for every member; `orders` is `(members, steps, batch)`."""

    def finish(self, members: Sequence[int]) -> None:
        """Ends the training of some members before its last step, as `Program.finish`; what they go on to is void."""

    def evaluate(self, split: str = "test", *, best: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mean losses and metrics, `(members,)`, of the weights as they are, or those of least validation loss."""

    def outputs(self, split: str = "test") -> np.ndarray:
        """Every member's outputs, `(members, n, ...)`."""

    def value(self, member: int, variable: Any) -> np.ndarray:
        """A member's value of a Keras variable of the model, a copy."""


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
