"""Values and functions as JSON: equal JSON means an equal search."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import json
import logging
import math
import pathlib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Set
from typing import Any

import keras
import numpy as np

from lth_keras.search.identity.source import NoSourceError, code_of, globals_of, is_library, methods_of

_LONGEST = 400
"""The most characters of a value's JSON; a longer value is replaced by its digest, so that people can read the rest."""
_BY_REPR: tuple[type, ...] = (
    *(complex, range, slice, type(...), type(NotImplemented), pathlib.PurePath, re.Pattern, np.dtype),
    *(datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction),
)
_FRAMEWORK = ("_self_", "__")
"""Prefixes of attributes that TensorFlow and Python add to objects."""


def name_of_type(item: Any) -> str:
    """The module and qualified name of a function or class, or of another object's class."""
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', type(item).__qualname__)}"


def describe_value(value: Any, where: str) -> Any:
    """A value as JSON: plain data unchanged, arrays as digests, functions as their source, objects as configurations.

    The user's own function is described by its qualified name, a digest of its syntax tree without docstrings, and the
    values of its closure, defaults, attributes and globals; its module, file and line do not count. A function or class
    of an installed package is described by its name.

    Args:
        value: what to describe.
        where: its name in error messages.

    Raises:
        ValueError: for functions or values that cannot be read.
    """
    return _Describer(where).value(value)


def describe_object(item: Any, where: str) -> dict[str, Any]:
    """The user's own functions, classes and values in a Keras object, which its configuration does not contain.

    Args:
        item: a loss, an optimiser, a layer, an initialiser, ...
        where: its name in error messages.

    Returns:
        JSON values; empty if all of it is Keras' own.

    Raises:
        ValueError: for functions or values that cannot be read.
    """
    return _Describer(where).beside_config(item)


class _Describer:
    def __init__(self, where: str) -> None:
        self._where = where
        self._within: dict[int, str] = {}

    def value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if id(value) in self._within:
            return {"again": self._within[id(value)]}
        self._within[id(value)] = getattr(value, "__qualname__", type(value).__qualname__)
        try:
            return self._value(value)
        finally:
            del self._within[id(value)]

    def _value(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return {"enum": f"{type(value).__qualname__}.{value.name}"}
        if isinstance(value, np.generic):
            return {"dtype": value.dtype.str, "value": repr(value.item())}
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, int | str):
            return {type(value).__qualname__: str(value)}
        if isinstance(value, bytes | bytearray):
            return {"bytes": hashlib.sha256(value).hexdigest()}
        if isinstance(value, _BY_REPR) or type(value).__module__ == "typing" or isinstance(value, types.GenericAlias):
            return {type(value).__name__: str(value) if isinstance(value, pathlib.PurePath) else repr(value)}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, list | tuple):
            return _short([self.value(item) for item in value])
        if isinstance(value, Set):
            return _short({"set": sorted((self.value(item) for item in value), key=_text)})
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, logging.Logger):
            return {"logger": value.name}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        return self._tensor_or_function(value)

    def _tensor_or_function(self, value: Any) -> Any:
        if isinstance(value, keras.Variable) or (keras.ops.is_tensor(value) and not hasattr(value, "_keras_history")):
            return self._array(np.asarray(keras.ops.convert_to_numpy(value)))
        if isinstance(value, functools.partial):
            arguments = {"arguments": self.value(value.args), "keywords": self.value(value.keywords)}
            return {"partial": self.value(value.func), **arguments}
        if isinstance(value, types.MethodType):
            return {"method": self.value(value.__func__), "of": self.value(value.__self__)}
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            if owner is None or isinstance(owner, types.ModuleType | type):
                return name_of_type(value)
            return {"method": value.__name__, "of": self.value(owner)}
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        return self._object(value)

    def _array(self, value: np.ndarray) -> Any:
        if value.dtype.hasobject:
            return {"array": self.value(value.tolist()), "shape": list(value.shape)}
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": digest, "dtype": value.dtype.str, "shape": list(value.shape)}

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        if all(isinstance(key, str) for key in value):
            return _short({key: self.value(item) for key, item in value.items()})
        return _short({"mapping": sorted(([self.value(k), self.value(v)] for k, v in value.items()), key=_text)})

    def _function(self, function: types.FunctionType) -> Any:
        library = function.__module__ not in (None, "builtins") and is_library(function.__module__)
        held = {
            "closure": self._cells(function),
            "defaults": self.value(function.__defaults__ or ()),
            "keyword_defaults": self.value(function.__kwdefaults__ or {}),
            "attributes": self.value({k: v for k, v in vars(function).items() if not k.startswith("_")}),
        }
        if library:
            return (
                {"function": name_of_type(function), **given_only(held)} if held["closure"] else name_of_type(function)
            )
        held["globals"] = self._globals(function)
        return {"function": function.__qualname__, "code": self._code(function), **given_only(held)}

    def _cells(self, function: types.FunctionType) -> dict[str, Any]:
        found = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # the cell is empty
                continue
            if name != "__class__":
                found[name] = self.value(content)
        return found

    def _globals(self, item: types.FunctionType | type) -> dict[str, Any]:
        return {name: self.value(found) for name, found in globals_of(item).items()}

    def _class(self, kind: type) -> Any:
        if is_library(kind.__module__):
            return name_of_type(kind)
        bases = [self.value(base) for base in kind.__bases__ if base is not object]
        cells = {f"{m.__name__}.{name}": v for m in methods_of(kind) for name, v in self._cells(m).items()}
        held = {"bases": bases, "closure": cells, "globals": self._globals(kind)}
        return {"type": kind.__qualname__, "code": self._code(kind), **given_only(held)}

    def _code(self, item: types.FunctionType | type) -> str:
        try:
            return code_of(item)
        except NoSourceError as error:
            raise self._unreadable(str(error)) from error

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, keras.layers.Layer):
            return self._layer(value)
        if callable(getattr(value, "get_config", None)):
            return _short({"type": name_of_type(kind), "config": self.config(value), **self.beside_config(value)})
        named = isinstance(getattr(value, "__qualname__", None), str) and callable(value)
        if named and is_library(kind.__module__) and is_library(getattr(value, "__module__", "")) and not _state(value):
            return name_of_type(value)
        for inner in ("__wrapped__", "python_function", "_python_function"):  # jax.jit, tf.function, functools.cache
            wrapped = getattr(value, inner, None)
            if callable(wrapped):
                return {"wrapped": self.value(wrapped), "by": name_of_type(kind)}
        ours = kind.__module__.partition(".")[0] == "lth_keras"
        if is_library(kind.__module__) and not ours and not dataclasses.is_dataclass(value):
            if kind is types.SimpleNamespace:
                return {"namespace": self.value(vars(value))}
            if isinstance(value, np.ufunc):
                return f"numpy.{value.__name__}"
            raise self._unreadable(f"{kind.__module__}.{kind.__qualname__} has no configuration")
        return {"object": self.value(kind), "values": self.value(_state(value))}

    def _layer(self, layer: keras.layers.Layer) -> Any:
        from lth_keras.search.identity.model import describe_model, describe_parts

        weights = hashlib.sha256()
        for variable in layer.weights:
            weights.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
        parts = describe_parts(layer, self._where)
        return {"model": _short(describe_model(layer)), "weights": weights.hexdigest(), **given_only({"code": parts})}

    def config(self, item: Any) -> Any:
        """The configuration of a Keras object as JSON, without a name that Keras generated."""
        try:
            config = item.get_config()
        except (NotImplementedError, TypeError, ValueError) as error:
            raise self._unreadable(f"{type(item).__qualname__} has no configuration ({error})") from error
        return plain(without_count(config, type(item)))

    def beside_config(self, item: Any) -> dict[str, Any]:
        """See `describe_object`."""
        kind = type(item)
        own = not is_library(kind.__module__)
        found: dict[str, Any] = {}
        for name, value in _state(item).items():
            if _is_own(value) or (own and self._tells(item, name, value)):
                found[name] = self.value(value)
        patterns = getattr(item, "_exclude_from_weight_decay_pattern", None)
        if patterns is not None:
            found["exclude_from_weight_decay"] = self.value(patterns)
        if callable(getattr(item, "get_vocabulary", None)):
            found["vocabulary"] = self.value([str(token) for token in item.get_vocabulary()])
        return {**({"class": self.value(kind)} if own else {}), **given_only({"values": found})}

    def _tells(self, item: Any, name: str, value: Any) -> bool:
        """Whether an attribute of an object of the user's own class belongs to the description."""
        if not isinstance(item, keras.layers.Layer | keras.Optimizer | keras.metrics.Metric):
            return name not in ("name", "dtype", "_dtype", "_dtype_policy")
        plain_data = isinstance(value, bool | int | float | str | tuple | np.ndarray) and not name.startswith("_")
        return plain_data and name not in ("name", "built")

    def _unreadable(self, reason: str) -> ValueError:
        return ValueError(
            f"Expected functions and values whose source or configuration can be read, to identify the search. "
            f"Received: {self._where}; {reason}. Pass `config=`, JSON values that identify the search."
        )


def plain(config: Any) -> Any:
    """The configuration as JSON values; other objects become their text without memory addresses."""
    return json.loads(json.dumps(config, default=lambda item: re.sub(r" at 0x[0-9a-f]+", "", str(item))))


def stem_of(name: str) -> str:
    """A name without the count that Keras adds: `dense` of `dense_3`."""
    return re.sub(r"_\d+$", "", name)


def without_count(config: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """A configuration in which a name that Keras generated (`focal_3`) has no count."""
    name = config.get("name")
    stem = stem_of(name) if isinstance(name, str) else ""
    made_up = stem.replace("_", "") == kind.__name__.lower().replace("_", "")
    return {**config, "name": stem} if made_up else dict(config)


def _is_own(value: Any) -> bool:
    """Whether a value is the user's own function, or a callable object of the user's own class."""
    if isinstance(value, functools.partial):
        return True
    if isinstance(value, types.MethodType):
        return not is_library(value.__func__.__module__)
    if isinstance(value, types.FunctionType):
        return not is_library(value.__module__) or bool(value.__closure__)
    library = is_library(type(value).__module__)
    return not library and callable(getattr(value, "get_config", None)) and not isinstance(value, keras.layers.Layer)


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object, including slots, without those that frameworks add."""
    slots: Iterable[str] = (name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ())))
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
    made_by_keras = {"build", "call", "quantize"} if isinstance(value, keras.layers.Layer) else set()
    return {k: v for k, v in found.items() if not k.startswith(_FRAMEWORK) and k not in made_by_keras}


def _names(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(typing.cast("Iterable[str]", slots))


def given_only(held: Mapping[str, Any]) -> dict[str, Any]:
    """Without names that have nothing: None, `{}` or `[]`."""
    return {name: value for name, value in held.items() if value not in ({}, [], None)}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> Any:
    text = _text(value)
    return value if len(text) <= _LONGEST else {"sha256": hashlib.sha256(text.encode()).hexdigest()}
