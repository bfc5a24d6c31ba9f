"""Checks that labels suit the loss, and converts them to a type that every backend takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lth_keras.backends import LossFacts, LossKind, has_several, loss_facts

_SUM = 1e-3  # how far the shares of an example may be from 1 in all


def checked_labels(loss: Any, output_shape: tuple[int | None, ...], where: str, y: np.ndarray) -> np.ndarray:
    """Labels checked against the loss and the outputs, in a type that the loss computes with.

    Class indices keep their type. Labels that are compared with outputs become float32 if they are integers, booleans
    or float64, since TensorFlow does not convert implicitly.

    Args:
        loss: as Keras' `compile` takes it.
        output_shape: of the model, classes last.
        where: what they are the labels of, for errors: `Split 'train'`.
        y: `(n, ...)`, finite numbers or booleans.

    Raises:
        ValueError: for labels that do not suit the loss, naming where.
    """
    facts = loss_facts(loss)
    if facts.kind == LossKind.SPARSE:
        _check_indices(facts, output_shape, where, y)
        return y
    if facts.kind == LossKind.OWN:
        same = y.ndim == len(output_shape) and fits(y.shape[1:], output_shape[1:])
        return _floating(y) if same or not has_several(output_shape) else y
    check = {
        LossKind.BINARY: _check_shares,
        LossKind.OVERLAP: _check_shares,
        LossKind.HINGE: _check_signs,
        LossKind.CATEGORICAL: _check_distributions,
        LossKind.REGRESSION: _check_numbers,
        LossKind.DIRECTION: _check_numbers,
    }.get(facts.kind)
    if check is None:
        return y
    _check_shape(facts, output_shape, where, y)
    check(facts, where, y)
    return _floating(y)


def _floating(y: np.ndarray) -> np.ndarray:
    return y if np.issubdtype(y.dtype, np.floating) and y.dtype.itemsize <= 4 else y.astype(np.float32)


def _check_indices(facts: LossFacts, output_shape: tuple[int | None, ...], where: str, y: np.ndarray) -> None:
    *places, classes = output_shape[1:]
    assert classes is not None
    if not (fits(y.shape[1:], places) or fits(y.shape[1:], [*places, 1])):
        _refuse(
            where,
            f"one class index per output, labels of shape {(len(y), *places)}",
            f"{y.shape}; for one-hot labels use categorical_crossentropy",
        )
    counted = y if facts.ignored is None else y[y != facts.ignored]
    if np.issubdtype(y.dtype, np.floating) and (np.mod(y, 1) != 0).any():
        broken = y[np.mod(y, 1) != 0].ravel()[0]
        _refuse(
            where, "class indices, whole numbers", f"labels such as {broken}, which {facts.name} would cut to integers"
        )
    if counted.size and (counted.min() < 0 or counted.max() >= classes):
        beside = "" if facts.ignored is None else f", or {facts.ignored}"
        _refuse(
            where,
            f"labels in 0 ... {classes - 1}{beside} (the model has {classes} outputs)",
            f"labels from {counted.min()} to {counted.max()}",
        )


def _check_shape(facts: LossFacts, output_shape: tuple[int | None, ...], where: str, y: np.ndarray) -> None:
    wanted = output_shape[1:]
    if fits(y.shape[1:], wanted) or (wanted[-1:] == (1,) and fits(y.shape[1:], wanted[:-1])):
        return
    what, meaning, remedy = "labels of the outputs' shape", "", ""
    if facts.kind == LossKind.CATEGORICAL:
        what, remedy = "one-hot labels, of shape", "; for class indices use sparse_categorical_crossentropy"
    elif facts.kind in (LossKind.BINARY, LossKind.OVERLAP):
        meaning = ", 1 for an example's classes and 0 for the others"
    _refuse(where, f"{what} {(len(y), *wanted)}{meaning}", f"{y.shape}{remedy}")


def _check_shares(facts: LossFacts, where: str, y: np.ndarray) -> None:
    if y.min() < 0 or y.max() > 1:
        _refuse(
            where,
            f"1 for an example's classes and 0 for the others with {facts.name}",
            f"values from {y.min()} to {y.max()}",
        )


def _check_signs(facts: LossFacts, where: str, y: np.ndarray) -> None:
    if not (((y == -1) | (y == 1)).all() or ((y == 0) | (y == 1)).all()):
        _refuse(where, f"labels -1 and 1, or 0 and 1, with {facts.name}", f"values from {y.min()} to {y.max()}")


def _check_distributions(facts: LossFacts, where: str, y: np.ndarray) -> None:
    sums = y.sum(axis=-1, dtype=np.float64)
    if y.min() < 0 or (np.abs(sums - 1) > _SUM).any():
        _refuse(
            where,
            f"one-hot labels or shares of classes that add up to 1 with {facts.name}",
            f"values from {y.min()} to {y.max()}, sums from {sums.min():g} to {sums.max():g}",
        )


def _check_numbers(facts: LossFacts, where: str, y: np.ndarray) -> None:
    if facts.name in ("Poisson", "MeanSquaredLogarithmicError") and y.min() < 0:
        _refuse(where, f"labels of at least 0 with {facts.name}", f"values from {y.min()}")


def _refuse(where: str, expected: str, received: str) -> None:
    raise ValueError(f"{where}: Expected {expected}. Received: {received}.")


def fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether an array's shape is as expected, where None stands for any length."""
    return len(shape) == len(expected) and all(e in (None, n) for e, n in zip(expected, shape, strict=True))
