"""The network wrapper: owns a Keras model and its data; trains, evaluates, masks and rewinds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from lth_keras import seeds
from lth_keras.lazy import LazyArrays
from lth_keras.masking import get_mask, mask_model, prunable_weights, seed_states, set_mask, variables, walk
from lth_keras.masks import Mask
from lth_keras.rewinding import draw_weights, own_array
from lth_keras.training import BatchOrder, Curves, make_program, train

Arrays = tuple[np.ndarray, np.ndarray]
SPLITS = ("train", "validation", "test")


class Network:
    """A masked Keras model with its compiled training program and its data.

    The program is built once. Levels, branches and trials only assign new values, so none of them costs memory that
    the one before did not.

    Args:
        build: makes the Keras model, `() -> keras.Model`; plain or masked layers. Its weights are drawn anew from
            the seed of each trial (`draw_weights`), also where `build` fixes the seeds of its initialisers.
        optimizer: makes the optimiser, `() -> keras.Optimizer`.
        loss: as Keras' `compile` takes it.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; ten times it by
            default. Test data decides nothing.
        evaluation_batch_size: examples per forward pass of an evaluation.
        jit_compile: whether to compile with XLA. None decides by the model: not where it has convolutions, which XLA
            runs slower than TensorFlow on CPUs.

    Raises:
        ValueError: where the model has nothing to prune, is not built or has several inputs or outputs, or where the
            cadences do not fit.
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
    ) -> None:
        self._build = build
        self.test_every = check_cadence(evaluate_every, test_every)
        made = build()
        if not isinstance(made, keras.Model):
            raise TypeError(f"Expected build() to return a keras.Model. Received: {type(made).__name__}.")
        self.model = mask_model(made)
        self._prunable = prunable_weights(self.model)
        if len(self.model.inputs) != 1 or len(self.model.outputs) != 1:
            raise ValueError(
                f"Expected a model with one input and one output. Received: {len(self.model.inputs)} and "
                f"{len(self.model.outputs)}."
            )
        self._variables = variables(self.model)
        self._owners = _owners(self.model, self._variables)
        self._seed_states = seed_states(self.model)
        self.batch_size = batch_size
        self.loss = loss
        used = optimizer()
        if not isinstance(used, keras.Optimizer):
            raise TypeError(f"Expected optimizer() to return a keras.Optimizer. Received: {type(used).__name__}.")
        if jit_compile is None:
            jit_compile = not any("Conv" in type(layer).__name__ for _, layer in walk(self.model))
        self._program = make_program(
            self.model,
            used,
            loss,
            list(self._variables.values()),
            batch_size=batch_size,
            evaluate_every=evaluate_every,
            evaluation_batch_size=evaluation_batch_size,
            jit_compile=jit_compile,
        )
        self._splits: dict[str, Arrays] = {}

    def load(self, data: Any) -> None:
        """Takes the data of a trial.

        Args:
            data: train, validation and test, as attributes or keys, each a pair (x, y) of arrays of one length. x
                has the model's input shape; y is what the loss takes (class indices for sparse losses).

        Raises:
            ValueError: for a missing or empty split, shapes that do not fit the model, labels out of range, or values
                that are not finite.
        """
        splits = {name: check_split(self.model, self.loss, name, part_of(data, name)) for name in SPLITS}
        if len(splits["train"][0]) < self.batch_size:
            raise ValueError(
                f"Expected at least one batch of {self.batch_size} training examples. "
                f"Received: {len(splits['train'][0])}."
            )
        self._splits = splits
        self._program.load(splits["train"], splits["validation"])

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the training split."""
        return len(self._splits["train"][0]) // self.batch_size

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each prunable weight, as pruning rates name it: `dense`, `conv`, `embedding` or `output`."""
        return {weight.key: weight.kind for weight in self._prunable}

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
        for key, variable in self._variables.items():
            variable.assign(weights[key])

    @cached_property
    def _weights(self) -> LazyArrays:
        shapes = {key: tuple(variable.shape) for key, variable in self._variables.items()}
        return LazyArrays(shapes, lambda key: own_array(self._variables[key]))

    def _check_keys(self, weights: Mapping[str, np.ndarray]) -> None:
        if weights.keys() != self._variables.keys():
            raise ValueError(f"Expected weights for {list(self._variables)}. Received: {list(weights)}.")

    def draw_weights(self, seed: int, *names: str | int) -> Mapping[str, np.ndarray]:
        """Draws all weights from their initialisers, decided by the seed and the names alone; the model keeps its own.

        Returns:
            Weight key to array: all weights of the model, biases and statistics included. Each is drawn when its key
            is accessed, the same values every time, and not kept.
        """
        return draw_weights(
            self._owners,
            lambda: variables(mask_model(self._build())),
            lambda key: seeds.integer(seed, *names, key),
        )

    def rewind(self, weights: Mapping[str, np.ndarray], mask: Mask) -> None:
        """Makes the model the ticket of these weights under this mask: pruned weights are set to zero.

        Args:
            weights: all weights by key.
            mask: which of the prunable ones take part.
        """
        self._check_keys(weights)
        self.mask = mask
        for key, variable in self._variables.items():
            value = weights[key]
            variable.assign(value * mask[key] if key in mask else value)
            del value  # before the next is made

    def train(
        self,
        steps: int,
        *,
        seed: int,
        names: tuple[str | int, ...] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Curves:
        """Trains from the weights as they are, with the optimiser as it was after build.

        Args:
            steps: optimiser updates.
            seed: with `names`, decides data order and dropout.
            names: name the stream, e.g. the level.
            progress: called with (steps done, steps in all) about every half second.

        Raises:
            NonFiniteLossError: where the loss becomes NaN or infinite.
            RuntimeError: where no data is loaded.
        """
        if not self._splits:
            raise RuntimeError("Expected data to be loaded before training. Call load(splits) first.")
        for i, state in enumerate(self._seed_states):
            state.assign(np.array([seeds.integer(seed, "dropout", *names, i), 0]).astype(state.dtype))
        order = BatchOrder(len(self._splits["train"][0]), self.batch_size, seeds.stream(seed, "order", *names))
        return train(
            self._program,
            order,
            steps=steps,
            test=self._splits["test"],
            test_every=self.test_every,
            progress=progress,
        )

    def evaluate(self, split: str = "test") -> tuple[float, float]:
        """Mean loss (without regularisation terms) and accuracy in [0, 1] on `train`, `validation` or `test`."""
        if split not in self._splits:
            raise ValueError(f"Expected a loaded split of {SPLITS}. Received: {split!r}.")
        return self._program.evaluate(*self._splits[split])

    def evaluate_best(self, split: str = "test") -> tuple[float, float]:
        """As `evaluate`, for the weights of least validation loss in the last training; the model keeps its own."""
        current = dict(self.weights)
        try:
            self.weights = dict(zip(self._variables, self._program.best_weights(), strict=True))
            return self.evaluate(split)
        finally:
            self.weights = current


def check_cadence(evaluate_every: int, test_every: int | None) -> int:
    """The cadence of tests: `test_every`, or ten times `evaluate_every` where it is None.

    Raises:
        ValueError: where `evaluate_every` is not positive or `test_every` is not a multiple of it.
    """
    if evaluate_every < 1:
        raise ValueError(f"Expected evaluate_every to be at least 1 step. Received: {evaluate_every}.")
    test_every = 10 * evaluate_every if test_every is None else test_every
    if test_every < 1 or test_every % evaluate_every:
        raise ValueError(
            f"Expected test_every to be a multiple of evaluate_every ({evaluate_every} steps). Received: {test_every}."
        )
    return test_every


def check_split(model: keras.Model, loss: Any, name: str, part: Any) -> Arrays:
    """The arrays of a split, where they fit the model and the loss.

    Raises:
        ValueError: naming the split, what was expected and what was received.
    """
    x, y = (np.asarray(array) for array in part)
    expected = model.input_shape[1:]
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"Split {name!r}: Expected x and y of one length, not empty. Received: {len(x)} and {len(y)}.")
    if not _fits(x.shape[1:], expected):
        raise ValueError(f"Split {name!r}: Expected examples of shape {expected}. Received: {x.shape[1:]}.")
    for what, array in (("x", x), ("y", y)):
        if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
            raise ValueError(f"Split {name!r}: Expected {what} to hold numbers. Received: dtype {array.dtype}.")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"Split {name!r}: Expected finite {what}. Received: NaN or infinity in it.")
    loss_name = getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss
    if "sparse_categorical" in str(loss_name):
        *places, classes = model.output_shape[1:]
        if not (_fits(y.shape[1:], places) or _fits(y.shape[1:], [*places, 1])):
            raise ValueError(
                f"Split {name!r}: Expected one class index per output, labels of shape {(len(y), *places)}. "
                f"Received: {y.shape}; for one-hot labels use categorical_crossentropy."
            )
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(
                f"Split {name!r}: Expected labels in 0 ... {classes - 1} (the model has {classes} outputs). "
                f"Received: labels from {y.min()} to {y.max()}."
            )
    return x, y


def part_of(data: Any, name: str) -> Any:
    """The pair (x, y) of a split.

    Raises:
        ValueError: where the data have no such attribute or key, or it is no pair.
    """
    part = data.get(name) if isinstance(data, Mapping) else getattr(data, name, None)
    if part is None or len(part) != 2:
        raise ValueError(
            f"Expected data with {SPLITS}, as keys or attributes, each a pair (x, y). "
            f"Received: {type(data).__name__} whose {name!r} is {type(part).__name__}."
        )
    return part


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether an array's shape is as expected, where None stands for any length."""
    return len(shape) == len(expected) and all(e in (None, n) for e, n in zip(expected, shape, strict=True))


def _owners(model: keras.Model, found: Mapping[str, Any]) -> dict[str, tuple[keras.layers.Layer, Any]]:
    """The layer of each variable, by the variable's key."""
    owners: dict[int, keras.layers.Layer] = {}
    for _, layer in walk(model):
        owners |= {id(v): layer for v in layer._trainable_variables + layer._non_trainable_variables}
    return {key: (owners[id(variable)], variable) for key, variable in found.items()}
