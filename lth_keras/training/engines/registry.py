"""Engines by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lth_keras.training.engines.engine import Engine

ENGINES = {
    "compiled": "compiled.Compiled",
    "batched": "batched.Batched",
    "rows": "rows.Rows",
    "compact": "compact.Compact",
    "native": "native.Native",
}
"""Name to the module here and the class in it, whose `of(argument)` makes the engine of a spelling."""
AUTO = "auto"
"""In place of an engine: the one that fits the model and what is asked for."""
SPELLINGS = f"{AUTO}, compiled, batched:N, rows, rows:lazy, compact, compact:native or native"


def engine_named(spelling: Any) -> Engine:
    """The engine of a spelling such as `compiled`, `batched:6` or `compact:native`.

    Raises:
        ValueError: where there is none.
    """
    name, _, argument = spelling.partition(":") if isinstance(spelling, str) else ("", "", "")
    try:
        module, kind = ENGINES[name].split(".")
        made: Engine = getattr(importlib.import_module(f"lth_keras.training.engines.{module}"), kind).of(argument)
    except (KeyError, ValueError):
        raise ValueError(f"Expected engine to be {SPELLINGS}. Received: {spelling!r}.") from None
    return made


def check_spelling(spelling: Any) -> str:
    """Returns what `engine=` can be: `auto`, or the spelling of an engine.

    Raises:
        ValueError: otherwise.
    """
    return AUTO if isinstance(spelling, str) and spelling == AUTO else engine_named(spelling).spelling


def identity_of(spelling: str) -> dict[str, Any]:
    """What an engine that is asked for adds to the identity of a run, JSON."""
    return {} if spelling == AUTO else dict(engine_named(spelling).identity)


def recorded_spelling(made: Mapping[str, Any] | None, tickets: int) -> str | None:
    """What trained a run's levels, where it is recorded; None where it is not.

    Args:
        made: what one of its levels says that it was made with.
        tickets: how many were trained at once, as directories of lth_keras 0.1 record it.
    """
    if made and "engine" in made:
        return str(made["engine"])
    return f"batched:{tickets}" if made is not None and tickets > 1 else None


def width_of(spelling: str) -> int:
    """How many tickets an engine trains at once; one where the model decides on it."""
    return 1 if spelling == AUTO else engine_named(spelling).width
