"""Checks of splits, whose arrays must fit the model and the loss, and of how often to evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.backends import SAMPLE_WEIGHT, Arrays, Losses, count, input_names, ordered, output_names
from lth_keras.data.labels import checked_labels, fits
from lth_keras.data.reader import first_examples
from lth_keras.data.streams import Stream, is_stream
from lth_keras.data.weights import checked_weights
from lth_keras.masking import input_rows
from lth_keras.system import integer, shown

SPLITS = ("train", "validation", "test")
_Pair = tuple[Sequence[Any], Sequence[Any]]
"""x of each input and y of each output, as they are given."""


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
        model: built.
        loss: see `losses_of`.
        data: see `Network.load`.

    Raises:
        ValueError: naming the split, what was expected and what was received.
    """
    without = data.get("without_validation") if isinstance(data, Mapping) else getattr(data, "without_validation", 0)
    splits: dict[str, Any] = {}
    for name in SPLITS:
        part = split_of(data, name)
        if is_stream(part):
            splits[name] = Stream(name, part, partial(_checked_batch, model, loss, name)).readable()
            first_examples(splits[name], 1)  # checks them
        else:
            may_be_empty = bool(without) and name == "validation"
            splits[name] = _checked(model, loss, name, part_in_order(data, name, model), may_be_empty)
    weights = sample_weights_of(data)
    if weights is not None:
        splits[SAMPLE_WEIGHT] = checked_weights(weights, count(splits["train"][0]))
    return splits


def check_examples(model: keras.Model, loss: Any, data: Any) -> Arrays:
    """The arrays of one pair (x, y) of examples and labels, checked against the model and the loss.

    Args:
        model: built.
        loss: see `losses_of`.
        data: the pair; see `Network.load`.

    Raises:
        ValueError: for data that is not a pair, has no labels or does not fit.
    """
    if not isinstance(data, Sequence) or len(data) != 2 or any(part is None for part in data):
        raise ValueError(f"Expected data as a pair (x, y): examples and their labels. Received: {type(data).__name__}.")
    return _checked(model, loss, "data", _in_order(model, "data", *data), False)


class _Given(NamedTuple):
    """x or y of one input or output: what it is, for errors, its array and the input or output."""

    what: str
    place: str
    array: np.ndarray
    tensor: Any


def _checked(model: keras.Model, loss: Any, name: str, given: _Pair, may_be_empty: bool) -> Arrays:
    inputs = _arrays(name, "x", "input", given[0], input_names(model), model.inputs)
    outputs = _arrays(name, "y", "output", given[1], output_names(model), model.outputs)
    lengths = [len(one.array) for one in (*inputs, *outputs)]
    if may_be_empty and not any(lengths):
        return _as_given(inputs), _as_given(outputs)
    if not lengths[0] or len(set(lengths)) > 1:
        received = " and ".join(map(str, lengths))
        raise ValueError(f"Split {name!r}: Expected x and y of one length, not empty. Received: {received}.")
    for one in inputs:
        if not fits(one.array.shape[1:], one.tensor.shape[1:]):
            expected = f"Expected examples of shape {one.tensor.shape[1:]}"
            raise ValueError(f"{one.place}: {expected}. Received: {one.array.shape[1:]}.")
    for one in (*inputs, *outputs):
        _check_numbers(one)
    for one, rows in zip(inputs, input_rows(model), strict=True):
        x = one.array
        if rows is not None and (x.min() < 0 or x.max() >= rows):
            raise ValueError(
                f"{one.place}: Expected row numbers in 0 ... {rows - 1}, which the model's embedding has. "
                f"Received: numbers from {x.min()} to {x.max()}."
            )
    losses = loss.of_outputs if isinstance(loss, Losses) else (loss,) * len(outputs)
    checked = [
        one._replace(array=checked_labels(own, one.tensor.shape, one.place, one.array))
        for own, one in zip(losses, outputs, strict=True)
    ]
    return _as_given(inputs), _as_given(checked)


def _checked_batch(model: keras.Model, loss: Any, name: str, pair: tuple[Any, Any]) -> Arrays:
    return _checked(model, loss, name, _in_order(model, name, *pair), False)


def _arrays(
    name: str, what: str, kind: str, given: Sequence[Any], names: Sequence[str], tensors: Sequence[Any]
) -> list[_Given]:
    several, split = len(names) > 1, f"Split {name!r}"
    places = [f"{split}, {kind} {own!r}" if several else split for own in names]
    return [
        _Given(what, place, _array(place, what, array), tensor)
        for place, array, tensor in zip(places, given, tensors, strict=True)
    ]


def _as_given(parts: Sequence[_Given]) -> Any:
    """The array of one input or output, or a tuple of several."""
    return parts[0].array if len(parts) == 1 else tuple(one.array for one in parts)


def _check_numbers(one: _Given) -> None:
    array = one.array
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise ValueError(f"{one.place}: Expected {one.what} to hold numbers. Received: dtype {array.dtype}.")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise ValueError(f"{one.place}: Expected finite {one.what}. Received: NaN or infinity in it.")


def _array(place: str, what: str, given: Any) -> np.ndarray:
    if remedy := _remedy(given):
        raise ValueError(f"{place}: Expected {what} as an array{remedy}. Received: {shown(given)}.")
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"{place}: Expected {what} as an array. Received: {error}.") from None
    if not array.ndim:
        raise ValueError(f"{place}: Expected {what} as an array of examples. Received: {shown(given)}.")
    return array


def part_in_order(data: Any, name: str, model: keras.Model | None = None) -> _Pair:
    """The arrays of a split as they are given: x of each input and y of each output, in the model's order.

    Args:
        data: see `Network.load`.
        name: of the split.
        model: built; None for one with one input and one output.

    Raises:
        ValueError: see `part_of`; for other inputs or outputs than the model's.
    """
    pair = part_of(data, name)
    if pair is not None:
        return _in_order(model, name, *pair)
    train = split_of(data, "train")
    pair = first_examples(Stream("train", train), 1) if is_stream(train) else part_of(data, "train")
    x, y = _in_order(model, "train", *pair)
    return [array[:0] for array in x], [array[:0] for array in y]


def _in_order(model: keras.Model | None, name: str, x: Any, y: Any) -> _Pair:
    names = (("",), ("",)) if model is None else (input_names(model), output_names(model))
    of_inputs, of_outputs = (
        (given,) if len(own) == 1 else ordered(f"Split {name!r}: Expected {what}", own, given)
        for what, own, given in zip(("x", "y"), names, (x, y), strict=True)
    )
    return of_inputs, of_outputs


def part_of(data: Any, name: str) -> Any:
    """The pair (x, y) of a split; None for validation that there is not.

    Raises:
        ValueError: for data without such an attribute or key, or where it is not a pair.
    """
    part = split_of(data, name)
    if part is None and name == "validation" and split_of(data, "without_validation"):
        return None
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
    for what, given in zip(("x", "y"), part, strict=True):
        for array in given.values() if isinstance(given, Mapping) else (given,):
            if array is None or isinstance(array, str | Mapping) or _remedy(array):
                expected = f"Expected {what} as an array{_remedy(array)}"
                raise ValueError(f"Split {name!r}: {expected}. Received: {shown(array)}.")
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
