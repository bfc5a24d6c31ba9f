"""The network wrapper: owns a Keras model and its data; trains, evaluates, masks and rewinds it."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays
from lth_keras.backends import (
    NOTHING_PRUNED,
    Programs,
    Pruned,
    as_fit_takes_it,
    assign,
    compiles_always,
    make_program,
    make_programs,
    make_rowwise_program,
    skipped,
)
from lth_keras.criteria.model_derivatives import ModelDerivatives
from lth_keras.data.arguments import check_makers
from lth_keras.data.splits import SPLITS, Arrays, check_cadence, check_patience, check_splits
from lth_keras.mask import Mask
from lth_keras.masking import (
    get_mask,
    large_tables,
    mask_model,
    masked_copy,
    prunable_weights,
    pruned_weights_are_zero,
    seed_states,
    set_mask,
    using_rows,
    variables,
    walk,
)
from lth_keras.masking.rewinding import check_start, draw_weights, own_array
from lth_keras.system.values import boolean, integer
from lth_keras.training import BatchOrder, Counter, Curves, make_counter, make_fused_program, make_metric, train
from lth_keras.training.fused_chain import fused_chain
from lth_keras.training.given import FirstModel, find_given, owners

EMBEDDINGS = ("exact", "lazy", "dense")
"""How large embedding tables are trained."""
_LARGE = 10_000_000  # weights: below, collecting garbage (0.3 s) costs more than the copy's memory is worth
ROWWISE_EVALUATION_BATCH = 250
"""Examples per forward pass where tables are trained by rows: those of more examples take gigabytes."""


class Network:
    """A masked Keras model with its compiled training program and its data.

    The program is built once. Levels, branches and trials only assign new values, so none of them costs memory that
    the one before did not.

    Args:
        build: makes the Keras model, `() -> keras.Model`; plain or masked layers. Its weights are drawn anew from
            the seed of each trial (`draw_weights`), also where `build` fixes the seeds of its initialisers; but for
            those that it gives, see `start`.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: as Keras' `compile` takes it.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; ten times it by
            default, or as often where large tables are trained by rows. Test data decides nothing.
        evaluation_batch_size: examples per forward pass of an evaluation.
        jit_compile: whether to compile with XLA. None decides by the model: on TensorFlow not where it has
            convolutions, which XLA runs slower on CPUs, or layers that Keras does not compile with it, as
            RandomRotation (their attribute `supports_jit`). JAX always does.
        embeddings: how embedding tables of 4 million weights and more are trained that read the model's input.
            `exact`: a step touches the rows that its batch uses, and makes the updates that a dense optimiser would
            have made to them since they were last used (Adam, AdamW and SGD; others train densely, with a warning).
            `lazy`: without those. `dense`: every row at every step. By rows, no copy of the best weights is kept, so
            `test_every` must be `evaluate_every`, and the steps are compiled by XLA.
        fused: whether to train with a kernel of this library in place of the backend's, on CPUs: for chains of dense
            layers with ReLU, cross-entropy of class indices, and Adam or SGD (see docs/performance.md). The numbers are
            those of the backend within float32 rounding, not the same bits.
            The loss is always that of the logits: on JAX, Keras clips softmax probabilities at 1e-7, beyond which a
            loss stays at 16.1 and has no gradient.
        start: what `draw_weights` does to weights that `build` brings. `initial`: draws them from their initialisers.
            `given`: takes those that `build` makes, called under the trial's seed. None: calls `build` under two seeds;
            weights that are equal both times though their initialiser is random and has no seed were given (loaded,
            pretrained), and are kept; the others are drawn.
        prune_frozen: whether layers with `trainable=False` are masked. By default they have no part in masks and
            density. Their weights are never drawn.
        metric: what is measured beside the loss: `accuracy`, `micro_f1`, `mae`, `r2`, a Keras metric or its name, or a
            function (y, outputs) -> a number for each example. None goes by the loss and the outputs (docs/results.md).

    Attributes:
        given: the weights that are kept, see `start`.
        model: the masked Keras model.
        variables: the Keras variables of all weights by key, without masks.
        prunable: the prunable weights among them, with their masks.
        seed_states: Keras variables of the model's random generators.
        tables: the tables that are trained by rows.
        make_optimizer: makes the optimiser.
        holds: whose data are loaded, as their owner notes it; None for nobody's.

    Raises:
        ValueError: where the model has nothing to prune, is not built or has several inputs or outputs, where the
            cadences do not fit, or `embeddings` or `start` is unknown; where it cannot be told which weights `build`
            gives; for frozen layers with masks without `prune_frozen`; with `fused` for what its kernel cannot train.
        ModuleNotFoundError: with `fused`, without numba.
        TypeError: where `build` or `optimizer` does not make what it should.
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
        embeddings: str = "exact",
        fused: bool = False,
        start: str | None = None,
        prune_frozen: bool = False,
        metric: Any = None,
    ) -> None:
        check_start(start)
        if embeddings not in EMBEDDINGS:
            raise ValueError(f"Expected embeddings to be one of {EMBEDDINGS}. Received: {embeddings!r}.")
        check_makers(build, optimizer, loss)
        self._build = build
        batch_size = integer("batch_size", batch_size, 1)
        evaluation_batch_size = integer("evaluation_batch_size", evaluation_batch_size, 1)
        jit_compile = jit_compile if jit_compile is None else boolean("jit_compile", jit_compile)
        fused = boolean("fused", fused)
        self.test_every = check_cadence(evaluate_every, test_every)
        made = build()
        if not isinstance(made, keras.Model):
            raise TypeError(f"Expected build() to return a keras.Model. Received: {type(made).__name__}.")
        first = FirstModel.of(made)
        self.model = mask_model(made, frozen=prune_frozen)
        large = sum(math.prod(variable.shape) for variable in self.model.variables) >= _LARGE
        del made  # what build() made is in reference cycles
        if large:
            gc.collect()
        self.given = find_given(first, build, start)
        del first
        if large:
            gc.collect()
        self.prunable = prunable_weights(self.model)
        masked = [weight.key for weight in self.prunable if not weight.layer.trainable]
        if masked and not prune_frozen:
            raise ValueError(
                f"Expected frozen layers (trainable=False) without masks. Received: {masked}. Use plain layers "
                "(strip_masks makes them), or pass prune_frozen=True."
            )
        if len(self.model.inputs) != 1 or len(self.model.outputs) != 1:
            raise ValueError(
                f"Expected a model with one input and one output. Received: {len(self.model.inputs)} and "
                f"{len(self.model.outputs)}."
            )
        self.variables = variables(self.model)
        self._owners = owners(self.model)
        self.seed_states = seed_states(self.model)
        self.batch_size = batch_size
        self.loss = loss
        used = optimizer()
        if not isinstance(used, keras.Optimizer):
            raise TypeError(f"Expected optimizer() to return a keras.Optimizer. Received: {type(used).__name__}.")
        used = as_fit_takes_it(used, self.model)
        self.tables = [] if embeddings == "dense" or fused else large_tables(self.model)
        rule = skipped(used, [table.variable for table in self.tables])
        if self.tables and rule is None:
            warnings.warn(
                f"{len(self.tables)} large embedding tables are trained densely, every row at every step: what "
                f"{type(used).__name__} with these arguments does to rows that are not used has no closed form here.",
                stacklevel=2,
            )
            self.tables = []
        unsupported = without_xla(self.model)
        if self.tables and unsupported and not compiles_always():
            warnings.warn(
                f"{len(self.tables)} large embedding tables are trained densely, every row at every step: steps by "
                f"rows are compiled with XLA, which Keras does not do with {', '.join(unsupported)}.",
                stacklevel=2,
            )
            self.tables = []
        self._asked_metric = metric
        self.measured = make_metric(
            loss, self.model.output_shape, metric, probabilities=gives_probabilities(self.model)
        )
        shared: dict[str, Any] = {"batch_size": batch_size, "evaluate_every": evaluate_every}
        if self.tables:
            self.test_every = evaluate_every if test_every is None else self.test_every
            if self.test_every != evaluate_every:
                raise ValueError(
                    "Expected test_every to be evaluate_every where large embedding tables are trained by rows, since "
                    f"no copy of the best weights is kept. Received: {test_every} and {evaluate_every}."
                )
            self._program = make_rowwise_program(
                self.model,
                used,
                loss,
                self.tables,
                using_rows,
                rule,
                lazy=embeddings == "lazy",
                evaluation_batch_size=min(evaluation_batch_size, ROWWISE_EVALUATION_BATCH),
                metric=self.measured,
                **shared,
            )
        elif fused:
            if jit_compile is not None:
                raise ValueError(
                    "Expected jit_compile=None with fused, which trains with a kernel of its own. "
                    f"Received: {jit_compile}."
                )
            if metric not in (None, "accuracy"):
                raise ValueError(
                    f"Expected no metric with fused, whose kernel measures accuracy. Received: {metric!r}."
                )
            layers, softmax = fused_chain(self.model, loss)
            self._program = make_fused_program(layers, softmax, used, list(self.variables.values()), **shared)
        else:
            if jit_compile is None:
                convolves = any("Conv" in type(layer).__name__ for _, layer in walk(self.model))
                jit_compile = compiles_always() or not (convolves or unsupported)
            if jit_compile and unsupported and not compiles_always():
                raise ValueError(
                    f"Expected jit_compile=None or False for layers that Keras does not compile with XLA: "
                    f"{', '.join(unsupported)}. Received: {jit_compile}."
                )
            self._program = make_program(
                self.model,
                used,
                loss,
                list(self.variables.values()),
                evaluation_batch_size=evaluation_batch_size,
                jit_compile=jit_compile,
                pruned=self._kept_at_zero if jit_compile else NOTHING_PRUNED,
                metric=self.measured,
                **shared,
            )
        self.evaluation_batch_size = evaluation_batch_size
        self.make_optimizer = optimizer
        self._program_options = {**shared, "evaluation_batch_size": evaluation_batch_size}
        own = {"test_every": self.test_every, "jit_compile": jit_compile, "embeddings": embeddings, "fused": fused}
        self._like = {**self._program_options, **own, "start": "initial", "prune_frozen": True, "metric": metric}
        self._splits: dict[str, Arrays] = {}
        self.holds: Any = None

    def __repr__(self) -> str:
        prunable = sum(int(np.prod(weight.variable.shape)) for weight in self.prunable)
        return f"Network({self.model.name!r}, {prunable:,} prunable weights, batch_size={self.batch_size})"

    @property
    def backend(self) -> str:
        """The Keras backend that trains: `tensorflow` or `jax`."""
        return str(keras.backend.backend())

    @property
    def metric(self) -> str:
        """What is measured beside the loss, an identifier such as `accuracy`, `micro_f1` or `mae`."""
        return str(self.measured.name)

    def make_counter(self) -> Counter:
        """Counts outcomes by class.

        Raises:
            ValueError: where nothing is classified, or every position of an example.
        """
        shape = self.model.output_shape
        asked = self._asked_metric
        by_loss = self.measured if asked is None else make_metric(self.loss, shape)
        return make_counter(self.loss, shape, by_loss)

    def make_programs(self, members: int) -> Programs:
        """A program that trains so many weights of this model at once, with an optimiser of its own.

        Raises:
            NotImplementedError: on another backend than JAX.
        """
        weights = list(self.variables.values())
        options = {**self._program_options, "pruned": self._kept_at_zero, "metric": self.measured}
        optimizer = as_fit_takes_it(self.make_optimizer(), self.model)
        return make_programs(members, self.model, optimizer, self.loss, weights, **options)

    @property
    def _kept_at_zero(self) -> Pruned:
        weights = [w for w in self.prunable if w.layer.zeros_replace_mask]
        return Pruned([(weight.variable, weight.mask) for weight in weights], pruned_weights_are_zero)

    def alike(self, build: Callable[[], keras.Model]) -> Network:
        """A network of another model that is trained and evaluated in the same way; without data yet."""
        return Network(build, optimizer=self.make_optimizer, loss=self.loss, **self._like)

    def load(self, data: Any) -> None:
        """Takes the data of a trial.

        Args:
            data: train, validation and test, as attributes or keys, each a pair (x, y) of arrays of one length. x
                has the model's input shape; y is what the loss takes (class indices for sparse losses). The validation
                split may be empty where an attribute or key `without_validation` is true: then the last step counts as
                the early stop.

        Raises:
            ValueError: for a missing or empty split, shapes that do not fit the model, labels out of range, values
                that are not finite, or row numbers that an embedding does not have.
        """
        self._splits = self.checked(data)
        self._program.load(self._splits["train"], self._splits["validation"])

    def unload(self) -> None:
        """Lets go of the data."""
        self._splits, self.holds = {}, None
        self._program.unload()

    def checked(self, data: Any) -> dict[str, Arrays]:
        """The splits of a trial's data, without taking them; arguments and errors as `load`."""
        splits = check_splits(self.model, self.loss, data)
        if len(splits["train"][0]) < self.batch_size:
            raise ValueError(
                f"Expected at least one batch of {self.batch_size} training examples. "
                f"Received: {len(splits['train'][0])}."
            )
        self.measured.tell(splits["train"][1])
        return splits

    def split(self, name: str) -> Arrays:
        """The examples and labels of a loaded split: `train`, `validation` or `test`.

        Raises:
            ValueError: where it is not loaded.
        """
        if name not in self._splits:
            raise ValueError(f"Expected a loaded split of {SPLITS}. Received: {name!r}.")
        return self._splits[name]

    @cached_property
    def derivatives(self) -> ModelDerivatives:
        """Gradients, Hessian products and synaptic flow of the model, for criteria; compiled when asked for."""
        return ModelDerivatives(self.model, self.loss)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the training split."""
        return len(self._splits["train"][0]) // self.batch_size

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each prunable weight, as pruning rates name it: `dense`, `conv`, `embedding` or `output`."""
        return {weight.key: weight.kind for weight in self.prunable}

    @property
    def mask(self) -> Mask:
        """The mask of the model's prunable weights; assign to change it."""
        return get_mask(self.model)

    @mask.setter
    def mask(self, mask: Mapping[str, np.ndarray]) -> None:
        set_mask(self.model, mask)

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """All weights by key, without the masks; assign a mapping of all of them to change them, by value.

        Each is copied when its key is accessed, with the values it has then: a large model's weights are in memory one
        at a time. `dict(network.weights)` takes a snapshot of all of them.
        """
        return self._weights

    @weights.setter
    def weights(self, weights: Mapping[str, np.ndarray]) -> None:
        if weights is self._weights:
            raise ValueError(
                "Expected other weights than network.weights itself, which shows those that the network has at the "
                "time. Received: network.weights. Take a snapshot before they change: dict(network.weights)."
            )
        self._check_keys(weights)
        for key, variable in self.variables.items():
            assign(variable, weights[key])

    @cached_property
    def _weights(self) -> LazyArrays:
        shapes = {key: tuple(variable.shape) for key, variable in self.variables.items()}
        return LazyArrays(shapes, lambda key: own_array(self.variables[key]))

    def _check_keys(self, weights: Mapping[str, np.ndarray]) -> None:
        if weights.keys() != self.variables.keys():
            raise ValueError(f"Expected weights for {list(self.variables)}. Received: {list(weights)}.")

    def draw_weights(self, seed: int, *names: str | int, given: bool = True) -> Mapping[str, np.ndarray]:
        """Draws all weights from their initialisers, decided by the seed and the names alone; the model keeps its own.

        Args:
            seed: decides the draw, with the names.
            names: name it.
            given: whether weights that `build` gives are taken as they are. Those of frozen layers always are.

        Returns:
            Weight key to array: all weights of the model, biases and statistics included. Each is drawn when its key
            is accessed, the same values every time, and not kept.
        """
        return draw_weights(
            self._owners,
            lambda: variables(masked_copy(self._build())),
            lambda key: seeds.integer(seed, *names, key),
            kept={key: value for key, value in self.given.weights.items() if given or key in self.given.frozen},
            as_built=given and self.given.start == "given",
        )

    def rewind(self, weights: Mapping[str, np.ndarray], mask: Mask) -> None:
        """Makes the model the ticket of these weights under this mask: pruned weights are set to zero.

        Args:
            weights: all weights by key.
            mask: which of the prunable ones take part.
        """
        self._check_keys(weights)
        self.mask = mask
        for key, variable in self.variables.items():
            value = weights[key]
            assign(variable, value * mask[key] if key in mask else value)
            del value  # before the next is made

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
        """Trains from the weights as they are, with the optimiser as it was after build.

        Where XLA compiles or the kernel is fused, pruned weights become zeros, but for those of LoRA, quantised layers
        and embeddings.

        Args:
            steps: optimiser updates.
            seed: with `names`, decides data order and dropout.
            names: name the stream, e.g. the level.
            confusion: whether to count outcomes by class at every test: a confusion matrix, for labels that are class
                indices; for multi-label tasks true positives, false positives and false negatives.
            updates: what the optimiser's count of updates begins at.
            patience: evaluations without a lower validation loss after which the training ends; None for never.
            after: what to call when so many steps are done, e.g. to look at the weights; 0 for before the first.
            progress: called with (steps done, steps in all) about every half second.

        Raises:
            NonFiniteLossError: where the loss becomes NaN or infinite.
            ValueError: for other `updates` than 0 where large embedding tables are trained by rows; for a `patience`
                below 1 or without a validation split.
            RuntimeError: where no data is loaded.
        """
        if not self._splits:
            raise RuntimeError("Expected data to be loaded before training. Call load(splits) first.")
        steps, seed, updates = integer("steps", steps, 1), integer("seed", seed, 0), integer("updates", updates, 0)
        validated = len(self._splits["validation"][0]) > 0
        check_patience(patience, validated)
        for i, state in enumerate(self.seed_states):
            state.assign(dropout_seed(state, seed, *names, i))
        return train(
            self._program,
            batch_order(len(self._splits["train"][0]), self.batch_size, seed, *names),
            steps=steps,
            test=self._splits["test"],
            test_every=self.test_every,
            validated=validated,
            counter=self.make_counter() if confusion else None,
            updates=updates,
            patience=patience,
            after=after,
            progress=progress,
        )

    def evaluate(self, split: str = "test") -> tuple[float, float]:
        """Mean loss (without regularisation terms) and `metric` on `train`, `validation` or `test`."""
        return self._program.evaluate(*self.split(split))

    @property
    def advice(self) -> str:
        """What to do where a training has led to NaN or infinity."""
        return self._program.advice

    def test_metric_at_early_stop(self, curves: Curves) -> float:
        """The `metric` on the test split of the weights of least validation loss in the last training.

        Args:
            curves: of that training.
        """
        if self._program.keeps_best and len(self._splits["validation"][0]):
            return self.evaluate_best("test")[1]
        return float(curves.test_metric[curves.early_stop])

    def test_accuracy_at_early_stop(self, curves: Curves) -> float:
        """As `test_metric_at_early_stop`, by its older name."""
        warnings.warn(
            "Network.test_accuracy_at_early_stop is now test_metric_at_early_stop.", DeprecationWarning, stacklevel=2
        )
        return self.test_metric_at_early_stop(curves)

    def evaluate_best(self, split: str = "test") -> tuple[float, float]:
        """As `evaluate`, for the weights of least validation loss in the last training; the model keeps its own."""
        current = dict(self.weights)
        try:
            self.weights = dict(zip(self.variables, self._program.best_weights(), strict=True))
            return self.evaluate(split)
        finally:
            self.weights = current


def without_xla(model: keras.Model) -> list[str]:
    """The layers of a model, and of models and wrappers within it, that Keras does not compile with XLA."""
    return [f"{place} ({type(layer).__name__})" for place, layer in walk(model) if not layer.supports_jit]


def gives_probabilities(model: keras.Model) -> bool:
    """Whether a model ends in a sigmoid or softmax."""
    layer = model.outputs[0]._keras_history.operation
    if isinstance(layer, keras.Model) and layer.outputs:
        return gives_probabilities(layer)
    if isinstance(layer, keras.layers.Softmax):
        return True
    named = (keras.activations.sigmoid, keras.activations.hard_sigmoid, keras.activations.softmax)
    return getattr(layer, "activation", None) in named


def batch_order(examples: int, batch_size: int, seed: int, *names: str | int) -> BatchOrder:
    """The order of a training's batches, decided by its seed and names."""
    return BatchOrder(examples, batch_size, seeds.stream(seed, "order", *names))


def dropout_seed(state: Any, seed: int, *names: str | int) -> np.ndarray:
    """What the state of a layer's random generator begins a training with, decided by its seed and names."""
    return np.array([seeds.integer(seed, "dropout", *names), 0]).astype(state.dtype)
