"""Scores the weights of a masked model as they are: what one-shot pruning and pruning during `fit` share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras import seeds
from lth_keras.arrays import Array, LazyArrays, Weights
from lth_keras.backends import rows
from lth_keras.criteria import Criterion, State, criterion, name_of
from lth_keras.data import check_examples, draw_samples, largest_output, losses_of
from lth_keras.mask import Mask
from lth_keras.masking import lora_updates, prunable_weights, variables
from lth_keras.pruning.model_derivatives import ModelDerivatives


def scorer(
    model: keras.Model,
    name_or_function: str | Criterion,
    generator: np.random.Generator,
    initial: Weights | None = None,
    derivatives: ModelDerivatives | None = None,
) -> Callable[[Mask], Mapping[str, Array]]:
    """A function that scores a masked model's weights under a mask.

    Args:
        model: built, with masked layers; its weights are read when the function is called.
        name_or_function: the criterion.
        generator: for criteria that draw.
        initial: the weights before training, by key.
        derivatives: of the model, for criteria that take gradients.
    """
    score, name = criterion(name_or_function), name_of(name_or_function)
    weights, updates = current_weights(model), lora_updates(model)
    return lambda mask: score(State(weights, mask, generator, initial, derivatives, name, updates=updates))


def current_weights(model: keras.Model) -> LazyArrays:
    """The weights of a model by key, each read when it is accessed."""
    values = variables(model)
    shapes = {key: tuple(variable.shape) for key, variable in values.items()}
    return LazyArrays(shapes, lambda key: keras.ops.convert_to_numpy(values[key]))


def weights_by_key(model: keras.Model, weights: Sequence[Any]) -> dict[str, np.ndarray]:
    """Weight key to array, of arrays in the order of `model.get_weights()`.

    Raises:
        ValueError: for arrays of other shapes.
    """
    keys = {id(variable): key for key, variable in variables(model).items()}
    arrays = [np.asarray(weight) for weight in weights]
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in model.weights]:
        raise ValueError(
            "Expected initial to be what model.get_weights() gave before training: "
            f"{len(model.weights)} arrays of the shapes of the model's weights. Received: {len(arrays)} arrays of "
            f"shapes {[array.shape for array in arrays]}."
        )
    return {keys[id(v)]: array for v, array in zip(model.weights, arrays, strict=True) if id(v) in keys}


def derivatives_on(
    model: keras.Model, data: Any, loss: Any, samples_per_class: int | None = None, seed: int = 0
) -> ModelDerivatives:
    """The derivatives of a masked model's loss on data.

    Args:
        model: built, with masked layers.
        data: `(x, y)`, or None where no criterion takes them.
        loss: see `lth_keras.data.losses_of`.
        samples_per_class: examples of each class to draw from `data`; None takes all of them.
        seed: decides which.

    Raises:
        ValueError: for data that do not fit the model or the loss, or too few examples of a class.
    """
    if data is None:
        return ModelDerivatives(model, loss)
    loss = losses_of(model, loss)
    x, y = check_examples(model, loss, data)
    if samples_per_class is not None:
        chosen = draw_samples(y, samples_per_class, largest_output(model), seeds.stream(seed, "prune", "samples"))
        x, y = rows(x, chosen), rows(y, chosen)
    return ModelDerivatives(model, loss).on(lambda: (x, y))


def warn_of_frozen(model: keras.Model, stacklevel: int = 2) -> None:
    """Warns of prunable weights whose layers are frozen."""
    frozen = [weight.key for weight in prunable_weights(model) if not weight.layer.trainable]
    if frozen:
        warnings.warn(
            f"Pruned too, though their layers are frozen (trainable=False): {', '.join(frozen)}.",
            stacklevel=stacklevel + 1,
        )
