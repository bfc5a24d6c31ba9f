"""The registry of engines."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lth_keras.training.engines.engine import Engine

ENGINES = {
    "compiled": "compiled.Compiled",
    "fit": "fit.Fit",
    "batched": "batched.Batched",
    "rows": "rows.Rows",
    "compact": "compact.Compact",
    "native": "native.Native",
}
"""Name -> the module in this folder and its class, whose `of(argument)` makes the engine of a spelling.

A class with spellings other than its name has them in `forms`, for messages."""
AUTO = "auto"
"""Chooses an engine by the model and the run, see `auto`."""


def engine_named(spelling: Any) -> Engine:
    """The engine of a spelling such as `compiled`, `batched:6` or `compact:native`.

    Raises:
        ValueError: for an unknown spelling.
    """
    name, _, argument = spelling.partition(":") if isinstance(spelling, str) else ("", "", "")
    try:
        made: Engine = _class_of(name).of(argument)
    except (KeyError, ValueError):
        *forms, last = [form for known in ENGINES for form in vars(_class_of(known)).get("forms", (known,))]
        expected = f"{', '.join([AUTO, *forms])} or {last}"
        raise ValueError(f"Expected engine to be {expected}. Received: {spelling!r}.") from None
    return made


def _class_of(name: str) -> Any:
    module, kind = ENGINES[name].split(".")
    return getattr(importlib.import_module(f"lth_keras.training.engines.{module}"), kind)


def check_spelling(spelling: Any) -> str:
    """Returns a valid value of `engine=`: `auto` or the spelling of an engine.

    Raises:
        ValueError: for another value.
    """
    return AUTO if isinstance(spelling, str) and spelling == AUTO else engine_named(spelling).spelling


def identity_of(spelling: str) -> dict[str, Any]:
    """JSON that a requested engine adds to a run's identity."""
    return {} if spelling == AUTO else dict(engine_named(spelling).identity)


def recorded_spelling(made: Mapping[str, Any] | None, tickets: int) -> str | None:
    """The engine that trained a run's levels: `auto` if the model chose an engine of one ticket; None without levels.

    Args:
        made: the provenance of one of the levels; None without levels.
        tickets: number of tickets trained at once, as run directories of lth_keras 0.1 record it.
    """
    if made is None:
        return None
    older = f"batched:{tickets}" if tickets > 1 else AUTO
    return str(made.get("engine", older))


def width_of(spelling: str) -> int:
    """The number of tickets that an engine trains at once; one for `auto`."""
    return 1 if spelling == AUTO else engine_named(spelling).width
