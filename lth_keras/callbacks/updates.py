"""When a callback acts: after certain updates of the optimiser."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from typing import Any

import keras

from lth_keras.masking import prunable_weights
from lth_keras.system import integer


def updates_of(model: keras.Model) -> int:
    """How many updates the model's optimiser has made, as it counts them.

    An update of several batches (`gradient_accumulation_steps`) counts once. A batch that loss scaling skips, since
    its gradients in float16 overflow, counts not at all. Keras saves the count with the model.

    Raises:
        ValueError: for a model without an optimiser.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError("Expected a model that is compiled with an optimiser, whose updates count. Received: none.")
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


class AtUpdates(keras.callbacks.Callback, ABC):
    """Acts after the updates `begin`, `begin + frequency`, ..., while Keras' `fit` runs.

    Args:
        begin: the first update to act after, counted from the optimiser's first; 0 acts before any.
        end: no action is after a later one; None for no end.
        frequency: updates between two actions.
        and_end: whether it acts after `end` too where that is between two of them.

    Raises:
        ValueError: for numbers out of range.
    """

    def __init__(self, begin: int, end: int | None, frequency: int, *, and_end: bool = False) -> None:
        super().__init__()
        self.begin, self.frequency = integer("begin", begin, 0), integer("frequency", frequency, 1)
        self.end = None if end is None else integer("end", end)
        if self.end is not None and self.end <= self.begin:
            raise ValueError(f"Expected end to be after begin, update {begin}. Received: {end}.")
        self._and_end = and_end
        self._done: int | None = None
        self._batches, self._per_call, self._wait, self._thread = 0, 1, 0.0, 0

    @abstractmethod
    def start(self, count: int) -> None:
        """Prepares the model, which has made `count` updates, before the first batch of a `fit`."""

    @abstractmethod
    def act(self, point: int) -> None:
        """Acts on the model after update `point`, or later where several updates are one execution."""

    def last_point(self, count: int) -> int | None:
        """The last of the updates to act after that is not after `count`; None before the first."""
        if count < self.begin:
            return None
        if self.end is not None and count >= self.end and self._and_end:
            return self.end
        latest = count if self.end is None else min(count, self.end)
        return latest - (latest - self.begin) % self.frequency

    def next_point(self, count: int) -> int | None:
        """The first of the updates to act after that is after `count`; None after the last."""
        if count < self.begin:
            return self.begin
        following = count + self.frequency - (count - self.begin) % self.frequency
        if self.end is None or following <= self.end:
            return following
        return self.end if self._and_end and count < self.end else None

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the model; see `start` for what else is done before the first batch."""
        prunable_weights(self.model)
        self._done, self._thread = None, threading.get_ident()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts at the first epoch, when callbacks such as `BackupAndRestore` have loaded a state."""
        self._look()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Acts if an update that is due may have been made."""
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "Expected to be called by the thread that trains. Received: a call by another one, as Keras calls a "
                "callback that is not in a list. Write fit(callbacks=[callback])."
            )
        # An upper bound of the updates since the last look, which waits for the device.
        self._batches += 1
        if self._done is None or self._batches * self._per_call >= self._wait:
            self._look()

    def _look(self) -> None:
        # On JAX reading self.model assigns the values of the running training to its variables, and `fit` takes those
        # of the variables for the next batch.
        model = self.model
        count = updates_of(model)
        if self._done is None:
            self.start(count)
        else:
            point = self.last_point(count)
            if point is not None and point > self._done:
                self.act(point)
        following = self.next_point(count)
        self._done, self._batches, self._per_call = count, 0, model.steps_per_execution
        self._wait = math.inf if following is None else following - count
