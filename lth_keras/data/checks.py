"""Checks of splits, whose arrays must fit the model and the loss, and of how often to evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from lth_keras.backends import SAMPLE_WEIGHT, Arrays
from lth_keras.data.labels import checked_labels, fits
from lth_keras.data.reader import first_examples
from lth_keras.data.streams import Stream, is_stream
from lth_keras.data.weights import checked_weights
from lth_keras.masking import input_rows
from lth_keras.system import integer, shown

SPLITS = ("train", "validation", "test")


def check_cadence(evaluate_every: int, test_every: int | None) -> int:
    """Steps between tests: `test_every`, or ten times `evaluate_every` if it is None.

    Raises:
        ValueError: for an `evaluate_every` below 1, or a `test_every` that is not a multiple of it.
    """
    if integer("evaluate_every", evaluate_every) < 1:
        raise ValueError(f"Expected evaluate_every to be at least 1 step. Received: {evaluate_every}.")
    test_every = 10 * evaluate_every if test_every is None else integer("test_every", test_every)
    if test_every < 1 or test_every % evaluate_every:
        raise ValueError(
            f"Expected test_every to be a multiple of evaluate_every ({evaluate_every} steps). Received: {test_every}."
        )
    return test_every


def check_patience(patience: int | None, validated: bool) -> None:
    """Raises ValueError for a patience below 1 evaluation, or without a validation split."""
    if patience is not None and (integer("patience", patience) < 1 or not validated):
        raise ValueError(
            "Expected patience of at least 1 evaluation, and a validation split that decides. "
            f"Received: patience={patience}, {'with' if validated else 'without'} a validation split."
        )


def check_splits(model: keras.Model, loss: Any, data: Any) -> dict[str, Any]:
    """The arrays of the splits, checked against the model and the loss; see `lth_keras.backends.program.Splits`.

    Args:
        model: built, with one input and one output.
        loss: as Keras' `compile` takes it.
        data: see `Network.load`.

    Raises:
        ValueError: naming the split, what was expected and what was received.
    """
    without = data.get("without_validation") if isinstance(data, Mapping) else getattr(data, "without_validation", 0)
    rows = input_rows(model)
    splits: dict[str, Any] = {}
    for name in SPLITS:
        part = split_of(data, name)
        if is_stream(part):
            check = partial(_checked, model, loss, name, may_be_empty=False, rows=rows)
            splits[name] = Stream(name, part, check).readable()
            first_examples(splits[name], 1)  # checks them
        else:
            pair, may_be_empty = part_of(data, name), bool(without) and name == "validation"
            splits[name] = _checked(model, loss, name, pair, may_be_empty, rows)
    weights = sample_weights_of(data)
    if weights is not None:
        splits[SAMPLE_WEIGHT] = checked_weights(weights, len(splits["train"][0]))
    return splits


def check_examples(model: keras.Model, loss: Any, data: Any) -> Arrays:
    """The arrays of one pair (x, y) of examples and labels, checked against the model and the loss.

    Args:
        model: built.
        loss: as Keras' `compile` takes it.
        data: the pair; see `Network.load`.

    Raises:
        ValueError: for data that is not a pair, has no labels or does not fit, or a model with several inputs or
            outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Expected a model with one input and one output, to score it on data. Received: {len(model.inputs)} and "
            f"{len(model.outputs)}."
        )
    if not isinstance(data, Sequence) or len(data) != 2 or any(part is None for part in data):
        raise ValueError(f"Expected data as a pair (x, y): examples and their labels. Received: {type(data).__name__}.")
    return _checked(model, loss, "data", data, False, input_rows(model))


def _checked(model: keras.Model, loss: Any, name: str, part: Any, may_be_empty: bool, rows: int | None) -> Arrays:
    x, y = (_array(name, what, array) for what, array in zip(("x", "y"), part, strict=True))
    expected = model.input_shape[1:]
    if may_be_empty and len(x) == len(y) == 0:
        return x, y
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"Split {name!r}: Expected x and y of one length, not empty. Received: {len(x)} and {len(y)}.")
    if not fits(x.shape[1:], expected):
        raise ValueError(f"Split {name!r}: Expected examples of shape {expected}. Received: {x.shape[1:]}.")
    for what, array in (("x", x), ("y", y)):
        if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
            raise ValueError(f"Split {name!r}: Expected {what} to hold numbers. Received: dtype {array.dtype}.")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ValueError(f"Split {name!r}: Expected finite {what}. Received: NaN or infinity in it.")
    if rows is not None and (x.min() < 0 or x.max() >= rows):
        raise ValueError(
            f"Split {name!r}: Expected row numbers in 0 ... {rows - 1}, which the model's embedding has. "
            f"Received: numbers from {x.min()} to {x.max()}."
        )
    return x, checked_labels(loss, model.output_shape, name, y)


def _array(name: str, what: str, given: Any) -> np.ndarray:
    if remedy := _remedy(given):
        raise ValueError(f"Split {name!r}: Expected {what} as an array{remedy}. Received: {shown(given)}.")
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"Split {name!r}: Expected {what} as an array. Received: {error}.") from None
    if not array.ndim:
        raise ValueError(f"Split {name!r}: Expected {what} as an array of examples. Received: {shown(given)}.")
    return array


def part_of(data: Any, name: str) -> Any:
    """The pair (x, y) of a split.

    Raises:
        ValueError: for data without such an attribute or key, or where it is not a pair.
    """
    part = split_of(data, name)
    if part is None and name == "validation" and split_of(data, "without_validation"):
        train = split_of(data, "train")
        x, y = first_examples(Stream("train", train), 1) if is_stream(train) else part_of(data, "train")
        return x[:0], y[:0]
    expected = f"Expected data with {SPLITS}, as keys or attributes, each a pair (x, y)"
    if name == "train" and isinstance(part, tuple | list) and len(part) == 3:
        part = part[:2]
    received = f"Received: {type(data).__name__} whose {name!r} is {shown(part)}"
    if isinstance(part, float) and name == "validation":
        raise ValueError(f"{expected}. {received}; split the arrays before, e.g. by numpy or scikit-learn.")
    if part is None and name == "validation":
        raise ValueError(
            f"{expected}. {received}. Where there are no examples to decide the early stop, say so by an attribute or "
            "key without_validation=True: the last step counts as it then."
        )
    if isinstance(part, str | Mapping) or hasattr(part, "columns") or not hasattr(part, "__len__") or len(part) != 2:
        raise ValueError(f"{expected}{_remedy(part)}. {received}.")
    for what, array in zip(("x", "y"), part, strict=True):
        if array is None or isinstance(array, str | Mapping) or _remedy(array):
            raise ValueError(f"Split {name!r}: Expected {what} as an array{_remedy(array)}. Received: {shown(array)}.")
    return part


def sample_weights_of(data: Any) -> Any:
    """The weights of the training examples: the third entry of `train`, or None."""
    part = split_of(data, "train")
    return part[2] if isinstance(part, tuple | list) and len(part) == 3 else None


def check_split(data: Any, name: str) -> None:
    """Raises ValueError unless data have a split of this name, a pair (x, y) or a stream that a training can read."""
    part = split_of(data, name)
    if is_stream(part):
        Stream(name, part).readable()
    else:
        part_of(data, name)


def split_of(data: Any, name: str) -> Any:
    """An attribute or entry of data as it is given; None if there is none."""
    return data.get(name) if isinstance(data, Mapping) else getattr(data, name, None)


def _remedy(given: Any) -> str:
    """How to convert examples that are not arrays; empty for what numpy converts."""
    if type(given).__module__.startswith("scipy.sparse"):
        return ": make a sparse matrix one with .toarray()"
    if hasattr(given, "element_spec"):
        return ": take those of a tf.data.Dataset with keras.utils.split_dataset or list(dataset.as_numpy_iterator())"
    if hasattr(given, "__next__") or isinstance(given, keras.utils.PyDataset) or hasattr(given, "batch_sampler"):
        return " of all examples: a search trains on arrays in memory, not on a generator or loader of batches"
    return ""
