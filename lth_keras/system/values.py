"""Checks of parameters before anything is computed. Each returns the value as a Python type."""

from __future__ import annotations

import numbers
import operator
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")

LARGEST = {"steps": 2**31 - 1, "epochs": 2**31 - 1, "seed": 2**63 - 1}
"""Largest values: of steps, the limit of compiled programs; of seeds, the limit of files."""


def integer(name: str, value: Any, least: int | None = None) -> int:
    """The value as an int.

    Raises:
        ValueError: if it is not an integer of Python or numpy, is below `least`, or above `LARGEST` for the name.
    """
    if isinstance(value, bool | np.bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"Expected {name} to be an integer. Received: {shown(value)}.")
    number = operator.index(value)
    if least is not None and number < least:
        raise ValueError(f"Expected {name} to be at least {least}. Received: {number}.")
    if number > LARGEST.get(name, number):
        raise ValueError(f"Expected {name} to be at most {LARGEST[name]:,}. Received: {number}.")
    return number


def boolean(name: str, value: Any) -> bool:
    """The value as a bool; ValueError if it is not a boolean of Python or numpy."""
    if not isinstance(value, bool | np.bool):
        raise ValueError(f"Expected {name} to be True or False. Received: {shown(value)}.")
    return bool(value)


def real(name: str, value: Any) -> float:
    """A Python number unchanged, another number as a float; ValueError for a bool or anything else."""
    if isinstance(value, bool | np.bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"Expected {name} to be a number. Received: {shown(value)}.")
    return value if isinstance(value, int) or type(value) is float else float(value)


def text(name: str, value: Any) -> str:
    """The value; ValueError if it is not a string."""
    if not isinstance(value, str):
        raise ValueError(f"Expected {name} to be a string. Received: {shown(value)}.")
    return value


def one_of(name: str, value: Choice, choices: Sequence[Any]) -> Choice:
    """The value; ValueError if it is not one of the choices."""
    if value not in choices:
        raise ValueError(f"Expected {name} to be one of {', '.join(map(repr, choices))}. Received: {value!r}.")
    return value


def rates(name: str, value: Any) -> float | dict[str, float]:
    """A rate, or rates by kind of layer; ValueError for anything else."""
    if not isinstance(value, Mapping):
        return real(f"{name}, if it is not a dict by kind of layer,", value)
    return {text(f"each kind in {name}", kind): real(f"{name}[{kind!r}]", rate) for kind, rate in value.items()}


def sequence(name: str, value: Any, of: str) -> list[Any]:
    """The items of a list, tuple or one-dimensional array; ValueError for anything else."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence | np.ndarray | range):
        raise ValueError(f"Expected {name} to be a list of {of}. Received: {shown(value)}.")
    return list(value)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One string or several as a tuple; ValueError for anything else."""
    several = [value] if isinstance(value, str) else sequence(name, value, "strings")
    return tuple(text(f"each of {name}", one) for one in several)


def path(name: str, value: Any) -> str:
    """A path with `~` expanded; ValueError if it is not a path."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"Expected {name} to be a path. Received: {shown(value)}.")
    return os.path.expanduser(os.fspath(value))


UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def memory(name: str, value: Any) -> int:
    """A number of bytes, also of a text such as `2GB` or `500 MB`; ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]B)", value.upper()) if isinstance(value, str) else None
    if found is not None:
        value = int(float(found[1]) * UNITS[found[2]])
    if isinstance(value, str):
        raise ValueError(f"Expected {name} to be bytes, or a text such as '2GB'. Received: {value!r}.")
    return integer(name, value, 1)


def shown(value: Any) -> str:
    """A value and its type for a message; only the type if the value is long."""
    said, kind = repr(value), type(value).__name__
    if value is None or len(said) > 80 or "\n" in said:
        return "None" if value is None else kind
    return f"{said} ({kind})"
