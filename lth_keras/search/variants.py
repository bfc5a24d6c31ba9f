"""Variants: searches with other parameters in the same run, each a separate branch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lth_keras.criteria import name_of
from lth_keras.search.branches import BRANCHES, is_variant
from lth_keras.search.older_parameters import by_newer_names
from lth_keras.search.parameters import MASKS, TRAINING, affecting
from lth_keras.search.start import makes_weights
from lth_keras.storage import check_path_part
from lth_keras.system import values

Variants = Mapping[str, Mapping[str, Any]]
"""Name of a variant -> the parameters that it changes."""
ALONG_BRANCHES = {
    "criterion": "branch_criterion",
    "schedule": "schedule",
    "shots": "shots",
    "initialise": "initialise",
    "masks_of_drawn": "masks_of_drawn",
}
"""Parameters that run.h5 stores for every branch if variants change them -> the names of these coordinates. `criterion`
has another name there, since it is a dimension."""
_FOLDERS = re.compile(r"(?<=\()[^(,]*/")


def check_variants(variants: Any, taken: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Checks variants and returns them with the parameters' current names, and data as their engines take them.

    Args:
        variants: by name.
        taken: see `TicketSearch.taken`.

    Raises:
        ValueError: for names of branches, names that no path can contain, and parameters that a variant cannot change.
    """
    if not isinstance(variants, Mapping):
        raise ValueError(f"Expected variants to be a dict by name. Received: {values.shown(variants)}.")
    found = {}
    for name, changes in variants.items():
        check_path_part("variant", values.text("the name of each variant", name))
        if not isinstance(changes, Mapping):
            raise ValueError(
                f"Expected the parameters that variant {name!r} changes as a dict. Received: {values.shown(changes)}."
            )
        changes = by_newer_names(changes)
        known = affecting(MASKS, TRAINING)
        if not is_variant(name) or not known >= set(changes):
            raise ValueError(
                f"Expected variants with new names that change parameters among {sorted(known)}. "
                f"Received: {name!r} with {sorted(changes) if is_variant(name) else 'the name of a branch'}."
            )
        if "data" in changes and not callable(changes["data"]):
            changes["data"] = taken(changes["data"], changes.get("engine"))
        found[name] = changes
    return found


def changes_given(changes: Mapping[str, Any]) -> bool:
    """Whether a variant with these parameters has other weights that `build` gives than its search."""
    start = "start" in changes and not makes_weights(changes["start"])
    return start or bool(changes.keys() & {"build", "prune_frozen"})


def coordinates(
    variants: Variants, own: Mapping[str, Any], recorded: Variants
) -> dict[str, dict[str, float] | dict[str, str]]:
    """The parameters that variants change, as coordinates of run.h5: name -> value by branch.

    Includes numbers that every variant changes and, if a variant changes one, `rewind`, `pattern` or the parameters in
    `ALONG_BRANCHES` for all branches.

    Args:
        variants: the search's variants.
        own: the parameters of the search itself, by name.
        recorded: the variants recorded in the run's directory, including those of earlier searches.
    """
    names = {name for changes in variants.values() for name in changes}
    found: dict[str, dict[str, float] | dict[str, str]] = {}
    for name in sorted(names):
        each = {variant: changes.get(name) for variant, changes in variants.items()}
        if all(isinstance(value, int | float) for value in each.values()):
            found[name] = {variant: float(value) for variant, value in each.items() if value is not None}
    by_name = {variant: recorded_names(changes) for variant, changes in variants.items()}
    of_search = recorded_names(own)
    of_all = {**dict.fromkeys(BRANCHES, {}), **recorded, **by_name}
    needed = any(ALONG_BRANCHES.keys() & changes.keys() for changes in of_all.values())
    for name, called in ALONG_BRANCHES.items() if needed else ():
        apart = BRANCHES if called in found else ()  # if all variants have a number, other branches have none
        named = {branch: changes for branch, changes in of_all.items() if branch not in apart}
        each = {branch: changes.get(name, of_search.get(name)) for branch, changes in named.items()}
        if name in ("shots", "masks_of_drawn"):
            found[called] = {branch: float(value or 0) for branch, value in each.items()}
        else:
            found[called] = {branch: _in_words(value) for branch, value in each.items()}
    for name in ("rewind", "pattern"):
        if any(name in changes for changes in of_all.values()):
            found[name] = {branch: changes.get(name, own[name]) or "" for branch, changes in of_all.items()}
    return found


def recorded_names(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by their names in run directories and run.h5, which are those of version 0.1."""
    found = {name: value for name, value in parameters.items() if name not in ("when", "start")}
    if "when" in parameters:
        found["schedule"] = {"after_training": "iterative"}.get(parameters["when"], parameters["when"])
    if (start := parameters.get("start")) is not None:
        found["initialise" if makes_weights(start) else "start"] = start
    return found


def _in_words(value: Any) -> str:
    """The name of a value, without folders of files in it; empty for None and recorded descriptions."""
    return "" if value is None or isinstance(value, Mapping) else _FOLDERS.sub("", name_of(value))
