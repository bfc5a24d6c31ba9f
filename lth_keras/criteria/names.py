"""Criteria by name, composites among them: `snip`, `stacked(snip,synflow)`."""

from __future__ import annotations

from lth_keras.criteria.as_weights import SCALES
from lth_keras.criteria.grasp import grasp
from lth_keras.criteria.grasp_magnitude import grasp_magnitude
from lth_keras.criteria.initial_magnitude import initial_magnitude
from lth_keras.criteria.learned import Learned
from lth_keras.criteria.magnitude import magnitude
from lth_keras.criteria.magnitude_change import magnitude_change
from lth_keras.criteria.movement import movement
from lth_keras.criteria.random import random
from lth_keras.criteria.snip import snip
from lth_keras.criteria.stacked import Stacked
from lth_keras.criteria.state import Criterion
from lth_keras.criteria.synflow import synflow
from lth_keras.criteria.wanda import wanda

CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude,
    "initial_magnitude": initial_magnitude,
    "magnitude_change": magnitude_change,
    "movement": movement,
    "random": random,
    "snip": snip,
    "grasp": grasp,
    "grasp_magnitude": grasp_magnitude,
    "synflow": synflow,
    "wanda": wanda,
}
DATA_AWARE: frozenset[Criterion] = frozenset({snip, grasp, grasp_magnitude, wanda})
"""Criteria that take data, so that missing data is an error before training."""


def criterion(name_or_function: str | Criterion) -> Criterion:
    """The criterion of a name, such as `snip`, `stacked(snip,synflow)` or `learned(FILE.npz)`; functions are returned.

    Raises:
        ValueError: an unknown name, or a composite that cannot be parsed; the message lists the names. A file without a
            learned criterion.
        OSError: a file that cannot be read.
        TypeError: neither a name nor a function.
    """
    if callable(name_or_function):
        return name_or_function
    if not isinstance(name_or_function, str):
        raise TypeError(f"{_EXPECTED} Received: {name_or_function!r}.")
    name, arguments = parse_call(name_or_function)
    if name == "stacked":
        names, scale = criteria_and_scale(name_or_function, arguments, 2)
        first, second = map(criterion, names)
        return Stacked(first, second, scale)
    if name == "learned" and len(arguments) == 1:
        return Learned.load(arguments[0])
    if arguments or name not in CRITERIA:
        raise ValueError(f"{_EXPECTED} Received: {name_or_function!r}.")
    return CRITERIA[name]


def takes_data(score: Criterion) -> bool:
    """Whether a criterion, or a part of a composite, takes gradients on examples."""
    return score in DATA_AWARE or any(takes_data(part) for part in getattr(score, "parts", ()))


def parse_call(text: str) -> tuple[str, list[str]]:
    """The name and the arguments of `name(argument,argument)`; no arguments for a name alone.

    Arguments may be calls in turn. Spaces around names are ignored.

    Raises:
        ValueError: for brackets that do not close.

    Example:
        >>> parse_call("stacked(snip, stacked(synflow,grasp))")
        ('stacked', ['snip', 'stacked(synflow,grasp)'])
    """
    name, bracket, inside = text.strip().partition("(")
    if not bracket and ")" not in name:
        return name, []
    arguments, depth = [""], 0
    for character in inside[:-1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    if depth or not inside.endswith(")"):
        raise ValueError(f"Expected brackets that close, as in 'stacked(snip,synflow)'. Received: {text!r}.")
    return name.strip(), [argument.strip() for argument in arguments]


def criteria_and_scale(text: str, arguments: list[str], count: int) -> tuple[list[str], str]:
    """The names of `count` criteria, and the scale that may follow them.

    Args:
        text: the whole call, for messages.
        arguments: as `parse_call` gives them.
        count: of criteria.

    Raises:
        ValueError: for more, fewer or empty ones.
    """
    names, rest = arguments[:count], arguments[count:]
    if len(names) < count or not all(names) or (rest and (len(rest) > 1 or rest[0] not in SCALES)):
        criteria = "1 criterion" if count == 1 else f"{count} criteria"
        raise ValueError(
            f"Expected {criteria}, and after that {' or '.join(map(repr, SCALES))} or nothing. Received: {text!r}."
        )
    return names, rest[0] if rest else "layer"


_NAMES = ", ".join([*map(repr, CRITERIA), "'stacked(NAME,NAME)'", "'learned(FILE)'"])
_EXPECTED = f"Expected a criterion: one of {_NAMES}, or a function."
