"""Accepts the names that parameters had in version 0.1, until 0.3."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from lth_keras.training.engines import older_spelling


def by_newer_names(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by their current names, with a warning for each older name."""
    found = dict(parameters)
    newer = {}
    if "schedule" in found:
        schedule = found.pop("schedule")
        newer["schedule"] = "when", "after_training" if schedule == "iterative" else schedule
    if (initialise := found.pop("initialise", None)) is not None:
        if found.get("start") is not None:
            raise ValueError(f"Expected start or initialise. Received: {found['start']!r} and {initialise!r}.")
        newer["initialise"] = "start", initialise
    for older, (name, value) in newer.items():
        warnings.warn(
            f"TicketSearch({older}=...) is now TicketSearch({name}={value!r}).", DeprecationWarning, stacklevel=4
        )
        found[name] = value
    if "facts" in found:
        raise TypeError("Expected facts as an argument of TicketSearch.run. Received: TicketSearch(facts=...).")
    engine = older_spelling("TicketSearch", found, found.get("engine", ""), 4)
    return {**found, "engine": engine} if engine else found
