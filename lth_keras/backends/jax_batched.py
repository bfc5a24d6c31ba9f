"""The training program for several tickets of one model on JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_keras.backends.jax_pure import Pure, State, exactly
from lth_keras.backends.optimizers import values_after_build
from lth_keras.backends.program import (
    NEVER,
    Arrays,
    Evaluations,
    Measured,
    ProgramParts,
    Splits,
    Values,
    check_unweighted,
    due_steps,
    padded_order,
)
from lth_keras.system import uninterrupted


class BatchedJaxProgram:
    """Trains several tickets of one model at once by mapping `JaxProgram`'s computation over tickets.

    Each ticket has its own weights, masks, optimiser, data order, dropout and best weights; splits that tickets share
    are on the device once. The model's own variables do not change.

    Args:
        training: its parts.
        tickets: number of tickets.
    """

    keeps_best = True

    def __init__(self, training: ProgramParts, tickets: int) -> None:
        self.tickets = tickets
        self._pure = Pure(training)
        self.capacity, self.every, self.advice = self._pure.capacity, self._pure.every, self._pure.advice
        self._slots_start = values_after_build(self._pure.optimizer)
        data = (None, None, None, None, None, 0)
        self._advance = jax.jit(
            jax.vmap(exactly(self._pure.advance), in_axes=(0, data, 0, None, None, None)), donate_argnums=0
        )
        self._evaluate = jax.jit(jax.vmap(exactly(self._pure.evaluation), in_axes=(0, None, None, 0)))
        self._outputs = jax.jit(jax.vmap(exactly(self._pure.outputs)))
        self._datasets: list[Splits] = []
        self._splits: dict[str, _Shared] = {}
        self._state: State = {}

    @property
    def traces(self) -> int:
        """Number of compilations of the training function."""
        return self._pure.traces

    def load(self, datasets: Sequence[Splits]) -> None:
        """Puts data sets on the device; see `Program.load`.

        Raises:
            ValueError: if data sets differ in the shapes of a split.
        """
        if list(map(id, datasets)) == list(map(id, self._datasets)):
            return
        for splits in datasets:
            check_unweighted(splits)
        self.unload()  # frees memory before the new data are loaded
        self._splits = {name: _Shared([data[name] for data in datasets]) for name in ("train", "validation", "test")}
        self._datasets = list(datasets)

    def unload(self) -> None:
        """Unloads the data and the state; see `Program.unload`."""
        self._datasets, self._splits = [], {}
        self.reset()

    def reset(self) -> None:
        """Discards the training; see `Program.reset`."""
        self._state = {}

    def begin(self, values: Sequence[Values] | None, datasets: Sequence[int], updates: Sequence[int]) -> None:
        """Begins a training; see `Program.begin`."""
        assert values is not None
        self._offsets = {name: split.offsets[list(datasets)] for name, split in self._splits.items()}
        self._rows = {
            name: jnp.array(offsets[:, None] + np.arange(self._splits[name].examples, dtype=np.int32))
            for name, offsets in self._offsets.items()
        }
        pure, stacked = self._pure, self._stacked
        starts = zip(self._slots_start, pure.slots, strict=True)
        self._state = {
            "trainable": [stacked([part[id(v)] for part in values], v) for v in pure.trainable],
            "others": [stacked([part[id(v)] for part in values], v) for v in pure.others],
            "slots": [stacked(self._slot_starts(v, start, values, updates), v) for start, v in starts],
            "best_loss": jnp.full(self.tickets, jnp.inf, jnp.float32),
            "loss_sum": jnp.zeros(self.tickets, jnp.float32),
        }
        self._state["best"] = [jnp.array(self._state[group][i], copy=True) for group, i in self._pure.kept]

    def _slot_starts(
        self, variable: Any, start: np.ndarray, values: Sequence[Values], updates: Sequence[int]
    ) -> Sequence[Any]:
        """Each ticket's initial value of an optimiser's variable, whose value after build is `start`."""
        if id(variable) in self._pure.counts:
            return updates
        weight = self._pure.begin_as_weights.get(id(variable))
        return [start] * self.tickets if weight is None else [part[id(weight)] for part in values]

    def finish(self, tickets: Sequence[int]) -> None:
        """Ends the training of some tickets before its last step; see `Program.finish`."""
        if not self._pure.averages:
            return
        ended = np.isin(np.arange(self.tickets), tickets)
        finalized = jax.vmap(self._pure.finalized)({**self._state})
        for i, value in enumerate(self._state["trainable"]):
            chosen = ended.reshape(-1, *[1] * (value.ndim - 1))
            self._state["trainable"][i] = jnp.where(chosen, finalized["trainable"][i], value)

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """Trains on the batches of `orders`; see `Program.advance`."""
        stop = start + orders.shape[1]
        order = padded_order(orders + self._offsets["train"][:, None, None], self.capacity)
        bounds = map(jnp.int32, (start, stop, total))
        data = (*self._splits["train"].arrays, None, *self._splits["validation"].arrays, self._rows["validation"])
        with uninterrupted():
            self._state, bad, curves = self._advance(self._state, data, order, *bounds)
        step = due_steps(start, stop, total, self._pure.every)
        evaluations = [Evaluations(step, *part[:, : len(step)]) for part in np.array(curves)]
        return evaluations, [None if first == NEVER else int(first) for first in np.array(bad)]

    def evaluate(self, split: str = "test", *, best: bool = False, outputs: bool = False) -> Measured:
        """Measures a split; see `Program.evaluate`."""
        state = self._weights(best)
        with uninterrupted():
            losses, metrics = self._evaluate(state, *self._splits[split].arrays, self._rows[split])
        return Measured(np.array(losses), np.array(metrics), self._outputs_of(state, split) if outputs else None)

    def _outputs_of(self, state: State, split: str) -> np.ndarray:
        x, rows, size = self._splits[split].arrays[0], self._rows[split], self._pure.evaluation_batch_size
        parts = []
        for start in range(0, rows.shape[1], size):
            with uninterrupted():
                parts.append(np.array(self._outputs(state, jnp.take(x, rows[:, start : start + size], axis=0))))
        return np.concatenate(parts, axis=1)

    def value(self, ticket: int, variable: Any) -> np.ndarray:
        """A ticket's value of a Keras variable; see `Program.value`."""
        group, i = self._pure.places.get(id(variable), ("slots", 0))
        if group == "slots":
            raise KeyError(variable.path)
        return np.array(self._state[group][i][ticket])

    def _weights(self, best: bool) -> State:
        """The values that outputs depend on: the current ones or those of least validation loss."""
        state = {name: list(self._state[name]) for name in ("trainable", "others")}
        if best:
            for (group, i), value in zip(self._pure.kept, self._state["best"], strict=True):
                state[group][i] = value
        return state

    def _stacked(self, values: Sequence[Any], variable: Any) -> Any:
        return jnp.array(np.stack(values).astype(variable.dtype), copy=True)


class _Shared:
    """A split of several data sets on the device, concatenated; equal arrays are stored once.

    Attributes:
        arrays: the concatenated x and y.
        examples: number of examples of each data set.
        offsets: int32 `(datasets,)`: index of the first example of each data set.
    """

    def __init__(self, parts: Sequence[Arrays]) -> None:
        shapes = {(part[0].shape, part[1].shape) for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                "Expected splits of equal shapes in all trials of one batch. "
                f"Received: {sorted(shapes)}. Use engine='compiled', which trains one ticket at a time."
            )
        different: list[Arrays] = []
        places = []
        for part in parts:
            same = (i for i, other in enumerate(different) if _equal(part, other))
            place = next(same, len(different))
            if place == len(different):
                different.append(part)
            places.append(place)
        self.examples = len(parts[0][0])
        self.arrays = tuple(jnp.array(np.concatenate(columns)) for columns in zip(*different, strict=True))
        self.offsets = np.array(places, np.int32) * self.examples


def _equal(one: Arrays, other: Arrays) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))
