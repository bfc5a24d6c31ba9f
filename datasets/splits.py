"""Train, validation and test arrays with their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """The examples of one split: `x` of shape (n, ...), the labels `y` of shape (n,) or, multi-label, (n, classes)."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Splits:
    """A data set with splits for training, early stopping and testing.

    Attributes:
        name: the data set.
        train, validation, test: `x` finite, with the same shape per example and dtype in all three; `y` integer class
            indices in [0, len(classes)), shape (n,). For multi-label data `y` is float32, 1 for the classes of an
            example and 0 for the others, shape (n, len(classes)), in all three.
        classes: the name of each class, by index.
        x_meaning: shape, range and unit of `x`.
        y_meaning: shape, range and unit of `y`.
        without_validation: whether `validation` has no examples. Otherwise it must have some.
        provenance: how the arrays were made, if that can differ; recorded with results.

    Raises:
        ValueError: if a split is empty (or `validation` disagrees with `without_validation`), `x` and `y` differ in
            length, splits differ in the shape or dtype of an example or in the kind of labels, a label is out of range
            or has a wrong dtype, or a feature is NaN or infinite.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    x_meaning: str
    y_meaning: str
    without_validation: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the arrays."""
        for split_name in ("train", "validation", "test"):
            split = getattr(self, split_name)
            where = f"{self.name}, split {split_name!r}"
            _check_split(where, split, len(self.classes), empty=self.without_validation and split_name == "validation")
            expected = (self.train.x.shape[1:], self.train.x.dtype)
            received = (split.x.shape[1:], split.x.dtype)
            if received != expected:
                raise ValueError(
                    f"{where}: Expected examples like those of split 'train', shape "
                    f"{expected[0]} of {expected[1]}. Received: shape {received[0]} of "
                    f"{received[1]}. Prepare all splits in the same way."
                )
            if split.y.ndim != self.train.y.ndim:
                raise ValueError(
                    f"{where}: Expected labels like those of split 'train', {self.train.y.ndim} axes. "
                    f"Received: y {split.y.shape}. Prepare all splits in the same way."
                )

    @property
    def multi_label(self) -> bool:
        """Whether examples may have several classes, with `y` of shape (n, len(classes))."""
        return self.train.y.ndim == 2


def named_generator(seed: int, name: str) -> np.random.Generator:
    """Return the random stream `name` of `seed`, independent of those of other names.

    Args:
        seed: a non-negative integer.
        name: the purpose of the stream, for example "mnist/validation".

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"Expected a seed of 0 or more. Received: seed={seed}.")
    return np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))


def check_validation(name: str, validation: int, available: int) -> None:
    """Raise ValueError unless `validation` of `available` examples leaves some for training."""
    if not 0 < validation < available:
        raise ValueError(
            f"{name}: Expected a validation size in [1, {available - 1}], as it is taken out of "
            f"{available} examples and some must stay for training. Received: {validation}."
        )


def _check_split(where: str, split: Split, classes: int, *, empty: bool) -> None:
    x, y = split
    shaped = y.ndim == 1 or y.shape[1:] == (classes,)
    if not shaped or x.ndim < 2 or len(x) != len(y) or (len(y) == 0) != empty:
        count = "n = 0, as there is to be no validation split" if empty else "n > 0"
        raise ValueError(
            f"{where}: Expected x of shape (n, ...) and y of shape (n,) or, multi-label, (n, {classes}), {count}. "
            f"Received: x {x.shape}, y {y.shape}."
        )
    check_labels = _check_one_class if y.ndim == 1 else _check_any_classes
    check_labels(where, y, classes)
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x).reshape(len(x), -1).all(axis=1)).argmax())
        raise ValueError(f"{where}: Expected finite x. Received: NaN or infinity, first in example {bad}.")


def _check_one_class(where: str, y: np.ndarray, classes: int) -> None:
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{where}: Expected integer labels. Received: dtype {y.dtype}.")
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(
            f"{where}: Expected labels in [0, {classes - 1}], one for each of {classes} classes. "
            f"Received: labels from {y.min()} to {y.max()}."
        )


def _check_any_classes(where: str, y: np.ndarray, classes: int) -> None:
    if y.dtype != np.float32:
        raise ValueError(f"{where}: Expected multi-label y of float32. Received: dtype {y.dtype}.")
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        example, place = np.argwhere(wrong)[0]
        raise ValueError(
            f"{where}: Expected 1 or 0 for each of {classes} classes. "
            f"Received: {y[example, place]} for class {place} in example {example}."
        )
