"""Models with several inputs or outputs: the order and the structure of x, y and outputs.

x is one array for a model with one input, otherwise a tuple of arrays in the order of `model.inputs`. So are y and
outputs in the order of `model.outputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lth_keras.system import shown


def each(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """The function of one array, or of every array of a tuple; `others` have the structure of `first`."""
    return tuple(map(function, first, *others)) if isinstance(first, tuple) else function(first, *others)


def count(x: Any) -> int:
    """The number of examples."""
    return int((x[0] if isinstance(x, tuple) else x).shape[0])


def rows(x: Any, chosen: Any) -> Any:
    """The chosen examples: an index or a slice of every array."""
    return each(lambda array: array[chosen], x)


def joined(parts: Sequence[Any]) -> Any:
    """Arrays, or tuples of arrays, of several parts of the examples as arrays of all of them."""
    return each(lambda *arrays: np.concatenate(arrays), *parts)


def as_called(model: keras.Model, x: Any) -> Any:
    """X in the structure that a call of the model takes: a list, tuple or dict of several inputs."""
    return keras.tree.pack_sequence_as(model.input, list(x)) if isinstance(x, tuple) else x


def in_order(outputs: Any) -> Any:
    """What a call of a model returns, as one tensor or a tuple of several."""
    found = keras.tree.flatten(outputs)
    return tuple(found) if len(found) > 1 else found[0]


def is_single(model: keras.Model) -> bool:
    """Whether a model has one input and one output."""
    return len(model.inputs) == len(model.outputs) == 1


def input_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's inputs, as Keras' `fit` knows them: the keys of a dict, otherwise those of the tensors."""
    tensors = _tensors(model, "inputs")
    return _names(model, "input", tensors, [tensor.name for tensor in tensors])


def output_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's outputs, as Keras' `fit` knows them: the keys of a dict, otherwise those of the layers."""
    tensors = _tensors(model, "outputs")
    return _names(model, "output", tensors, [tensor._keras_history.operation.name for tensor in tensors])


def _tensors(model: keras.Model, which: str) -> Sequence[Any]:
    found: Sequence[Any] | None = getattr(model, which, None)
    if found is None:
        raise ValueError(
            f"Expected a Sequential or Functional model, whose {which} are known, to use it with data. Received: "
            f"{type(model).__name__}. Make one of it: x = keras.Input(shape), and keras.Model(x, model(x))."
        )
    return found


def _names(model: keras.Model, which: str, tensors: Sequence[Any], otherwise: Sequence[str]) -> tuple[str, ...]:
    structure = getattr(model, which) if len(tensors) > 1 else None
    if not isinstance(structure, Mapping) or len(structure) != len(tensors):
        return tuple(otherwise)
    places = keras.tree.pack_sequence_as(structure, list(range(len(tensors))))
    return tuple(sorted(places, key=places.get))


def ordered(what: str, names: Sequence[str], given: Any) -> tuple[Any, ...]:
    """Entries for several inputs or outputs, given as a list, a tuple or a dict by name, in the order of the names.

    Args:
        what: what they are, for errors, such as "Split 'train': Expected x".
        names: of the model's inputs or outputs.
        given: the entries.

    Raises:
        ValueError: for another number or other names, or names that several outputs share.
    """
    by_name = isinstance(given, Mapping)
    if by_name and len(set(names)) == len(names) and set(given) == set(names):
        return tuple(given[name] for name in names)
    if isinstance(given, list | tuple) and len(given) == len(names):
        return tuple(given)
    received = f"a dict of {list(given)}" if by_name else shown(given)
    if isinstance(given, list | tuple):
        received = f"{len(given)} entries"
    raise ValueError(
        f"{what} for each of {', '.join(map(repr, names))}: a list or tuple in this order, or a dict by these names. "
        f"Received: {received}."
    )
