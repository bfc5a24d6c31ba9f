"""Copies the state of layers beside their weights: adapted values, tables, seed generators, flags, attributes."""

from __future__ import annotations

import copy
import inspect
import pickle
import tempfile
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

_SAVING = ("save_own_variables", "load_own_variables", "save_assets", "load_assets")
_TABLES = ("lookup_table", "idf_weights", "idf_weights_const")
"""Attributes that Keras' lookup layers replace when they are adapted, and never write into."""
_DEPTH = 6
"""How deep objects in a layer's attributes are compared."""

_Picture = Any
_TRACKED = "tracked elsewhere"


_UNKNOWN = object()
"""Stands for a value whose state cannot be compared."""


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer, place: str) -> None:
    """Gives a layer the state of the layer that it was rebuilt from, apart from its weights.

    The state is that of its seed generators, which of its weights are trained, the tables of lookup layers, and all
    numbers, arrays and text in its attributes, whether `adapt` computed them or they were set later. Other objects must
    be equal already, or are copied by the layer's own `save_assets` and `load_assets` (or `save_own_variables` and
    `load_own_variables`).

    Args:
        source: the layer that has the state.
        target: a layer of the same configuration, whose weights have their values already.
        place: of both, for messages.

    Raises:
        ValueError: naming the layer and the attribute that differs or may differ.
    """
    copy_flags(source, target)
    if isinstance(source, keras.Model):
        return  # its state is that of its layers
    _copy_tables(source, target)
    doubtful = _copy_attributes(source, target)
    if doubtful and _saves_itself(source):
        _save_and_load(source, target, place)
        doubtful = [
            name for name in _copy_attributes(source, target) if not _holds_unknown(_picture(vars(source).get(name)))
        ]
    if doubtful:
        raise ValueError(
            f"Expected a layer whose state can be copied: weights, seed generators, numbers, arrays, text. Received: "
            f"{place!r}, a {type(source).__name__}, whose {', '.join(doubtful)} would or may be another in the copy. "
            "Keep it in weights or arrays, return it from get_config, or give the layer save_assets and load_assets."
        )


def copy_flags(source: Any, target: Any) -> None:
    """Gives a layer the flags of another, which say what is trained, and the state of its seed generators."""
    target.autocast = source.autocast  # in no configuration
    if target.trainable != source.trainable:
        target.trainable = source.trainable  # of all layers inside, whose own turn comes after
    flags = {variable.name: variable.trainable for variable in source._trainable_variables}
    for variable in target._trainable_variables:
        if variable.trainable != flags.get(variable.name, variable.trainable):
            variable.trainable = flags[variable.name]
    if not isinstance(source, keras.Model):
        for one, other in zip(_generators(source), _generators(target), strict=True):
            other.state.assign(keras.ops.copy(one.state))


def _generators(layer: Any) -> list[Any]:
    return [generator for generator in getattr(layer, "_seed_generators", ()) if generator.state is not None]


def _copy_tables(source: Any, target: Any) -> None:
    """Shares the tables of a lookup layer: adapting either puts new ones in their place."""
    if isinstance(source, keras.src.layers.preprocessing.index_lookup.IndexLookup):
        for name in _TABLES:
            if hasattr(source, name):
                setattr(target, name, getattr(source, name))


def _copy_attributes(source: Any, target: Any) -> list[str]:
    """Copies the data among a layer's attributes; returns the names of other attributes that differ or may differ."""
    doubtful = []
    for name, value in _attributes(source):
        other = vars(target).get(name)
        if other is value:
            continue
        picture = _picture(value)
        if _holds_unknown(picture):
            doubtful.append(name)
        elif not _same(picture, _picture(other)):
            if _is_data(value):
                setattr(target, name, _copied(value))
            elif _is_variable(value) and _is_variable(other) and value.shape == other.shape:
                other.assign(value)
            elif not (other is None and _is_tracked(picture)):
                doubtful.append(name)
    return doubtful


def _attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of a layer that `keras.layers.Layer` does not have."""
    base = vars(keras.layers.Layer())
    for name, value in list(vars(layer).items()):
        if name not in base and not name.startswith("_self_"):
            yield name, value


def _holds_unknown(picture: _Picture) -> bool:
    if isinstance(picture, tuple):
        return any(_holds_unknown(part) for part in picture)
    return picture is _UNKNOWN


def _is_tracked(picture: _Picture) -> bool:
    if isinstance(picture, tuple) and picture and picture[0] in ("list", "dict"):
        return all(_is_tracked(part) for part in picture[1:])
    return isinstance(picture, str) and picture == _TRACKED


def _same(one: _Picture, other: _Picture) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return _same_arrays(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _same_arrays(one: Any, other: Any) -> bool:
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return False
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _picture(value: Any, depth: int = 0) -> _Picture:
    """A form of a value that can be compared: equal pictures mean equal state, but for `_UNKNOWN` parts."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.dtype):
        return repr(value)
    if isinstance(value, _tracked_types()) or _is_symbolic(value):
        return _TRACKED  # by Keras: among the weights, layers or generators
    if _is_array(value) or _is_variable(value):
        array = _as_array(value)
        return repr(array.tolist()) if array.dtype == object else array
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: repr(item[0]))
        return ("dict", *((repr(key), _picture(part, depth + 1)) for key, part in items))
    if isinstance(value, list | tuple):
        return ("list", *(_picture(part, depth + 1) for part in value))
    if isinstance(value, set | frozenset):
        return ("set", *sorted(map(repr, value)))
    if isinstance(value, type | types.ModuleType) or inspect.isroutine(value):
        return _picture_of_function(value, depth)
    return _picture_of_object(value, depth)


def _picture_of_function(value: Any, depth: int) -> _Picture:
    """The name of a function; of Python functions also the code, closure and defaults."""
    name = getattr(value, "__qualname__", getattr(value, "__name__", repr(type(value))))
    function = inspect.unwrap(getattr(value, "__func__", value))
    if not inspect.isfunction(function) or function.__module__.startswith("keras."):
        return ("function", name)
    if depth > _DEPTH:
        return _UNKNOWN
    closed = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    bound = [*closed, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return ("function", name, function.__code__.co_code, *(_picture(part, depth + 1) for part in bound))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # it is assigned later
        return False


def _picture_of_object(value: Any, depth: int) -> _Picture:
    if depth > _DEPTH:
        return _UNKNOWN
    if type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
        return (type(value).__name__, _picture(value.get_config(), depth + 1))
    if _is_table(value):
        keys, values = (np.asarray(part) for part in value.export())
        order = np.argsort(keys.astype(str), kind="stable")
        return ("table", repr(keys[order].tolist()), repr(values[order].tolist()))
    if type(value).__module__.startswith("keras.") and hasattr(value, "__dict__"):
        return type(value).__name__  # as an InputSpec, or what a layer makes of its configuration
    try:
        return (type(value).__qualname__, pickle.dumps(value))
    except Exception:  # whatever the object raises
        own = getattr(value, "__dict__", None)
        return (type(value).__qualname__, _picture(own, depth + 1)) if own else _UNKNOWN


def _tracked_types() -> tuple[type, ...]:
    generators = keras.random.SeedGenerator
    return (keras.layers.Layer, keras.Variable, keras.KerasTensor, keras.metrics.Metric, generators)


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, _tracked_types()) or _is_variable(value):
        return False
    if not (keras.ops.is_tensor(value) or _is_of_tensorflow(value, "Tensor")):
        return False
    return not _is_symbolic(value)


def _is_symbolic(value: Any) -> bool:
    """Whether a tensor has no value, as in a function that is being traced."""
    if isinstance(value, np.ndarray) or not (keras.ops.is_tensor(value) or _is_of_tensorflow(value, "Tensor")):
        return False
    try:
        _as_array(value)
    except Exception:  # each backend has its own
        return True
    return False


def _as_array(value: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)


def _is_variable(value: Any) -> bool:
    """Whether a value is a TensorFlow variable, which Keras does not track as a weight."""
    return _is_of_tensorflow(value, "Variable")


def _is_table(value: Any) -> bool:
    return _is_of_tensorflow(value, "Table") and hasattr(value, "export")


def _is_of_tensorflow(value: Any, what: str) -> bool:
    return type(value).__module__.startswith("tensorflow.") and what in type(value).__name__


def _is_data(value: Any) -> bool:
    """Whether a value consists of numbers, text and arrays."""
    if isinstance(value, Mapping):
        return all(_is_data(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_data, value))
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic)
    return plain or _is_array(value)


def _copied(value: Any) -> Any:
    """A copy of data."""
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_copied(part) for part in value)
    return keras.ops.copy(value) if keras.ops.is_tensor(value) else copy.copy(value)


def _saves_itself(layer: Any) -> bool:
    """Whether a custom layer class defines how its state is saved."""
    if type(layer).__module__.startswith("keras."):
        return False
    return any(getattr(type(layer), name, None) is not getattr(keras.layers.Layer, name, None) for name in _SAVING)


def _save_and_load(source: Any, target: Any, place: str) -> None:
    store: dict[str, Any] = {}
    try:
        source.save_own_variables(store)
        target.load_own_variables({key: np.array(value) for key, value in store.items()})
        if hasattr(type(source), "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                source.save_assets(folder)
                target.load_assets(folder)
    except Exception as error:
        raise ValueError(
            f"Expected a layer that loads what it saves. Received: {place!r}, a {type(source).__name__}: {error}"
        ) from error
