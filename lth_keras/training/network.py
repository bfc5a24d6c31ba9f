"""`Network`: a Keras model with its data; trains, evaluates, masks and rewinds it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from lth_keras.backends import NOTHING_PRUNED, ProgramParts, Pruned, Splits, as_fit_takes_it, count
from lth_keras.data import (
    SPLITS,
    Arrays,
    Stream,
    batches_per_epoch,
    check_cadence,
    check_makers,
    check_splits,
    first_examples,
    losses_of,
    read_streams,
)
from lth_keras.masking import Choice, check_start, large_tables, pruned_weights_are_zero
from lth_keras.pruning import ModelDerivatives
from lth_keras.system import boolean, integer
from lth_keras.training import Curves
from lth_keras.training.engines import AUTO, Callbacks, Schedule, Ticket, check_spelling
from lth_keras.training.engines.auto import engine_for
from lth_keras.training.engines.older_engines import older_spelling
from lth_keras.training.masked_network import MaskedNetwork
from lth_keras.training.outputs import measure


class Network(MaskedNetwork):
    """A masked Keras model with its data and the engine that trains it.

    The engine's compiled program is built once. Levels, branches and trials only assign new values, so memory use does
    not grow.

    Args:
        build: makes the Keras model, `() -> keras.Model`, of plain or masked layers. `draw_weights` draws its weights
            from the seed of each trial, even if `build` fixes the seeds of its initialisers; for exceptions see
            `start`.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: see Keras' `compile`; for several outputs a list, tuple or dict, or one loss for each of them.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; by default ten times
            it, or equal to it with the engine `rows`. Test results affect nothing.
        evaluation_batch_size: examples per forward pass of an evaluation.
        jit_compile: whether to compile with XLA. JAX always does, PyTorch never. None on TensorFlow compiles models
            without convolutions, which XLA runs slower on CPUs, and without layers that Keras does not compile with
            XLA, such as RandomRotation (their attribute `supports_jit`).
        engine: the engine that trains it, see docs/search.md: `auto`, `compiled`, `batched:N`, `rows`, `compact` or
            `native`. `auto` is `rows` if the model has embedding tables of at least 4 million weights that read its
            input and the optimiser allows it, otherwise `compiled`.
        start: the weights that `draw_weights` returns. `initial` draws them from their initialisers. `given` takes
            those that `build` makes under the trial's seed. None keeps loaded or pretrained weights and draws the
            others; it calls `build` under two seeds, and takes weights as loaded if they are equal both times although
            their initialiser is random and has no seed.
        exclude: layers without masks, see `mask_model`.
        prune_frozen: whether layers with `trainable=False` are masked. By default they are not, and do not count in
            densities. Their weights are never drawn.
        metric: `accuracy`, `micro_f1`, `mae`, `r2`, a Keras metric or its name, or a function (y, outputs) -> a number
            for each example. None chooses by the loss and the outputs (docs/results.md). For several outputs a dict
            with the name of one of them and its metric.
        loss_weights: weights of several outputs' losses, see Keras' `compile`; 1 each by default.
        older: `fused` and `embeddings`, which version 0.1 had instead of `engine`; accepted until 0.3.

    Attributes:
        given: the weights that are not drawn, see `start`.
        model: the masked Keras model.
        built_as: the class of the model that `build` makes.
        variables: the Keras variables of all weights by key, without masks.
        prunable: the prunable weights among them, with their masks.
        seed_states: Keras variables of the model's random generators.
        tables: large embedding tables that are trained by rows.
        make_optimizer: makes the optimiser.
        loss: the loss, or the `Losses` of several outputs.
        make_counter: () -> a counter of outcomes by class; raises ValueError for tasks without classes, and with a
            class for every position of an example.
        engine: the engine that trains it.
        engine_reason: the reason for this engine.
        datasets: the loaded data sets by key; the key of `load` is None.
        programs: programs that engines have built for it, with a method `unload`.

    Raises:
        ValueError: if the model has nothing to prune or is not built; if losses, weights or metric are not those of its
            outputs; if `evaluate_every` and `test_every` do not fit; if `engine` or `start` is unknown; if comparing
            two models does not show which weights `build` gives; for frozen layers with masks without `prune_frozen`;
            if the engine cannot train the model.
        ModuleNotFoundError: with the engine `native` without numba.
        TypeError: if `build` or `optimizer` returns another type.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        *,
        optimizer: Callable[[], keras.Optimizer],
        loss: Any,
        batch_size: int,
        evaluate_every: int = 100,
        test_every: int | None = None,
        evaluation_batch_size: int = 1000,
        jit_compile: bool | None = None,
        engine: str = AUTO,
        start: str | None = None,
        exclude: Choice | Sequence[Choice] = (),
        prune_frozen: bool = False,
        metric: Any = None,
        loss_weights: Any = None,
        **older: Any,
    ) -> None:
        check_start(start)
        engine = check_spelling(older_spelling("Network", older, engine))
        if older:
            raise TypeError(f"Expected arguments of a Network. Received: {', '.join(older)}.")
        check_makers(build, optimizer, loss)
        batch_size = integer("batch_size", batch_size, 1)
        evaluation_batch_size = integer("evaluation_batch_size", evaluation_batch_size, 1)
        jit_compile = jit_compile if jit_compile is None else boolean("jit_compile", jit_compile)
        self.asked_jit_compile, self.asked_metric = jit_compile, metric
        self.test_every = check_cadence(evaluate_every, test_every)
        super().__init__(build, start, exclude, prune_frozen)
        self.batch_size = batch_size
        self.loss = losses_of(self.model, loss, loss_weights)
        used = optimizer()
        if not isinstance(used, keras.Optimizer):
            raise TypeError(f"Expected optimizer() to return a keras.Optimizer. Received: {type(used).__name__}.")
        self.make_optimizer = optimizer
        self.measured, self.make_counter = measure(self.model, self.loss, metric)
        self.evaluate_every, self.evaluation_batch_size = evaluate_every, evaluation_batch_size
        self.jit_compile = self._compiles(jit_compile)
        self.programs: dict[Hashable, Any] = {}
        self.datasets: dict[Hashable, Splits] = {}
        self._metric_at_early_stop = math.nan
        self.engine, self.engine_reason = engine_for(engine, self)
        if not self.engine.program(self).keeps_best:
            self.test_every = evaluate_every if test_every is None else self.test_every
            if self.test_every != evaluate_every:
                raise ValueError(
                    "Expected test_every to equal evaluate_every if large embedding tables are trained by rows, since "
                    f"no copy of the best weights is kept. Received: {test_every} and {evaluate_every}."
                )
        self._like: dict[str, Any] = {
            "batch_size": batch_size,
            "evaluate_every": evaluate_every,
            "test_every": self.test_every,
            "evaluation_batch_size": evaluation_batch_size,
            "jit_compile": jit_compile,
            "start": "initial",
            "prune_frozen": True,
            "metric": metric,
        }

    @property
    def tables(self) -> list[Any]:
        """The large embedding tables if they are trained by rows, otherwise none."""
        return [] if self.engine.program(self).keeps_best else large_tables(self.model)

    def training(self) -> ProgramParts:
        """The parts of a program that trains the network, with a new optimiser."""
        at_zero = [(w.variable, w.mask) for w in self.prunable if w.layer.zeros_replace_mask]
        return ProgramParts(
            self.model,
            as_fit_takes_it(self.make_optimizer(), self.model),
            self.loss,
            list(self.variables.values()),
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            evaluation_batch_size=self.evaluation_batch_size,
            metric=self.measured,
            jit_compile=self.jit_compile,
            pruned=Pruned(at_zero, pruned_weights_are_zero) if self.jit_compile else NOTHING_PRUNED,
        )

    def __repr__(self) -> str:
        prunable = sum(int(np.prod(weight.variable.shape)) for weight in self.prunable)
        return f"Network({self.model.name!r}, {prunable:,} prunable weights, batch_size={self.batch_size})"

    @property
    def metric(self) -> str:
        """The name of the metric, such as `accuracy`, `micro_f1` or `mae`."""
        return str(self.measured.name)

    def alike(self, build: Callable[[], keras.Model], engine: str) -> Network:
        """A network of another model and engine with the same parameters, without data."""
        return Network(build, optimizer=self.make_optimizer, loss=self.loss, engine=engine, **self._like)

    def load(self, data: Any) -> None:
        """Loads the data of a trial.

        Args:
            data: train, validation and test, as attributes or keys, each a pair (x, y) of arrays of equal length. x has
                the model's input shape; y is in the loss's format (class indices for sparse losses). Several inputs or
                outputs are a list or tuple in the model's order, or a dict by name. train may be
                (x, y, sample_weight): weights of its examples in the loss, as in Keras' `fit`. A split may also be a
                stream of such batches, which is read into arrays. The validation split may be empty if an attribute or
                key `without_validation` is true; then the last step counts as the early stop.

        Raises:
            ValueError: for a missing or empty split, shapes that do not fit the model, labels out of range, values
                that are not finite, or indices out of an embedding's range.
        """
        splits = self.checked(data)
        self.unload()  # frees memory before the new data are loaded
        self.take({None: splits})
        self.engine.program(self).load([splits])

    def take(self, datasets: Mapping[Hashable, Splits]) -> None:
        """Replaces the loaded data sets. The engine copies those that it uses to the device.

        Args:
            datasets: key -> splits as returned by `checked`.
        """
        self.unload()
        self.datasets = dict(datasets)

    def unload(self) -> None:
        """Unloads the data."""
        self.datasets = {}
        for program in self.programs.values():
            program.unload()

    def checked(self, data: Any) -> dict[str, Any]:
        """The splits of a trial's data, checked but not loaded; arguments and errors as `load`."""
        if not self.engine.streams:
            data = read_streams(data, SPLITS)
        splits = check_splits(self.model, self.loss, data)
        train = splits["train"]
        if isinstance(train, Stream):
            self.measured.prepare(first_examples(train, 1)[1])
            return splits
        examples = count(train[0])
        if examples < self.batch_size:
            raise ValueError(
                f"Expected at least one batch of {self.batch_size} training examples. Received: {examples}."
            )
        self.measured.prepare(train[1])
        return splits

    def split(self, name: str) -> Arrays:
        """The examples and labels of a loaded split: `train`, `validation` or `test`.

        Raises:
            ValueError: if the split is not loaded.
        """
        splits = next(iter(self.datasets.values()), {})
        if name not in splits:
            raise ValueError(f"Expected a loaded split from {SPLITS}. Received: {name!r}.")
        return splits[name]

    @cached_property
    def derivatives(self) -> ModelDerivatives:
        """Gradients, Hessian products and synaptic flow of the model for criteria, compiled at first use."""
        return ModelDerivatives(self.model, self.loss)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the training split."""
        return self.batches_of(self.split("train"), counted=True) or 0

    def batches_of(self, train: Any, *, counted: bool = False) -> int | None:
        """Batches in one pass over a training split; None if they are neither known nor `counted`."""
        if isinstance(train, Stream):
            return batches_per_epoch(train, counted=counted)
        return count(train[0]) // self.batch_size

    def train(
        self,
        steps: int,
        *,
        seed: int,
        names: tuple[str | int, ...] = (),
        confusion: bool = False,
        updates: int = 0,
        patience: int | None = None,
        after: Mapping[int, Callable[[], None]] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Curves:
        """Trains from the current weights with a newly initialised optimiser.

        With XLA or the native kernel, pruned weights become zero, except those of LoRA, quantised layers and
        embeddings.

        Args:
            steps: optimiser updates.
            seed: with `names`, determines data order and dropout.
            names: further names of the random stream, e.g. the level.
            confusion: whether to count outcomes by class at every test: a confusion matrix for labels that are class
                indices; true positives, false positives and false negatives for multi-label tasks.
            updates: initial value of the optimiser's step count.
            patience: evaluations without a lower validation loss after which the training ends; None for never.
            after: step -> function to call after it, e.g. to read the weights; 0 for before the first step.
            progress: called with (steps done, number of steps) about every half second.

        Raises:
            NonFiniteLossError: if the loss becomes NaN or infinite.
            ValueError: for `updates` other than 0 if large embedding tables are trained by rows; for a `patience`
                below 1 or without a validation split.
            RuntimeError: if no data are loaded.
        """
        if not self.datasets:
            raise RuntimeError("Expected loaded data before training. Received: none; call load(splits) first.")
        steps, seed, updates = integer("steps", steps, 1), integer("seed", seed, 0), integer("updates", updates, 0)
        ticket = Ticket(None, None, seed, names, next(iter(self.datasets)), updates=updates)
        if not self.engine.in_place:
            ticket = ticket._replace(weights=dict(self.weights), mask=self.mask)
        schedule = Schedule(steps, patience, confusion)
        (trained,) = self.engine.train(self, [ticket], schedule, Callbacks(progress, after or {}))
        if trained.failure is not None:
            raise trained.failure
        if not self.engine.in_place:
            self.weights = trained.weights
            self._metric_at_early_stop = trained.test_metric_at_early_stop
        return trained.curves

    def evaluate(self, split: str = "test") -> tuple[float, float]:
        """Mean loss (without regularisation terms) and `metric` on `train`, `validation` or `test`."""
        return self._evaluated(split)

    @property
    def advice(self) -> str:
        """Advice for a training that has led to NaN or infinity."""
        return self.engine.program(self).advice

    def test_metric_at_early_stop(self, curves: Curves) -> float:
        """The metric on the test split at the least validation loss of the last training.

        Args:
            curves: the curves of that training.
        """
        if not self.engine.in_place:
            return self._metric_at_early_stop
        if self.engine.program(self).keeps_best and not np.isnan(curves.validation_loss).all():
            return self.evaluate_best("test")[1]
        return float(curves.test_metric[curves.early_stop])

    def test_accuracy_at_early_stop(self, curves: Curves) -> float:
        """The older name of `test_metric_at_early_stop`."""
        warnings.warn(
            "Network.test_accuracy_at_early_stop is now test_metric_at_early_stop.", DeprecationWarning, stacklevel=2
        )
        return self.test_metric_at_early_stop(curves)

    def evaluate_best(self, split: str = "test") -> tuple[float, float]:
        """As `evaluate`, for the weights of least validation loss in the last training; does not change the model.

        Raises:
            ValueError: with an engine that does not train the network's own variables.
        """
        if not self.engine.in_place:
            raise ValueError(
                "Expected an engine that trains the network's own variables and keeps the best weights, as compiled. "
                f"Received: engine={self.engine.spelling!r}. Use test_metric_at_early_stop."
            )
        return self._evaluated(split, best=True)

    def _evaluated(self, split: str, best: bool = False) -> tuple[float, float]:
        self.split(split)
        program = self.engine.program(self)
        program.load([next(iter(self.datasets.values()))])
        measured = program.evaluate(split, best=best)
        return float(measured.loss[0]), float(measured.metric[0])
