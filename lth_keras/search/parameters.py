"""What the parameters of a search, and of a run of it, can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lth_keras.data.arguments import check_makers
from lth_keras.data.splits import SPLITS, part_of
from lth_keras.masking.rewinding import check_rewind, check_start
from lth_keras.pruning.plan import Plan
from lth_keras.search.observation import Observation
from lth_keras.search.width import check_width
from lth_keras.storage import check_path_part
from lth_keras.system import values

KEEP_WEIGHTS = ("none", "last", "all")
CUT_THROUGH = ("refuse", "train")
LEAST = {
    "levels": 0,
    "steps": 1,
    "epochs": 1,
    "batch_size": 1,
    "evaluate_every": 1,
    "test_every": 1,
    "shots": 1,
    "threads": 1,
    "seed": 0,
    "min_per_layer": 0,
    "score_at": 0,
    "patience": 1,
    "samples_per_class": 1,
}
"""The least values of the parameters that are counts."""
MAY_BE_NONE = frozenset(
    {"levels", "steps", "epochs", "test_every", "threads", "score_at", "patience", "jit_compile", "initialise"}
)
FLAGS = ("carry_step_count", "masks_of_drawn", "compact", "fused", "confusion", "jit_compile", "prune_frozen")
TEXTS = ("schedule", "shot_schedule", "scope", "rewind", "initialise", "cut_through", "embeddings", "name")


def take_values(search: Any) -> None:
    """Checks the parameters of a search one by one, and puts Python's own numbers in place of numpy's.

    Args:
        search: a `TicketSearch`.

    Raises:
        ValueError: for values of another type or out of range.
        TypeError: for a model or an optimiser in place of the function that makes it.
    """
    check_makers(search.build, search.optimizer, search.loss)
    checks: dict[str, Callable[[str, Any], Any]] = {
        **dict.fromkeys(LEAST, lambda name, value: values.integer(name, value, LEAST[name])),
        **dict.fromkeys(FLAGS, values.boolean),
        **dict.fromkeys(TEXTS, values.text),
    }
    for name, check in checks.items():
        value = getattr(search, name)
        if value is not None or name not in MAY_BE_NONE:
            setattr(search, name, check(name, value))
    if search.rates is not None:
        search.rates = values.rates("rates", search.rates)
    if search.densities is not None:
        search.densities = tuple(
            values.real("each density", one) for one in values.sequence("densities", search.densities, "numbers")
        )
    if not isinstance(search.observe, Observation):
        raise ValueError(f"Expected observe to be an Observation. Received: {values.shown(search.observe)}.")
    if not (search.facts is None or callable(search.facts)):
        raise ValueError(f"Expected facts to be a function, or None. Received: {values.shown(search.facts)}.")
    if not (search.config is None or isinstance(search.config, Mapping)):
        raise ValueError(f"Expected config to be a dict of JSON values. Received: {values.shown(search.config)}.")
    _check_variants(search.variants)
    if not callable(search.data):
        for split in SPLITS:
            part_of(search.data, split)


def _check_variants(variants: Any) -> None:
    """Whether they are dicts by name, and levels can be written under the names."""
    if not isinstance(variants, Mapping):
        raise ValueError(f"Expected variants to be a dict by name. Received: {values.shown(variants)}.")
    for name, changes in variants.items():
        check_path_part("variant", values.text("the name of each variant", name))
        if not isinstance(changes, Mapping):
            raise ValueError(
                f"Expected what the variant {name!r} changes as a dict of parameters. "
                f"Received: {values.shown(changes)}."
            )


def levels_of(levels: int | None, plan: Plan) -> int:
    """The number of prunings: what is asked for, or as many as there are densities.

    Raises:
        ValueError: where it is not to be known, or a level has no density.
    """
    if levels is None:
        if plan.densities is None:
            raise ValueError("Expected levels, the number of prunings, beside rates. Received: none.")
        levels = len(plan.densities)
    if not plan.goes_on_to(levels):
        raise ValueError(f"Expected a density for each of {levels} levels. Received: {plan.densities}.")
    return levels


def check_parameters(search: Any, plan: Plan) -> None:
    """Checks what the parts of a search do not check by themselves.

    Args:
        search: a `TicketSearch`.
        plan: its densities.

    Raises:
        ValueError: for values out of range, and for what only one of the schedules has.
    """
    if search.cut_through not in CUT_THROUGH:
        raise ValueError(f"Expected cut_through to be one of {CUT_THROUGH}. Received: {search.cut_through!r}.")
    if plan.before_training and search.score_at is not None:
        raise ValueError(f"Expected no score_at where masks are made before training. Received: {search.score_at}.")
    if search.masks_of_drawn and not (plan.before_training and search.initialise):
        raise ValueError(
            "Expected masks_of_drawn where masks are made before training, and initialise makes other weights. "
            f"Received: schedule={search.schedule!r}, initialise={search.initialise!r}."
        )
    check_width(search.vectorize)
    check_rewind(search.rewind)
    check_start(search.start)
    if (search.steps is None) == (search.epochs is None):
        raise ValueError(f"Expected steps or epochs. Received: steps={search.steps}, epochs={search.epochs}.")


def check_asked(
    trials: int,
    branches: Sequence[str],
    keep_weights: str,
    control_levels: Sequence[int] | None,
    levels: int,
    seed: int,
    reporter: Any = None,
) -> None:
    """Checks what is asked of a run; arguments as `TicketSearch.run`, and the search's levels and seed.

    Raises:
        ValueError: for zero trials, more than there are seeds, an unknown `keep_weights`, levels that the search has
            not, or values of another type.
    """
    if values.integer("trials", trials) < 1:
        raise ValueError(f"Expected at least 1 trial. Received: {trials}.")
    if seed + trials - 1 > values.LARGEST["seed"]:
        raise ValueError(f"Expected seeds of trials up to {values.LARGEST['seed']:,}. Received: {trials} from {seed}.")
    for branch in values.sequence("branches", branches, "names"):
        values.text("each branch", branch)
    if keep_weights not in KEEP_WEIGHTS:
        raise ValueError(f"Expected keep_weights to be one of {KEEP_WEIGHTS}. Received: {keep_weights!r}.")
    if control_levels is not None:
        asked = [
            values.integer("each of control_levels", n)
            for n in values.sequence("control_levels", control_levels, "levels")
        ]
        if any(not 1 <= level <= levels for level in asked):
            raise ValueError(f"Expected control_levels in 1 ... {levels}. Received: {asked}.")
    missing = [name for name in ("started", "advanced", "finished") if not callable(getattr(reporter, name, None))]
    if reporter is not None and missing:
        raise ValueError(f"Expected a reporter with methods {', '.join(missing)}. Received: {values.shown(reporter)}.")
