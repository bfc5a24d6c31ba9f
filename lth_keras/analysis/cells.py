"""Values to compare: of a branch at a density, by seed, from one run or several."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray

from lth_keras.analysis.schema import BRANCH_ORDER, DENSE

SAME_DENSITY = 0.05  # largest relative difference of densities that count as equal
_AXES = ("trial", "branch", "level")


class Cell(NamedTuple):
    """A branch at a level: its density and its values by seed of the trial."""

    branch: str
    level: int
    density: float
    values: Mapping[int, float]
    dense: bool  # the unpruned network that a run's branches share


def cells_of(runs: Mapping[str, xarray.Dataset], variable: str) -> list[Cell]:
    """Every branch and level of `runs` at which any trial has a finite value.

    The dense network that the branches of a run share is one cell of a branch "dense". With several runs a branch is
    named `<name of the run>:<branch>`.

    Args:
        runs: Runs by name.
        variable: With axes trial, branch, level in each of them.

    Raises:
        ValueError: A run has no such variable, or no finite value of it.
    """
    found = []
    for name, run in runs.items():
        of_run = list(_cells(run, variable))
        if not of_run:
            said = f"run {name}" if name else "a run"
            raise ValueError(f"Expected: a run with values of {variable!r}. Received: {said}, where all are NaN")
        prefix = f"{name}:" if len(runs) > 1 else ""
        found += [cell._replace(branch=prefix + cell.branch) for cell in of_run]
    return found


def baseline_of(cells: Sequence[Cell], asked: str | None) -> str:
    """The branch that the others are compared with, of the first run that has it.

    By default the winning ticket, else the first branch of the run. Never the best branch, since a branch selected by
    its results is biased upwards.

    Raises:
        ValueError: There is no branch of the name `asked`.
    """
    branches = list(dict.fromkeys(cell.branch for cell in cells))
    pruned = [cell.branch for cell in cells if not cell.dense]
    for name in [asked] if asked else [BRANCH_ORDER[0], *pruned[:1], *branches]:
        for branch in branches:
            if branch == name or branch.endswith(f":{name}"):
                return branch
    raise ValueError(f"Expected: one of the branches {', '.join(branches)}. Received: {asked!r}")


def at_densities(
    cells: Sequence[Cell], baseline: str, densities: Sequence[float] | None
) -> list[tuple[float, Cell, list[Cell]]]:
    """For each density: the baseline's density and cell, and the nearest cell of each other branch.

    Only cells within `SAME_DENSITY` count. A dense baseline is compared at every density of the others.

    Args:
        cells: As `cells_of` gives them.
        baseline: A branch in `cells`.
        densities: In (0, 1]; by default all at which there is something to compare.

    Raises:
        ValueError: There is nothing to compare, or no baseline near a density.
    """
    by_branch: dict[str, list[Cell]] = {}
    for cell in cells:
        by_branch.setdefault(cell.branch, []).append(cell)
    of_baseline = by_branch[baseline]
    dense = of_baseline[0].dense
    pruned = [of_branch for of_branch in by_branch.values() if not of_branch[0].dense]
    anchors = [cell.density for cell in of_baseline + (max(pruned, key=len, default=[]) if dense else [])]
    if densities is not None:
        anchors = list(dict.fromkeys(_nearest(anchors, asked) for asked in densities))
    groups = []
    for density in sorted(anchors, reverse=True):
        beside = of_baseline[0] if dense else _near(of_baseline, density)
        near = [_near(of_branch, density) for branch, of_branch in by_branch.items() if branch != baseline]
        there = [cell for cell in near if cell]
        if beside and there:
            groups.append((density, beside, [beside, *there]))
    if not groups:
        raise ValueError(
            f"Expected: another branch at the densities of the baseline {baseline}. Received: branches "
            f"{', '.join(by_branch)}; 'dense' as the baseline compares with the network before pruning"
        )
    return groups


def _cells(run: xarray.Dataset, variable: str) -> Iterator[Cell]:
    known = [str(name) for name, values in run.data_vars.items() if values.dims == _AXES]
    if variable not in known:
        raise ValueError(f"Expected: a variable by trial, branch and level: {', '.join(known)}. Received: {variable!r}")
    own = json.loads(run.attrs["own_dense"])
    seeds = run.trial.values.tolist()
    density, values = (np.asarray(run[name].transpose(*_AXES).values, np.float64) for name in ("density", variable))
    shared = False
    for (j, branch), (k, level) in product(enumerate(run.branch.values), enumerate(run.level.values.tolist())):
        dense = level == 0 and branch not in own
        there = np.flatnonzero(np.isfinite(values[:, j, k]))
        if there.size and not (dense and shared):
            shared = shared or dense
            by_seed = {seeds[i]: float(values[i, j, k]) for i in there}
            yield Cell(DENSE if dense else str(branch), level, float(density[there, j, k].mean()), by_seed, dense)


def _near(cells: Sequence[Cell], density: float) -> Cell | None:
    best = min(cells, key=lambda cell: abs(math.log(cell.density / density)))
    return best if _same(best.density, density) else None


def _nearest(anchors: Sequence[float], asked: float) -> float:
    if not 0 < asked <= 1:
        raise ValueError(f"Expected: a density, the share of weights kept, in (0, 1]. Received: {asked:g}")
    best = min(anchors, key=lambda density: abs(math.log(density / asked)), default=math.inf)
    if not _same(best, asked):
        known = ", ".join(f"{density:.3g}" for density in anchors)
        raise ValueError(f"Expected: a density within {SAME_DENSITY:.0%} of one of {known}. Received: {asked:g}")
    return best


def _same(density: float, other: float) -> bool:
    return abs(math.log(density / other)) <= math.log1p(SAME_DENSITY)
