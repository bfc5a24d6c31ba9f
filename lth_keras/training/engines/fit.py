"""Trains with Keras' own training step, as `fit` does: any model, and data that do not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_keras.backends import (
    Arrays,
    Evaluations,
    Losses,
    Measured,
    ProgramOfOne,
    ProgramParts,
    advice,
    as_called,
    assign,
    averages,
    backend,
    due_steps,
    in_order,
    loss_function,
    restart,
    values_after_build,
)
from lth_keras.data import Batch, Reader, Stream
from lth_keras.system import uninterrupted
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule

if TYPE_CHECKING:
    from lth_keras.training.network import Network


OWN_STEPS = ("train_step", "compute_loss")
"""Methods by which a class of models trains in its own way."""


class Fit(Compiled):
    """Trains one ticket at a time by the model's `train_on_batch`; see `Engine`.

    The model's own `train_step` and `compute_loss` are used, and `keras.distribution` on JAX. Batches come from arrays,
    in the order of the compiled engine, or from streams, which are read while it trains: those of a `PyDataset` in an
    order drawn for each epoch, those of other streams in their own order. Every step is a call from Python.
    """

    spelling = "fit"
    streams = True

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        strategy = getattr(network.model, "distribute_strategy", None)
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            return (
                "Expected one replica, since every replica would train on whole batches. Received: a strategy of "
                f"{strategy.num_replicas_in_sync} replicas, engine='fit'. Use keras.distribution on JAX, or the "
                "callbacks GradualPruning and DynamicSparseTraining in Keras' fit."
            )
        lost = [name for name in OWN_STEPS if _step(network.built_as, name) is not _step(type(network.model), name)]
        if lost:
            return (
                "Expected a class of models that is made from inputs and outputs, without an __init__ of its own, so "
                f"that the copy with masks has its {' and '.join(lost)}. Received: {network.built_as.__name__}, "
                "engine='fit'."
            )
        if network.seed_states and not backend().compiles:
            return (
                "Expected a model without random layers, whose numbers Keras draws from a global generator on "
                f"{network.backend}. Received: {len(network.seed_states)} random generators, engine='fit'. Use "
                "engine='compiled'."
            )
        return None

    def _make(self, network: Network) -> FitProgram:
        return FitProgram(network.training(), {id(weight.variable): weight.mask for weight in network.prunable})


def _step(kind: type, name: str) -> Any:
    return getattr(kind, name, None)


class FitProgram(ProgramOfOne):
    """Trains by `train_on_batch` and evaluates by `predict_on_batch`.

    Args:
        training: its parts; `pruned` is not used, since the masked layers multiply weights by their masks.
        masks: the mask of each prunable variable, by the variable's `id`.

    Raises:
        ValueError: in a training, if the model's `train_step` returns no `loss`.
    """

    takes_weights = True

    def __init__(self, training: ProgramParts, masks: Mapping[int, Any]) -> None:
        super().__init__(training)
        self._model, self._optimizer, self._masks = training.model, training.optimizer, masks
        self._loss, self._metric = loss_function(training.loss), training.metric
        self._evaluation_batch_size = training.evaluation_batch_size
        loss, weights = training.loss, None
        if isinstance(loss, Losses):
            loss, weights = (_by_output(self._model, part) for part in loss)
        self._model.compile(self._optimizer, loss, loss_weights=weights, jit_compile=training.jit_compile)
        del self._model._compile_config  # so that Keras describes the model alone, whatever its optimiser is
        self._optimizer.build(self._model.trainable_variables)
        self.advice = advice(self._optimizer)
        self._optimizer_start = values_after_build(self._optimizer)
        self._best: list[np.ndarray] = []
        self._best_loss, self._loss_sum = np.inf, 0.0
        self._train: Any = None
        self._reader: Reader | None = None

    def value(self, ticket: int, variable: Any) -> np.ndarray:
        """A copy of the variable's value, zero where it is pruned; see `Program.value`."""
        value, mask = super().value(ticket, variable), self._masks.get(id(variable))
        return value if mask is None else value * keras.ops.convert_to_numpy(mask).astype(value.dtype)

    def finish(self, tickets: Sequence[int]) -> None:
        """Replaces weights by their averages; see `Program.finish`."""
        for weight, average in averages(self._optimizer):
            assign(weight, average.value)

    def _take(self, train: Any, validation: Any) -> None:
        self._train = train

    def _release(self) -> None:
        self._train, self._reader = None, None

    def _start(self, updates: int) -> None:
        restart(self._optimizer, self._optimizer_start, updates)
        for variable in self._model.variables:  # copies, since other models may share JAX's buffers
            assign(variable, variable.value)
        self._best, self._best_loss, self._loss_sum = [], np.inf, 0.0
        self._reader = Reader(self._train) if isinstance(self._train, Stream) else None

    def _advance_one(self, order: np.ndarray, start: int, total: int) -> tuple[Evaluations, int | None]:
        rows: list[tuple[float, ...]] = []
        due = due_steps(start, start + len(order), total, self.every)
        bad: int | None = None
        for step, chosen in enumerate(order, start + 1):
            loss = self._step(*self._batch(chosen))
            self._loss_sum += loss
            if bad is None and not np.isfinite(loss):
                bad = step
            if step == total:
                self.finish([0])
            if step in due:
                since = step - (step - 1) // self.every * self.every
                rows.append((self._loss_sum / since, *self._validate()))
                self._loss_sum = 0.0
        columns = np.array(rows, np.float32).reshape(-1, 3).T
        return Evaluations(due, *columns), bad

    def _batch(self, chosen: np.ndarray) -> Batch:
        if self._reader is not None:
            return self._reader.batch(int(chosen[0]))
        batch: Batch = keras.tree.map_structure(lambda array: array[chosen], tuple(self._train))
        return batch if self._weight is None else (*batch, self._weight[chosen])

    def _step(self, x: Any, y: Any, weight: Any = None) -> float:
        with uninterrupted():  # Ctrl-C must not leave donated buffers in JAX's variables
            x, y = as_called(self._model, x), _by_output(self._model, y)
            logs = self._model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
        if "loss" not in logs:
            raise ValueError(
                f"Expected train_step of {type(self._model).__name__} to return a dict with 'loss', as Keras' does. "
                f"Received: {', '.join(logs) or 'an empty one'}."
            )
        return float(logs["loss"])

    def _validate(self) -> tuple[float, float]:
        """Loss and metric on the validation split; keeps the weights if the loss is the least so far."""
        measured = self._measured("validation", False)
        loss = float(measured.loss[0])
        if loss < self._best_loss:
            self._best_loss = loss
            self._best = [self.value(0, variable) for variable in self._model_weights]
        return loss, float(measured.metric[0])

    def _best_weights(self) -> list[np.ndarray]:
        return self._best or [self.value(0, variable) for variable in self._model_weights]

    def _measured(self, split: str, outputs: bool) -> Measured:
        if not isinstance(self._splits[split], Stream):
            return super()._measured(split, outputs)
        loss, metric, _ = self._measure(((x, y) for x, y, *_ in self._splits[split]), outputs=False)
        return Measured(np.array([loss]), np.array([metric]))

    def _evaluate_one(self, x: Any, y: Any, outputs: bool) -> tuple[float, float, Any]:
        return self._measure(_parts((x, y), self._evaluation_batch_size), outputs)

    def _measure(self, batches: Iterable[Arrays], outputs: bool) -> tuple[float, float, Any]:
        """Mean loss, metric and, if requested, outputs of all batches; NaN if there are none."""
        loss, examples, state = 0.0, 0, self._metric.start()
        kept: list[Any] = []
        for x, y in batches:
            with uninterrupted():
                out = in_order(self._model.predict_on_batch(as_called(self._model, x)))
            count = len(keras.tree.flatten(y)[0])
            labels, tensors = (keras.tree.map_structure(keras.ops.convert_to_tensor, part) for part in (y, out))
            loss += float(self._loss(labels, tensors)) * count
            state = self._metric.update(state, labels, tensors)
            examples += count
            if outputs:
                kept.append(out)
        if not examples:
            return np.nan, np.nan, None
        joined = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *kept) if outputs else None
        return loss / examples, float(self._metric.value(state, examples)), joined


def _by_output(model: keras.Model, parts: Any) -> Any:
    """Labels or losses of several outputs, a tuple, in the structure of the model's outputs."""
    return keras.tree.pack_sequence_as(model.output, list(parts)) if isinstance(parts, tuple) else parts


def _parts(arrays: Arrays, size: int) -> Iterator[Arrays]:
    examples = len(keras.tree.flatten(arrays)[0])
    for start in range(0, examples, size):
        yield keras.tree.map_structure(lambda array, start=start: array[start : start + size], arrays)
