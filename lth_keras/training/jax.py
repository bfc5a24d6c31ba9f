"""The compiled training programs on JAX: of one model, and of several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from lth_keras.training.interrupts import uninterrupted
from lth_keras.training.metrics import make_metric
from lth_keras.training.program import (
    NEVER,
    ORDER_BYTES,
    Arrays,
    Evaluations,
    OnDevice,
    due_steps,
    loss_function,
    padded_order,
    update_count,
)

State = dict[str, Any]
"""What a call reads and gives back: the variables' values, the best weights, and what they are measured by."""


def set_threads(threads: int) -> None:
    """Sets the threads of JAX on CPUs; only before JAX has run anything in this process.

    Raises:
        RuntimeError: where JAX is already initialised with another number.
    """
    wanted = str(threads)
    if os.environ.get("NPROC") == wanted:
        return
    if _is_initialized():
        raise RuntimeError(
            f"Expected JAX not to have run anything yet, so that its threads can be set to {threads}. "
            f"Received: a JAX that was initialised with {os.environ.get('NPROC', 'its own number')}."
        )
    os.environ["NPROC"] = wanted


def _is_initialized() -> bool:
    """Whether JAX has made its devices. It does not say so publicly; where it has moved, it is taken not to have."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    return bool(getattr(bridge, "backends_are_initialized", bool)())


def assign(variable: Any, value: Any) -> None:
    """Assigns by value: on CPUs JAX may go on looking at a numpy array that it was given."""
    variable.assign(jnp.array(value, copy=True))


def exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with products in float32, where a GPU would round their factors to 10 bits (TF32) otherwise."""

    @wraps(function)
    def call(*args: Any) -> Any:
        with jax.default_matmul_precision("float32"):
            return function(*args)

    return call


class _Pure:
    """Training and evaluation of one model as pure functions of a state."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Any,
        weights: Sequence[Any],
        *,
        batch_size: int,
        evaluate_every: int,
        evaluation_batch_size: int,
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss_function(loss)
        self.metric = make_metric(loss, model.output_shape)
        self.every, self.evaluation_batch_size = evaluate_every, evaluation_batch_size
        self.trainable, self.others = list(model.trainable_variables), list(model.non_trainable_variables)
        optimizer.build(self.trainable)
        self.slots, self.count = list(optimizer.variables), update_count(optimizer)
        places = {id(variable): ("trainable", i) for i, variable in enumerate(self.trainable)}
        places |= {id(variable): ("others", i) for i, variable in enumerate(self.others)}
        self.kept = [places[id(variable)] for variable in weights]
        self.capacity = max(1, min(4096, ORDER_BYTES // (4 * batch_size)))
        self.traces = 0

    def advance(
        self, state: State, data: Sequence[Any], order: Any, start: Any, stop: Any, total: Any
    ) -> tuple[State, Any, Any]:
        """Steps `start` + 1 to `stop`, in segments that end where an evaluation falls due.

        Returns:
            The state after; the first step whose loss was not finite, or `NEVER`; and the curves, `(3, evaluations)`.
        """
        self.traces += 1
        x_train, y_train, *validation = data

        def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            i, state, bad = carry
            batch = order[i - start]
            x, y = jnp.take(x_train, batch, axis=0), jnp.take(y_train, batch, axis=0)
            state, loss = self._train_step(state, x, y)
            bad = jnp.where(jnp.isfinite(loss), bad, jnp.minimum(bad, i + 1))
            return i + 1, {**state, "loss_sum": state["loss_sum"] + loss}, bad

        def evaluate(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            i, slot, state, curves = carry
            loss, metric = self.evaluation(state, *validation)
            since = i - (i - 1) // self.every * self.every
            row = jnp.stack([state["loss_sum"] / since.astype(jnp.float32), loss, metric])
            best = lax.cond(loss < state["best_loss"], self._kept_of, lambda state: state["best"], state)
            best_loss = jnp.minimum(state["best_loss"], loss)
            state = {**state, "best": best, "best_loss": best_loss, "loss_sum": jnp.zeros_like(loss)}
            return i, slot + 1, state, lax.dynamic_update_slice(curves, row[:, None], (0, slot))

        def segment(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            i, slot, state, bad, curves = carry
            end = jnp.minimum(stop, (i // self.every + 1) * self.every)
            i, state, bad = lax.while_loop(lambda carry: carry[0] < end, step, (i, state, bad))
            due = (i % self.every == 0) | (i == total)
            i, slot, state, curves = lax.cond(due, evaluate, lambda carry: carry, (i, slot, state, curves))
            return i, slot, state, bad, curves

        curves = jnp.zeros((3, self.capacity // self.every + 2))
        carry = (start, jnp.int32(0), state, jnp.int32(NEVER), curves)
        _, _, state, bad, curves = lax.while_loop(lambda carry: carry[0] < stop, segment, carry)
        return state, bad, curves

    def evaluation(self, state: State, x: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """Mean loss and metric over the examples `rows` of a split, in batches of a fixed size and what remains."""
        examples, size = len(rows), self.evaluation_batch_size
        if not examples:
            return jnp.float32(jnp.nan), jnp.float32(jnp.nan)

        def sums(rows: Any) -> tuple[Any, Any]:
            part = jnp.take(y, rows, axis=0)
            outputs = self.outputs(state, jnp.take(x, rows, axis=0))
            counted = jnp.sum(self.metric.of_examples(part, outputs), axis=0)
            return self.loss(part, outputs).astype(jnp.float32) * len(rows), counted

        def add(i: Any, so_far: tuple[Any, Any]) -> tuple[Any, Any]:
            loss, counted = sums(lax.dynamic_slice_in_dim(rows, i * size, size))
            return so_far[0] + loss, so_far[1] + counted

        full = examples // size
        loss, counted = jnp.float32(0), jnp.zeros(self.metric.parts, jnp.float32)
        if full:
            loss, counted = lax.fori_loop(0, full, add, (loss, counted))
        if examples % size:
            rest_loss, rest = sums(rows[full * size :])
            loss, counted = loss + rest_loss, counted + rest
        return loss / examples, self.metric.value(counted, examples)

    def outputs(self, state: State, x: Any) -> Any:
        """The model's outputs for `x`."""
        outputs, _ = self.model.stateless_call(state["trainable"], state["others"], x, training=False)
        return outputs

    def _kept_of(self, state: State) -> list[Any]:
        return [state[group][i] for group, i in self.kept]

    def _train_step(self, state: State, x: Any, y: Any) -> tuple[State, Any]:
        def objective(trainable: list[Any]) -> tuple[Any, tuple[Any, Any]]:
            outputs, others, losses = self.model.stateless_call(
                trainable, state["others"], x, training=True, return_losses=True
            )
            loss = self.loss(y, outputs)
            terms = sum(term.astype(jnp.float32) for term in (loss, *losses))  # mixed precision mixes types
            with keras.StatelessScope(state_mapping=list(zip(self.slots, state["slots"], strict=True))):
                return self.optimizer.scale_loss(terms), (loss.astype(jnp.float32), others)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (_, (loss, others)), gradients = gradient(state["trainable"])
        trainable, slots = self.optimizer.stateless_apply(state["slots"], gradients, state["trainable"])
        return {**state, "trainable": trainable, "others": others, "slots": slots}, loss


class JaxProgram:
    """Many training steps, with evaluation and the best weights kept, in one call of one compiled function.

    It is traced and compiled once. The values of the model's and the optimiser's variables are handed over to it and
    taken back at every call (their buffers are reused), and are the variables' own between calls.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimiser of its own; built here.
        loss: as Keras' `compile` takes it.
        weights: the Keras variables to keep the best values of.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
        jit_compile: must be true: JAX compiles everything with XLA.

    Raises:
        ValueError: where `jit_compile` is false.
    """

    keeps_best = True

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Any,
        weights: Sequence[Any],
        *,
        batch_size: int,
        evaluate_every: int,
        evaluation_batch_size: int,
        jit_compile: bool = True,
    ) -> None:
        if not jit_compile:
            raise ValueError("Expected jit_compile=True or None with JAX, which compiles with XLA. Received: False.")
        self._pure = _Pure(
            model,
            optimizer,
            loss,
            weights,
            batch_size=batch_size,
            evaluate_every=evaluate_every,
            evaluation_batch_size=evaluation_batch_size,
        )
        self.capacity, self.every = self._pure.capacity, evaluate_every
        self._weights = list(weights)
        self._slots_start = [np.array(variable) for variable in self._pure.slots]
        self._advance = jax.jit(exactly(self._pure.advance), donate_argnums=0)
        self._evaluate = jax.jit(exactly(self._pure.evaluation))
        self._outputs = jax.jit(exactly(self._pure.outputs))
        self._data: tuple[Any, ...] = ()
        self._on_device = OnDevice(_on_device)

    @property
    def traces(self) -> int:
        """How often the training was traced, and so compiled."""
        return self._pure.traces

    def load(self, train: Arrays, validation: Arrays) -> None:
        """Puts the data on the device; see `Program.load`."""
        self._data, self._on_device = (), OnDevice(_on_device)  # what was there makes room first
        self._on_device = OnDevice(_on_device, train, validation)
        rows = jnp.arange(len(validation[0]), dtype=jnp.int32)
        self._data = (*self._on_device(*train), *self._on_device(*validation), rows)

    def reset(self, updates: int = 0) -> None:
        """Puts the optimiser back to its start; see `Program.reset`."""
        for variable, value in zip(self._pure.slots, self._slots_start, strict=True):
            assign(variable, value)
        assign(self._pure.count, updates)
        for variable in (*self._pure.trainable, *self._pure.others):  # models made of this one may share its buffers
            assign(variable, variable.value)
        self._best = [jnp.array(variable.value, copy=True) for variable in self._weights]
        self._best_loss, self._loss_sum = jnp.float32(np.inf), jnp.float32(0)

    def advance(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        """Trains on the batches of `order`; see `Program.advance`."""
        stop = start + len(order)
        bounds = map(jnp.int32, (start, stop, total))
        state = {**self._state(), "best": self._best, "best_loss": self._best_loss, "loss_sum": self._loss_sum}
        with uninterrupted():  # what was handed over must not be in the variables when Ctrl-C is heard
            state, bad, curves = self._advance(state, self._data, padded_order(order, self.capacity), *bounds)
            for group, variables in self._groups().items():
                for variable, value in zip(variables, state[group], strict=True):
                    variable.assign(value)
            self._best, self._best_loss, self._loss_sum = (state[name] for name in ("best", "best_loss", "loss_sum"))
        step = due_steps(start, stop, total, self._pure.every)
        return Evaluations(step, *np.array(curves)[:, : len(step)]), None if bad == NEVER else int(bad)

    def finish(self) -> None:
        """Nothing is owed; see `Program.finish`."""

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean loss and metric; see `Program.evaluate`."""
        rows = np.arange(len(x), dtype=np.int32)
        with uninterrupted():
            loss, metric = self._evaluate(self._state(), *self._on_device(x, y), rows)
        return float(loss), float(metric)

    def test(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Mean loss, metric and outputs; see `Program.test`."""
        size, state, outputs = self._pure.evaluation_batch_size, self._state(), []
        examples, _ = self._on_device(x, y)
        for start in range(0, len(x), size):
            with uninterrupted():
                outputs.append(np.array(self._outputs(state, examples[start : start + size])))
        return *self.evaluate(x, y), np.concatenate(outputs)

    def best_weights(self) -> list[np.ndarray]:
        """The weights of least validation loss; see `Program.best_weights`."""
        return [np.array(value) for value in self._best]

    def _groups(self) -> dict[str, list[Any]]:
        return {"trainable": self._pure.trainable, "others": self._pure.others, "slots": self._pure.slots}

    def _state(self) -> State:
        return {name: [variable.value for variable in group] for name, group in self._groups().items()}


class JaxPrograms:
    """Several trainings of one model in one compiled program: as many `JaxProgram`s side by side.

    Each member has its own weights, masks, optimiser, data order, dropout and best weights; splits that several
    members share are on the device once.

    Args:
        members: how many.
        model: as of `JaxProgram`, like what follows; its own variables are not touched.
        optimizer: a Keras optimiser of its own; built here.
        loss: as Keras' `compile` takes it.
        weights: the Keras variables to keep the best values of.
        batch_size: examples per step and member.
        evaluate_every: steps between evaluations on the validation split.
        evaluation_batch_size: examples per forward pass of an evaluation.
    """

    def __init__(
        self,
        members: int,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Any,
        weights: Sequence[Any],
        *,
        batch_size: int,
        evaluate_every: int,
        evaluation_batch_size: int,
    ) -> None:
        self.members = members
        self._pure = _Pure(
            model,
            optimizer,
            loss,
            weights,
            batch_size=batch_size,
            evaluate_every=evaluate_every,
            evaluation_batch_size=evaluation_batch_size,
        )
        self.capacity, self.every = self._pure.capacity, evaluate_every
        self._slots_start = [np.array(variable) for variable in self._pure.slots]
        data = (None, None, None, None, 0)
        self._advance = jax.jit(
            jax.vmap(exactly(self._pure.advance), in_axes=(0, data, 0, None, None, None)), donate_argnums=0
        )
        self._evaluate = jax.jit(jax.vmap(exactly(self._pure.evaluation), in_axes=(0, None, None, 0)))
        self._outputs = jax.jit(jax.vmap(exactly(self._pure.outputs)))
        self._state: State = {}

    @property
    def traces(self) -> int:
        """How often the training was traced, and so compiled."""
        return self._pure.traces

    def load(self, datasets: Sequence[Mapping[str, Arrays]]) -> None:
        """Puts the data of members on the device: data sets with the splits `train`, `validation` and `test`.

        Raises:
            ValueError: where data sets differ in the shapes of a split.
        """
        self._splits, self._state = {}, {}  # what was there makes room first
        self._splits = {name: _Shared([data[name] for data in datasets]) for name in ("train", "validation", "test")}

    def begin(
        self, values: Sequence[Mapping[int, np.ndarray]], datasets: Sequence[int], updates: Sequence[int]
    ) -> None:
        """Gives each member its variables' values, with the optimiser as after build and no best weights.

        Args:
            values: for each member, the `id` of a Keras variable of the model to its value; of all variables.
            datasets: for each member, which of the data sets it has.
            updates: for each member, what its optimiser's count of updates begins at.
        """
        self._offsets = {name: split.offsets[list(datasets)] for name, split in self._splits.items()}
        self._rows = {
            name: jnp.array(offsets[:, None] + np.arange(self._splits[name].examples, dtype=np.int32))
            for name, offsets in self._offsets.items()
        }
        self._state = {
            "trainable": [self._stacked([part[id(v)] for part in values], v) for v in self._pure.trainable],
            "others": [self._stacked([part[id(v)] for part in values], v) for v in self._pure.others],
            "slots": [
                self._stacked(updates if v is self._pure.count else [start] * self.members, v)
                for start, v in zip(self._slots_start, self._pure.slots, strict=True)
            ],
            "best_loss": jnp.full(self.members, jnp.inf, jnp.float32),
            "loss_sum": jnp.zeros(self.members, jnp.float32),
        }
        self._state["best"] = [jnp.array(self._state[group][i], copy=True) for group, i in self._pure.kept]

    def advance(self, orders: np.ndarray, start: int, total: int) -> tuple[list[Evaluations], list[int | None]]:
        """As `Program.advance` for every member; `orders` is `(members, steps, batch)`."""
        stop = start + orders.shape[1]
        order = padded_order(orders + self._offsets["train"][:, None, None], self.capacity)
        bounds = map(jnp.int32, (start, stop, total))
        data = (*self._splits["train"].arrays, *self._splits["validation"].arrays, self._rows["validation"])
        with uninterrupted():
            self._state, bad, curves = self._advance(self._state, data, order, *bounds)
        step = due_steps(start, stop, total, self._pure.every)
        evaluations = [Evaluations(step, *part[:, : len(step)]) for part in np.array(curves)]
        return evaluations, [None if first == NEVER else int(first) for first in np.array(bad)]

    def evaluate(self, split: str = "test", *, best: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mean losses and metrics, `(members,)`, of the weights as they are, or those of least validation loss."""
        with uninterrupted():
            losses, metrics = self._evaluate(self._weights(best), *self._splits[split].arrays, self._rows[split])
        return np.array(losses), np.array(metrics)

    def outputs(self, split: str = "test") -> np.ndarray:
        """Every member's outputs, `(members, n, ...)`."""
        x, rows, size = self._splits[split].arrays[0], self._rows[split], self._pure.evaluation_batch_size
        state, outputs = self._weights(best=False), []
        for start in range(0, rows.shape[1], size):
            with uninterrupted():
                outputs.append(np.array(self._outputs(state, jnp.take(x, rows[:, start : start + size], axis=0))))
        return np.concatenate(outputs, axis=1)

    def value(self, member: int, variable: Any) -> np.ndarray:
        """A member's value of a Keras variable of the model, a copy."""
        for name, group in (("trainable", self._pure.trainable), ("others", self._pure.others)):
            for i, own in enumerate(group):
                if own is variable:
                    return np.array(self._state[name][i][member])
        raise KeyError(variable.path)

    def _weights(self, best: bool) -> State:
        """The values that outputs depend on: as they are, or those of least validation loss."""
        state = {name: list(self._state[name]) for name in ("trainable", "others")}
        if best:
            for (group, i), value in zip(self._pure.kept, self._state["best"], strict=True):
                state[group][i] = value
        return state

    def _stacked(self, values: Sequence[Any], variable: Any) -> Any:
        return jnp.array(np.stack(values).astype(variable.dtype), copy=True)


class _Shared:
    """A split of several data sets on the device: arrays that are equal once, one after the other.

    Attributes:
        arrays: x and y of all different ones, one after the other.
        examples: how many each has.
        offsets: int32 `(datasets,)`: where the examples of each begin.
    """

    def __init__(self, parts: Sequence[Arrays]) -> None:
        shapes = {(part[0].shape, part[1].shape) for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                "Expected splits of equal shapes in all trials that are trained together. "
                f"Received: {sorted(shapes)}. Train them one by one, with vectorize=1."
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


def _on_device(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(jnp.array(array, copy=True) for array in arrays)


def _equal(one: Arrays, other: Arrays) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def programs(*args: Any, **kwargs: Any) -> JaxPrograms:
    """Several trainings as one; arguments as `JaxPrograms`."""
    return JaxPrograms(*args, **kwargs)


def device() -> tuple[str, int | None]:
    """The kind of device that trains, such as `cpu` or `gpu`, and its free memory in bytes, where known."""
    first = jax.devices()[0]
    statistics = first.memory_stats() or {}
    free = statistics.get("bytes_limit", 0) - statistics.get("bytes_in_use", 0)
    return first.platform, free or None


PROGRAM = JaxProgram
COMPILES_ALWAYS = True


def rowwise_program() -> type[Any]:
    """The class of programs for models with large embedding tables."""
    from lth_keras.training.jax_rowwise import RowwiseJaxProgram

    return RowwiseJaxProgram


def derivatives() -> Any:
    """The module that differentiates functions."""
    from lth_keras.training import jax_derivatives

    return jax_derivatives
