"""Training with large embedding tables on JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lth_keras.backends.jax_pure import Groups, State, assign, check_compiles, exactly, put_back, values_of
from lth_keras.backends.optimizers import restart
from lth_keras.backends.rowwise import Batch, RowwiseProgram
from lth_keras.system import uninterrupted


class RowwiseJaxProgram(RowwiseProgram):
    """Training by rows with compiled steps that update the donated buffers of tables and slots."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_compiles(self._model, self._evaluation_batch_size)
        masks = {id(table.mask) for table in self._tables}
        self._others = [v for v in self._model.non_trainable_variables if id(v) not in masks]
        self._slots = [self._zeros(table) for table in self._tables]
        self._groups: Groups = {
            "tables": [table.variable for table in self._tables],
            "trainable": self._trainable,
            "others": self._others,
            "slots": self._optimizer.variables,
        }
        self._compiled_step = jax.jit(exactly(self._train_in_place), donate_argnums=0)
        self._compiled_forward = jax.jit(exactly(self._forward_rows))
        self._compiled_flush = jax.jit(self._catch_up_in_place, donate_argnums=0)

    def _zeros(self, table: Any) -> list[Any]:
        return [jnp.zeros(table.variable.shape) for _ in range(self._before.slots)]

    def _reset_optimizer(self) -> None:
        restart(self._optimizer, self._optimizer_start)
        for variable in (*self._trainable, *self._others, *(table.variable for table in self._tables)):
            assign(variable, variable.value)  # a copy, since other models may share the buffer
        for i, table in enumerate(self._tables):
            self._slots[i] = []  # frees memory before new slots are made
            self._slots[i] = self._zeros(table)

    def _step(self, batch: Batch, scalars: np.ndarray) -> Any:
        with uninterrupted():
            loss, state = self._compiled_step(self._state(), self._masks(), batch, scalars)
            self._put_back(state)
        return loss

    def _forward(self, batch: Batch) -> Any:
        with uninterrupted():
            return self._compiled_forward(self._state(), self._masks(), batch)

    def _flush(self, rows: np.ndarray, count: np.int32, coefficients: np.ndarray) -> None:
        tables = {name: self._state()[name] for name in ("tables", "table_slots")}
        with uninterrupted():
            self._put_back(self._compiled_flush(tables, rows, count, coefficients))

    def _state(self) -> State:
        return {**values_of(self._groups), "table_slots": self._slots}

    def _masks(self) -> list[Any]:
        return [table.mask.value for table in self._tables]

    def _put_back(self, state: State) -> None:
        """Assigns new values to variables and slots, whose old buffers were donated."""
        self._slots = state["table_slots"]
        put_back({name: variables for name, variables in self._groups.items() if name in state}, state)

    def _gathered(self, state: State, rows: Any) -> tuple[list[Any], list[list[Any]]]:
        def gather(table: Any) -> Any:
            return jnp.take(table, rows, axis=0, mode="clip")

        return [gather(table) for table in state["tables"]], [[gather(s) for s in own] for own in state["table_slots"]]

    def _scattered(
        self, state: State, rows: Any, count: Any, values: list[Any], slots: list[list[Any]]
    ) -> dict[str, list[Any]]:
        height = max(table.shape[0] for table in state["tables"])
        places = jnp.arange(len(rows), dtype=rows.dtype)
        targets = jnp.where(places < count, rows, height + places)  # rows beyond the table are dropped

        def scatter(table: Any, new: Any) -> Any:
            return table.at[targets].set(new, mode="drop", unique_indices=True, indices_are_sorted=True)

        return {
            "tables": [scatter(*pair) for pair in zip(state["tables"], values, strict=True)],
            "table_slots": [
                [scatter(*pair) for pair in zip(own, new, strict=True)]
                for own, new in zip(state["table_slots"], slots, strict=True)
            ],
        }

    def _call(self, state: State, masks: list[Any], values: list[Any], batch: Batch, training: bool) -> Any:
        """As the model's `stateless_call` with embeddings that read these rows: outputs, other variables and losses."""
        given = {id(table.mask): mask for table, mask in zip(self._tables, masks, strict=True)}
        for name in ("tables", "trainable", "others"):
            given |= dict(zip(map(id, self._groups[name]), state[name], strict=True))
        trainable = [given[id(variable)] for variable in self._model.trainable_variables]
        others = [given[id(variable)] for variable in self._model.non_trainable_variables]
        rows_of_masks = [jnp.take(mask, batch.rows, axis=0, mode="clip") for mask in masks]
        with self._using_rows(self._tables, values, rows_of_masks, batch.index):
            outputs, others, losses = self._model.stateless_call(
                trainable, others, batch.x, training=training, return_losses=True
            )
        after = dict(zip(map(id, self._model.non_trainable_variables), others, strict=True))
        return outputs, [after[id(variable)] for variable in self._others], losses

    def _train_in_place(self, state: State, masks: list[Any], batch: Batch, scalars: Any) -> tuple[Any, State]:
        values, slots = self._catch_up(*self._gathered(state, batch.rows), batch.coefficients)

        def objective(values: list[Any], trainable: list[Any]) -> tuple[Any, tuple[Any, Any]]:
            given = {**state, "trainable": trainable}
            outputs, others, losses = self._call(given, masks, values, batch, training=True)
            loss = self._loss(batch.y, outputs).astype(jnp.float32)
            return sum((term.astype(jnp.float32) for term in losses), loss), (loss, others)

        gradient = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
        (_, (loss, others)), (by_row, rest) = gradient(values, state["trainable"])
        trainable, optimizer_slots = self._optimizer.stateless_apply(state["slots"], rest, state["trainable"])
        values, slots = self._updated(values, slots, by_row, scalars)
        written = self._scattered(state, batch.rows, batch.count, values, slots)
        return loss, {**written, "trainable": trainable, "others": others, "slots": optimizer_slots}

    def _catch_up_in_place(self, state: State, rows: Any, count: Any, coefficients: Any) -> State:
        return self._scattered(state, rows, count, *self._catch_up(*self._gathered(state, rows), coefficients))

    def _forward_rows(self, state: State, masks: list[Any], batch: Batch) -> tuple[Any, Any, Any]:
        values, _ = self._catch_up(*self._gathered(state, batch.rows), batch.coefficients)
        outputs, _, _ = self._call(state, masks, values, batch, training=False)
        return self._measures(batch.y, outputs)
