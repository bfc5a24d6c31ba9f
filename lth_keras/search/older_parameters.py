"""Parameters by the names that they had in version 0.1, accepted until 0.3."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lth_keras.system import values

EMBEDDINGS: dict[Any, list[str]] = {"exact": [], "dense": ["compiled"], "lazy": ["rows:lazy"]}
WHEN = {"iterative": "after_training", "before_training": "before_training"}


def by_newer_names(parameters: Mapping[str, Any], stacklevel: int = 4) -> dict[str, Any]:
    """The parameters by the names that they have now, with a warning for each that had another."""
    found = dict(parameters)

    def renamed(older: str, newer: str, value: Any) -> None:
        warnings.warn(
            f"TicketSearch({older}=...) is now TicketSearch({newer}={value!r}).",
            DeprecationWarning,
            stacklevel=stacklevel + 1,
        )
        found[newer] = value

    if "schedule" in found:
        schedule = found.pop("schedule")
        renamed("schedule", "when", WHEN.get(schedule, schedule))
    if (initialise := found.pop("initialise", None)) is not None:
        renamed("initialise", "start", initialise)
    if "facts" in found:
        raise TypeError("Expected facts of a run: TicketSearch(...).run(facts=...). Received: TicketSearch(facts=...).")
    flags = {"compact": "compact", "fused": "native"}
    engines = [engine for flag, engine in flags.items() if flag in found and values.boolean(flag, found.pop(flag))]
    engines += EMBEDDINGS.get(found.pop("embeddings", "exact"), ["embeddings"])
    if (tickets := found.pop("vectorize", "auto")) != "auto":
        engines.append("compiled" if tickets == 1 and tickets is not True else f"batched:{tickets}")
    if len(engines) > 1 and engines != ["compact", "native"]:
        raise ValueError(f"Expected one engine. Received: {' and '.join(engines)}.")
    if engines:
        renamed("compact, fused, embeddings or vectorize", "engine", ":".join(engines))
    return found
