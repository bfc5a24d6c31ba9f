"""Training and evaluation on JAX as pure functions of a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax import lax

from lth_keras.backends.losses import loss_function
from lth_keras.backends.optimizers import advice, averages, begin_as_weights, update_counts
from lth_keras.backends.program import NEVER, ProgramParts
from lth_keras.backends.several import as_called, each, in_order

State = dict[str, Any]
"""The input and output of a call: values of variables, the best weights and their validation loss."""
Groups = dict[str, list[Any]]
"""Keras variables by their name in a state."""


def assign(variable: Any, value: Any) -> None:
    """Assigns a copy, since on CPUs JAX may share memory with a numpy array."""
    variable.assign(jnp.array(value, copy=True))


def values_of(groups: Groups) -> State:
    """The current values of variables."""
    return {name: [variable.value for variable in variables] for name, variables in groups.items()}


def put_back(groups: Groups, state: State) -> None:
    """Assigns values to variables, whose old buffers were donated."""
    for name, variables in groups.items():
        for variable, value in zip(variables, state[name], strict=True):
            variable.assign(value)


def masked(value: Any, mask: Any) -> Any:
    """The value with zeros where the mask is False."""
    return value * mask.astype(value.dtype)


def exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with products in float32; by default GPUs round their factors to 10 bits (TF32)."""

    @wraps(function)
    def call(*args: Any) -> Any:
        with jax.default_matmul_precision("float32"):
            return function(*args)

    return call


class Pure:
    """Training and evaluation of one model as pure functions of a state."""

    def __init__(self, training: ProgramParts) -> None:
        self.model, self.optimizer = training.model, training.optimizer
        self.loss, self.metric, self.pruned = loss_function(training.loss), training.metric, training.pruned
        self.every, self.evaluation_batch_size = training.evaluate_every, training.evaluation_batch_size
        self.trainable = list(self.model.trainable_variables)
        self.others = list(self.model.non_trainable_variables)
        check_compiles(self.model, training.batch_size)
        optimizer = self.optimizer
        optimizer.build(self.trainable)
        self.advice = advice(optimizer)
        self.slots, self.counts = list(optimizer.variables), {id(count) for count in update_counts(optimizer)}
        self.begin_as_weights = {id(state): weight for weight, state in begin_as_weights(optimizer)}
        self.groups = {"trainable": self.trainable, "others": self.others, "slots": self.slots}
        self.places = {id(v): (name, i) for name, variables in self.groups.items() for i, v in enumerate(variables)}
        places = self.places
        self.averages = [(places[id(weight)][1], places[id(average)][1]) for weight, average in averages(optimizer)]
        self.kept = [places[id(variable)] for variable in training.weights]
        self._masks = [(*places[id(variable)], places[id(mask)][1]) for variable, mask in self.pruned.weights]
        self.capacity = training.capacity
        self.traces = 0

    def advance(
        self, state: State, data: Sequence[Any], order: Any, start: Any, stop: Any, total: Any
    ) -> tuple[State, Any, Any]:
        """Makes steps `start` + 1 to `stop`, in segments that end with an evaluation.

        Returns:
            The new state; the first step whose loss was not finite, or `NEVER`; and the curves, `(3, evaluations)`.
        """
        self.traces += 1
        x_train, y_train, weight, *validation = data
        state = self._with_zeros(state)

        def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            i, state, bad = carry
            batch = order[i - start]
            x, y = _taken(x_train, batch), _taken(y_train, batch)
            own = None if weight is None else jnp.take(weight, batch, axis=0)
            state, loss = self._train_step(state, x, y, own)
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
            if self.averages:
                state = lax.cond(i == total, self.finalized, lambda state: state, state)
            due = (i % self.every == 0) | (i == total)
            i, slot, state, curves = lax.cond(due, evaluate, lambda carry: carry, (i, slot, state, curves))
            return i, slot, state, bad, curves

        curves = jnp.zeros((3, self.capacity // self.every + 2))
        carry = (start, jnp.int32(0), state, jnp.int32(NEVER), curves)
        _, _, state, bad, curves = lax.while_loop(lambda carry: carry[0] < stop, segment, carry)
        return state, bad, curves

    def evaluation(self, state: State, x: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """Mean loss and metric over the examples `rows` of a split, in batches of a fixed size and a remainder."""
        examples, size = len(rows), self.evaluation_batch_size
        if not examples:
            return jnp.float32(jnp.nan), jnp.float32(jnp.nan)

        def add_part(rows: Any, loss: Any, measured: Any) -> tuple[Any, Any]:
            part = _taken(y, rows)
            outputs = self.outputs(state, _taken(x, rows))
            measured = self.metric.update(measured, part, outputs)
            return loss + self.loss(part, outputs).astype(jnp.float32) * len(rows), measured

        def add(i: Any, so_far: tuple[Any, Any]) -> tuple[Any, Any]:
            return add_part(lax.dynamic_slice_in_dim(rows, i * size, size), *so_far)

        full = examples // size
        loss, measured = jnp.float32(0), self.metric.start()
        if full:
            loss, measured = lax.fori_loop(0, full, add, (loss, measured))
        if examples % size:
            loss, measured = add_part(rows[full * size :], loss, measured)
        return loss / examples, self.metric.value(measured, examples)

    def outputs(self, state: State, x: Any) -> Any:
        """The model's outputs for `x`."""
        x = as_called(self.model, x)
        outputs, _ = self.model.stateless_call(state["trainable"], state["others"], x, training=False)
        return in_order(outputs)

    def finalized(self, state: State) -> State:
        """The state with weights replaced by their averages, as at the end of Keras' `fit`."""
        trainable = list(state["trainable"])
        for i, slot in self.averages:
            trainable[i] = state["slots"][slot].astype(trainable[i].dtype)
        return self._with_zeros({**state, "trainable": trainable}, "trainable")

    def _with_zeros(self, state: State, *only: str) -> State:
        """The state with pruned weights set to zero, in all groups or `only` these."""
        groups = {name: list(state[name]) for name in ("trainable", "others")}
        for group, i, mask in self._masks:
            if group in (only or groups):
                groups[group][i] = masked(groups[group][i], state["others"][mask])
        return {**state, **groups}

    def _kept_of(self, state: State) -> list[Any]:
        return [state[group][i] for group, i in self.kept]

    def _train_step(self, state: State, x: Any, y: Any, weight: Any) -> tuple[State, Any]:
        def objective(trainable: list[Any]) -> tuple[Any, tuple[Any, Any]]:
            with self.pruned.known():
                outputs, others, losses = self.model.stateless_call(
                    trainable, state["others"], as_called(self.model, x), training=True, return_losses=True
                )
            loss = self.loss(y, in_order(outputs), weight)
            terms = sum(term.astype(jnp.float32) for term in (loss, *losses))  # types differ in mixed precision
            with keras.StatelessScope(state_mapping=list(zip(self.slots, state["slots"], strict=True))):
                return self.optimizer.scale_loss(terms), (loss.astype(jnp.float32), others)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (_, (loss, others)), gradients = gradient(state["trainable"])
        trainable, slots = self.optimizer.stateless_apply(state["slots"], gradients, state["trainable"])
        state = {**state, "trainable": trainable, "others": others, "slots": slots}
        return self._with_zeros(state, "trainable"), loss


def _taken(arrays: Any, chosen: Any) -> Any:
    return each(lambda array: jnp.take(array, chosen, axis=0), arrays)


def check_compiles(model: keras.Model, batch_size: int) -> None:
    """Raises ValueError if the model has layers without `supports_jit` and compiling it fails."""
    layers = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    doubtful = [f"{layer.name} ({type(layer).__name__})" for layer in layers if not layer.supports_jit]
    if not doubtful:
        return
    tensors = in_order(model.inputs)
    x = each(lambda one: jax.ShapeDtypeStruct((batch_size, *one.shape[1:]), jnp.dtype(one.dtype)), tensors)
    variables = model.trainable_variables, model.non_trainable_variables
    values = [[variable.value for variable in part] for part in variables]
    for training in (True, False):
        try:
            jax.eval_shape(partial(model.stateless_call, training=training), *values, as_called(model, x))
        except Exception as error:  # layers can raise any exception
            raise ValueError(
                f"Expected layers that JAX can compile. Received: {', '.join(doubtful)}; compiling raises "
                f"{type(error).__name__}. Apply such layers to the data beforehand, or set KERAS_BACKEND=tensorflow."
            ) from error
