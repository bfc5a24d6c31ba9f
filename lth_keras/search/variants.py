"""Variants: searches under other parameters in the same run, each a branch of its own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from lth_keras.criteria.state import name_of
from lth_keras.search.branches import BRANCHES, is_variant

Variants = Mapping[str, Mapping[str, Any]]
"""Name to the parameters that it changes."""
OF_THE_RUN = frozenset({"levels", "seed", "variants", "observe", "facts", "name", "config", "threads", "vectorize"})
"""Parameters that no variant can change."""
OF_THE_START = frozenset({"build", "start", "prune_frozen"})
"""Parameters that change which weights are given."""
OF_MASKS = frozenset(
    {"rates", "densities", "schedule", "shots", "shot_schedule", "criterion", "samples_per_class", "scope"}
    | {"min_per_layer", "cut_through"}
)
"""Parameters that change masks, and nothing of the dense network's training."""
SAID = {
    "criterion": "branch_criterion",
    "schedule": "schedule",
    "shots": "shots",
    "initialise": "initialise",
    "masks_of_drawn": "masks_of_drawn",
}
"""Parameters that run.h5 says of every branch where variants differ in them, and the names of those coordinates:
`criterion` is a dimension there."""
_FOLDERS = re.compile(r"(?<=\()[^(,]*/")


def check_variants(variants: Variants, parameters: Collection[str]) -> None:
    """Checks names and parameters.

    Args:
        variants: to check.
        parameters: all that a search has.

    Raises:
        ValueError: for names that branches have, and parameters that a variant cannot change.
    """
    known = set(parameters) - OF_THE_RUN
    for name, changes in variants.items():
        if not is_variant(name) or not known >= set(changes):
            raise ValueError(
                f"Expected variants with names of their own that change some of {sorted(known)}. "
                f"Received: {name!r} with {sorted(changes) if is_variant(name) else 'the name of a branch'}."
            )


def coordinates(
    variants: Variants, own: Mapping[str, Any], recorded: Variants
) -> dict[str, dict[str, float] | dict[str, str]]:
    """What variants differ in, as coordinates of run.h5: name to a value for each branch.

    Numbers that every variant has, and of the parameters in `SAID` those that one changes, for all branches.

    Args:
        variants: of the search.
        own: the parameters in `SAID` of the search itself.
        recorded: what variants that the run's directory has levels of change, those of earlier searches too.
    """
    names = {name for changes in variants.values() for name in changes}
    found: dict[str, dict[str, float] | dict[str, str]] = {}
    for name in sorted(names):
        values = {variant: changes.get(name) for variant, changes in variants.items()}
        if all(isinstance(value, int | float) for value in values.values()):
            found[name] = {variant: float(value) for variant, value in values.items() if value is not None}
    of_all = {**dict.fromkeys(BRANCHES, {}), **recorded, **variants}
    for name, called in SAID.items():
        if called not in found and any(name in changes for changes in of_all.values()):
            said = {branch: changes.get(name, own[name]) for branch, changes in of_all.items()}
            if name in ("shots", "masks_of_drawn"):
                found[called] = {branch: float(value) for branch, value in said.items()}
            else:
                found[called] = {branch: _in_words(value) for branch, value in said.items()}
    return found


def _in_words(value: Any) -> str:
    """A name, without the folders of the files in it; empty for None, and for what the record describes otherwise."""
    return "" if value is None or isinstance(value, Mapping) else _FOLDERS.sub("", name_of(value))


def independent(variants: Variants, schedule: str) -> frozenset[str]:
    """The branches whose masks are made before training, so that no level of theirs waits for another.

    Args:
        variants: of the search.
        schedule: the search's own, of `plan.SCHEDULES`.
    """
    schedules = dict.fromkeys(BRANCHES, schedule)
    schedules |= {name: changes.get("schedule", schedule) for name, changes in variants.items()}
    return frozenset(name for name, its_own in schedules.items() if its_own == "before_training")


def share_dense(variants: Variants, independent: Collection[str]) -> frozenset[str]:
    """Which of the `independent` have the dense network of the other branches, as only the masks are their own."""
    return frozenset(name for name in variants if name in independent and variants[name].keys() <= OF_MASKS)
