"""Accepts the names that parameters had in version 0.1, until 0.3."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lth_keras.training.engines import older_spelling

WHEN = {"iterative": "after_training", "before_training": "before_training"}


def by_newer_names(parameters: Mapping[str, Any], stacklevel: int = 4) -> dict[str, Any]:
    """The parameters by their current names, with a warning for each older name."""
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
        if found.get("start") is not None:
            raise ValueError(f"Expected start or initialise. Received: {found['start']!r} and {initialise!r}.")
        renamed("initialise", "start", initialise)
    if "facts" in found:
        raise TypeError("Expected facts as an argument of TicketSearch.run. Received: TicketSearch(facts=...).")
    engine = older_spelling("TicketSearch", found, found.get("engine", ""), stacklevel)
    return {**found, "engine": engine} if engine else found
