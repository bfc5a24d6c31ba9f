"""The rows of the study of composites: criteria, schedules and initial weights by name (Lutz & Manai, 2022)."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

CriterionInRow = Literal["magnitude", "snip", "grasp", "grasp_magnitude", "synflow", "random"]
ScheduleInRow = Literal["uss", "ums", "iss", "ims"]
"""Before training (u) or at every level (i), in a single shot (ss) or in multiple shots (ms)."""

CRITERIA: tuple[str, ...] = get_args(CriterionInRow)
SCHEDULES: tuple[str, ...] = get_args(ScheduleInRow)
REGRESSORS = tuple(
    f"{regressor}{more}" for regressor in ("linear", "sgd", "tree", "forest", "mlp") for more in ("", "_extended")
)
"""The criteria that `experiments.learned_criterion` fits: with four features of a weight, and with fourteen."""
WINNING_TICKET = "winning_ticket"
BASELINE = "magnitude_iss"
"""Iterative magnitude pruning: the branch `winning_ticket`, the baseline of all comparisons."""


def all_rows() -> Iterator[str]:
    """The names of all rows."""
    for schedule in SCHEDULES:
        yield from (f"{criterion}_{schedule}" for criterion in CRITERIA)
        yield from (f"learned_{regressor}_{schedule}" for regressor in REGRESSORS)
        for first in CRITERIA:
            yield from (f"stacked_{first}_{second}_{schedule}" for second in CRITERIA if second != first)
            for second in CRITERIA:
                yield from (f"{kind}_{first}_{second}_{schedule}" for kind in ("weights", "bimodal"))
                if schedule.startswith("u"):
                    yield from (f"{kind}_{first}_{second}_{schedule}_drawn" for kind in ("weights", "bimodal"))


def check_rows(names: Iterable[str]) -> tuple[str, ...]:
    """The rows without duplicates, in their order.

    Raises:
        ValueError: for an unknown row; names similar ones.
    """
    known = set(all_rows())
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), 3)
            raise ValueError(
                "Expected rows such as snip_ums, stacked_snip_synflow_uss, weights_snip_synflow_ums, "
                f"weights_snip_synflow_ums_drawn, bimodal_snip_synflow_iss, learned_forest_uss. Received: {name!r}"
                + (f"; did you mean {' or '.join(near)}?" if near else ".")
            )
    return found


def branch_of(row: str) -> str:
    """The branch of a row: its own name, or the winning ticket's for the baseline."""
    return WINNING_TICKET if row == BASELINE else row


def parameters(row: str, shots: int, learned: Path | None = None) -> dict[str, Any]:
    """The parameters in which a row differs from iterative magnitude pruning.

    Args:
        row: its name.
        shots: of schedules with many shots.
        learned: folder of learned criteria.

    Raises:
        ValueError: for a learned criterion without `learned`.
    """
    name, drawn = row.removesuffix("_drawn"), row.endswith("_drawn")
    name, _, schedule = name.rpartition("_")
    kind, _, pair = name.partition("_")
    changes: dict[str, Any] = {"criterion": name}
    if kind in ("stacked", "weights", "bimodal"):
        first, second = _parted(pair)
        changes = {"criterion": f"stacked({first},{second})"}
        if kind != "stacked":
            maker = {"weights": "scores_as_weights", "bimodal": "bimodal"}[kind]
            changes = {"criterion": second, "start": f"{maker}({first})"}
    if kind == "learned":
        if learned is None:
            raise ValueError(
                "Expected --learned, the folder that python -m experiments.learned_criterion wrote. "
                f"Received: {row!r} without it."
            )
        changes = {"criterion": f"learned({learned / pair}.npz)"}
    if schedule.startswith("u"):
        changes["when"] = "before_training"
    if schedule.endswith("ms"):
        changes["shots"] = shots
    if drawn:
        changes["masks_of_drawn"] = True
    return changes


def described(row: str, shots: int, learned: Path | None = None) -> str:
    """A row in words. Arguments: see `parameters`."""
    changes = parameters(row, shots, learned)
    when = "before training" if "when" in changes else "level by level"
    many = f"{shots} shots" if "shots" in changes else "one shot"
    weights = f"; initial weights {changes['start']}" if "start" in changes else ""
    drawn = ", masks of those drawn" if "masks_of_drawn" in changes else ""
    return f"{changes['criterion']}, {when} in {many}{weights}{drawn}"


def _parted(pair: str) -> tuple[str, str]:
    """The two criteria of `snip_synflow`."""
    first, second = next((a, b) for a in CRITERIA for b in CRITERIA if f"{a}_{b}" == pair)
    return first, second


def digest_of(folder: Path) -> str:
    """SHA-256 of the learned criteria in a folder; ValueError if there are none."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"Expected --learned to be a folder of learned criteria (*.npz). Received: {folder}.")
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.name.encode() + file.read_bytes())
    return sha.hexdigest()
