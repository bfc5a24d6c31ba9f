"""Weights of training examples: given, or by the class of each example."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lth_keras.backends import LossKind, loss_facts
from lth_keras.system import integer, real, shown


def checked_weights(given: Any, examples: int) -> np.ndarray:
    """Weights of training examples as float32.

    Args:
        given: an array, `(examples,)`, of finite numbers from 0.
        examples: number of training examples.

    Raises:
        ValueError: for anything else.
    """
    weights = np.asarray(given)
    numbers = np.issubdtype(weights.dtype, np.number) or weights.dtype == bool
    if not numbers or weights.shape != (examples,) or not np.isfinite(weights).all() or weights.min() < 0:
        received = f"{weights.dtype} of shape {weights.shape}" if weights.shape else shown(given)
        raise ValueError(
            f"Split 'train': Expected sample_weight as {examples} finite numbers from 0, one for each example. "
            f"Received: {received}."
        )
    return weights.astype(np.float32)


def check_class_weight(name: str, given: Any) -> dict[int, float]:
    """The weight of each class by its index.

    Raises:
        ValueError: for other keys than indices, or weights that are negative or not finite.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"Expected {name} to be a dict from class index to weight. Received: {shown(given)}.")
    indices = [integer(f"each class of {name}", index, 0) for index in given]
    weights = {index: float(real(f"each weight of {name}", given[index])) for index in sorted(indices)}
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise ValueError(f"Expected finite weights from 0 in {name}. Received: {weights}.")
    return weights


def weights_of_classes(loss: Any, y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each example by its class, as Keras' `fit` computes it: 1 for classes without a weight.

    Args:
        loss: as Keras' `compile` takes it.
        y: labels, class indices or a probability for each class.
        class_weight: class index to weight.

    Raises:
        ValueError: for labels that do not give one class to each example.
    """
    if isinstance(y, tuple):
        raise ValueError(
            f"Expected class_weight=None for a model with several outputs. Received: {dict(class_weight)} and "
            f"{len(y)} outputs; give a sample_weight, (x, y, sample_weight) of the training examples."
        )
    several = y.ndim > 1 and y.shape[-1] != 1
    if y.ndim > 2 or (several and loss_facts(loss).kind != LossKind.CATEGORICAL):
        raise ValueError(
            "Expected labels with one class for each example, indices or probabilities of a categorical loss, to "
            f"weight classes. Received: labels of shape {y.shape[1:]} with the loss {loss_facts(loss).name}."
        )
    classes = np.argmax(y, axis=-1) if several else y.reshape(len(y))
    return np.array([class_weight.get(int(index), 1.0) for index in np.round(classes)], np.float32)
